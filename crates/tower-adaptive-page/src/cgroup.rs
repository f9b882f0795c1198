use std::path::{Component, Path, PathBuf};

use crate::{
    Memory, MemoryProbe,
    probe::{field, read, read_number},
};

/// Deeper hierarchies do not exist; it bounds what a sample reads.
const DEEPEST: usize = 32;

/// Version 1 writes "no limit" as the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// The group `own` and all above it, below `mount`.
fn groups(own: &str, mount: &Path) -> Vec<PathBuf> {
    // A path with `..` lies outside of our name space: only the root is seen.
    let own: PathBuf = match Path::new(own) {
        path if path.components().any(|part| part == Component::ParentDir) => PathBuf::new(),
        path => path.strip_prefix("/").unwrap_or(path).to_owned(),
    };
    own.ancestors().take(DEEPEST).map(|group| mount.join(group)).collect()
}

/// The limit of a cgroup of version 2: that of a container or of a service.
///
/// Of this process's cgroup and all above it, the one with the least memory
/// left counts. Page cache that the kernel can take back at once
/// (`inactive_file`) is not counted as used, as container runtimes do: else a
/// program that writes a database would seem to run out of memory.
#[derive(Clone, Debug)]
pub struct CgroupV2 {
    /// From this process's cgroup up to the root.
    groups: Vec<PathBuf>,
}

impl CgroupV2 {
    /// Finds this process's cgroup. `None` if there is none of version 2, or
    /// if neither it nor one above it has a limit.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Self::detect_at("/proc", "/sys/fs/cgroup")
    }

    /// The same, with other places for `/proc` and `/sys/fs/cgroup`.
    pub fn detect_at(proc: impl AsRef<Path>, mount: impl AsRef<Path>) -> Option<Self> {
        let membership = read(&proc.as_ref().join("self/cgroup"))?;
        let own = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
        let mount = mount.as_ref();
        let probe = Self { groups: groups(own, mount) };
        probe.sample().is_some().then_some(probe)
    }
}

impl MemoryProbe for CgroupV2 {
    fn sample(&self) -> Option<Memory> {
        let limited = self.groups.iter().filter_map(|group| {
            // "max" is no number: no limit.
            let limit = read_number(&group.join("memory.max"))?;
            let current = read_number(&group.join("memory.current"))?;
            let stat = read(&group.join("memory.stat")).unwrap_or_default();
            let reclaimable = field(&stat, "inactive_file").unwrap_or(0);
            Some(Memory { used: current.saturating_sub(reclaimable), limit })
        });
        limited.min_by_key(|memory| memory.limit.saturating_sub(memory.used))
    }
}

/// The limit of a cgroup of version 1, in all else as [`CgroupV2`].
///
/// In a container the path of the group is often that of the machine, which is not seen there;
/// what is seen is the group itself, at the root of the mount.
#[derive(Clone, Debug)]
pub struct CgroupV1 {
    groups: Vec<PathBuf>,
}

impl CgroupV1 {
    /// Finds this process's cgroup. `None` if version 1 does not control its memory, or if
    /// neither it nor one above it has a limit.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Self::detect_at("/proc", "/sys/fs/cgroup")
    }

    /// The same, with other places for `/proc` and `/sys/fs/cgroup`.
    pub fn detect_at(proc: impl AsRef<Path>, mount: impl AsRef<Path>) -> Option<Self> {
        let membership = read(&proc.as_ref().join("self/cgroup"))?;
        // `4:memory:/path`; several controllers may share a hierarchy.
        let own = membership.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == "memory").then_some(path)
        })?;
        let probe = Self { groups: groups(own, &mount.as_ref().join("memory")) };
        probe.sample().is_some().then_some(probe)
    }
}

impl MemoryProbe for CgroupV1 {
    fn sample(&self) -> Option<Memory> {
        let limited = self.groups.iter().filter_map(|group| {
            let limit = read_number(&group.join("memory.limit_in_bytes"))?;
            let current = read_number(&group.join("memory.usage_in_bytes"))?;
            let stat = read(&group.join("memory.stat")).unwrap_or_default();
            let reclaimable = field(&stat, "total_inactive_file").unwrap_or(0);
            let used = current.saturating_sub(reclaimable);
            (limit < NO_LIMIT).then_some(Memory { used, limit })
        });
        limited.min_by_key(|memory| memory.limit.saturating_sub(memory.used))
    }
}
