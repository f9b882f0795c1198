//! A memory cgroup of our own for one child, of version 2 or 1, where this machine lets us make one.
#![allow(missing_docs, unreachable_pub)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Debug)]
pub struct Cage {
    dir: PathBuf,
    peak: &'static str,
    kind: &'static str,
}

impl Cage {
    /// None if it cannot be made: no right to, or no memory controller.
    pub fn new(limit: u64) -> Option<Self> {
        let name = format!("pipedrive-memory-{}-{limit}", std::process::id());
        let two = (Path::new("/sys/fs/cgroup"), "memory.max", "memory.peak", "cgroup v2");
        let one = (
            Path::new("/sys/fs/cgroup/memory"),
            "memory.limit_in_bytes",
            "memory.max_usage_in_bytes",
            "cgroup v1",
        );
        [two, one].into_iter().find_map(|(root, bound, peak, kind)| {
            let dir = root.join(&name);
            fs::create_dir(&dir).ok()?;
            let cage = Self { dir, peak, kind };
            // A plain directory where no such controller is mounted has no such files.
            let bound = cage.dir.join(bound);
            (bound.exists() && fs::write(bound, limit.to_string()).is_ok()).then_some(cage)
        })
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The program, in the cage from its first instruction.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.dir.display());
        command.args(["-c", &enter, "sh", program]);
        command
    }

    /// The most that was used, page cache and all.
    pub fn most(&self) -> Option<u64> {
        fs::read_to_string(self.dir.join(self.peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}
