//! A redis-server of the test's own: a free port of this machine, a temporary
//! folder, stopped when it is dropped.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Option<Child>,
    port: u16,
    password: Option<&'static str>,
    folder: TempDir,
}

impl RedisServer {
    /// `None`, said aloud, where redis-server is not installed; under `CI=true` that
    /// is a failure.
    pub(crate) fn start(what_is_skipped: &str) -> Option<Self> {
        Self::start_with(what_is_skipped, None)
    }

    /// As `start`; whoever asks it anything has to know the password.
    pub(crate) fn start_with(
        what_is_skipped: &str,
        password: Option<&'static str>,
    ) -> Option<Self> {
        let there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if there.is_err() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "redis-server is not installed: apt-get install redis-server"
            );
            eprintln!("SKIPPED: {what_is_skipped}: redis-server is not installed");
            return None;
        }
        // Between our looking and its binding somebody else can take the port.
        for _ in 0..3 {
            let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let folder = tempfile::tempdir().unwrap();
            let mut server = Self { child: None, port, password, folder };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("redis-server does not start");
    }

    /// With its password, if it has one.
    pub(crate) fn url(&self) -> String {
        let user = self.password.map_or_else(String::new, |password| format!(":{password}@"));
        format!("redis://{user}127.0.0.1:{}/", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Starts it, empty, and waits until it answers.
    pub(crate) fn run(&mut self) {
        assert!(self.answers(), "redis-server does not answer on port {}", self.port);
    }

    fn answers(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(self.password.iter().flat_map(|password| ["--requirepass", *password]))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let client = redis::Client::open(self.url()).unwrap();
        for _ in 0..200 {
            let pinged = client
                .get_connection_with_timeout(Duration::from_millis(200))
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
            if pinged.is_ok() {
                return true;
            }
            if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                return false;
            }
            pause(Duration::from_millis(25));
        }
        false
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

#[allow(clippy::disallowed_methods, reason = "another process, real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
