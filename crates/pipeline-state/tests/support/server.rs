//! A PostgreSQL server of the test's own: a free port of this machine, a temporary folder, stopped when
//! it is dropped.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

pub struct PostgresServer {
    child: Option<Child>,
    port: u16,
    programs: PathBuf,
    folder: TempDir,
}

impl PostgresServer {
    /// `None`, said aloud, where PostgreSQL is not installed; under `CI=true` that is a failure.
    pub fn start(what_is_skipped: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "PostgreSQL is not installed: apt-get install postgresql"
            );
            eprintln!("SKIPPED: {what_is_skipped}: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            succeed(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let mut server = Self { child: None, port: 0, programs, folder };
        succeed(
            server
                .program("initdb")
                .args(["--no-sync", "--auth=trust", "--username=postgres"])
                .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
                .arg(server.data()),
        );
        // Between our looking and its binding somebody else can take the port.
        for _ in 0..3 {
            let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            server.port = free.local_addr().unwrap().port();
            drop(free);
            if server.answers() {
                return Some(server);
            }
        }
        panic!("PostgreSQL does not start");
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of the server's programs, as a user it agrees to run as.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it, and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.answers(), "PostgreSQL does not answer on port {}", self.port);
    }

    fn answers(&mut self) -> bool {
        let child = self
            .program("postgres")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "fsync=off", "-c", "max_connections=40"])
            .arg("-D")
            .arg(self.data())
            .spawn()
            .unwrap();
        self.child = Some(child);
        for _ in 0..400 {
            let ready = self
                .program("pg_isready")
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return true;
            }
            if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                return false;
            }
            pause(Duration::from_millis(25));
        }
        false
    }

    /// Ends it at once, as a crash does; what was committed is on the disk.
    pub fn crash(&mut self) {
        self.stop("-QUIT");
    }

    /// None of its sessions does anything until this is dropped.
    pub fn stand_still(&self) -> StandsStill {
        let still = StandsStill(self.child.as_ref().map_or(0, Child::id));
        still.signal("-STOP");
        still
    }

    fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
        for _ in 0..400 {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            pause(Duration::from_millis(25));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A server whose processes are stopped.
pub struct StandsStill(u32);

impl StandsStill {
    fn signal(&self, signal: &str) {
        let _ = Command::new("pkill").args([signal, "-P", &self.0.to_string()]).status();
    }
}

impl Drop for StandsStill {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // An orderly end leaves no shared memory behind.
        self.stop("-INT");
    }
}

/// Where its programs are. Debian keeps them out of the path.
fn programs() -> Option<PathBuf> {
    let has = |folder: &Path| folder.join("initdb").exists() && folder.join("postgres").exists();
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, path)| has(path))
        .collect();
    versions.sort();
    if let Some((_, newest)) = versions.pop() {
        return Some(newest);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| has(folder))
}

/// Root, as whom PostgreSQL refuses to run.
fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

#[track_caller]
fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[allow(clippy::disallowed_methods, reason = "another process, real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
