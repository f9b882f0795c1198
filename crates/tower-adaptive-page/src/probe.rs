use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{Memory, MemoryProbe};

/// Deeper hierarchies do not exist; it bounds what a sample reads.
const DEEPEST: usize = 32;

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn read_number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The value behind `key` in a file of lines `key value [unit]`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?;
        // `key` must be the whole word.
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix(' '))?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    })
}

/// This process's resident memory against a limit of your own choosing.
#[derive(Clone, Debug)]
pub struct ExplicitLimit {
    limit: u64,
    statm: PathBuf,
    page: u64,
}

impl ExplicitLimit {
    /// A limit in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self::with_proc(limit, "/proc")
    }

    /// The same, with another place for `/proc`.
    pub fn with_proc(limit: u64, proc: impl AsRef<Path>) -> Self {
        let proc = proc.as_ref().join("self");
        let page = page_size(&proc.join("auxv")).unwrap_or(4096);
        Self { limit, statm: proc.join("statm"), page }
    }
}

impl MemoryProbe for ExplicitLimit {
    fn sample(&self) -> Option<Memory> {
        let resident: u64 = read(&self.statm)?.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Memory { used: resident * self.page, limit: self.limit })
    }
}

/// `AT_PAGESZ` of the auxiliary vector: pairs of machine words.
fn page_size(auxv: &Path) -> Option<u64> {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let vector = fs::read(auxv).ok()?;
    vector.chunks_exact(2 * WORD).find_map(|pair| {
        let (key, value) = pair.split_at(WORD);
        let key = usize::from_ne_bytes(key.try_into().ok()?);
        let value = usize::from_ne_bytes(value.try_into().ok()?);
        (key == AT_PAGESZ && value > 0).then_some(value as u64)
    })
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
        // A path with `..` lies outside of our name space: only the root is seen.
        let own: PathBuf = match Path::new(own) {
            path if path.components().any(|part| part == Component::ParentDir) => PathBuf::new(),
            path => path.strip_prefix("/").unwrap_or(path).to_owned(),
        };
        let groups = own.ancestors().take(DEEPEST).map(|group| mount.join(group)).collect();
        let probe = Self { groups };
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

/// The memory of the whole machine.
#[derive(Clone, Debug)]
pub struct HostMemory {
    meminfo: PathBuf,
}

impl HostMemory {
    /// Reads `/proc/meminfo`.
    #[must_use]
    pub fn new() -> Self {
        Self::with_proc("/proc")
    }

    /// The same, with another place for `/proc`.
    pub fn with_proc(proc: impl AsRef<Path>) -> Self {
        Self { meminfo: proc.as_ref().join("meminfo") }
    }
}

impl Default for HostMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryProbe for HostMemory {
    fn sample(&self) -> Option<Memory> {
        let meminfo = read(&self.meminfo)?;
        let total = field(&meminfo, "MemTotal")?.checked_mul(1024)?;
        let available = field(&meminfo, "MemAvailable")?.checked_mul(1024)?;
        Some(Memory { used: total.saturating_sub(available), limit: total })
    }
}

/// The probe that fits where the program runs; see [`detect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Detected {
    /// A limit was given.
    Explicit(ExplicitLimit),
    /// A cgroup limits this process.
    Cgroup(CgroupV2),
    /// Nothing but the machine limits this process.
    Host(HostMemory),
}

/// Chooses a probe: the given limit in bytes if there is one, else the limit of
/// the cgroup if there is one, else the memory of the machine.
#[must_use]
pub fn detect(limit: Option<u64>) -> Detected {
    detect_at(limit, "/proc", "/sys/fs/cgroup")
}

/// [`detect`] with other places for `/proc` and `/sys/fs/cgroup`.
pub fn detect_at(limit: Option<u64>, proc: impl AsRef<Path>, cgroup: impl AsRef<Path>) -> Detected {
    if let Some(limit) = limit {
        return Detected::Explicit(ExplicitLimit::with_proc(limit, proc));
    }
    match CgroupV2::detect_at(&proc, cgroup) {
        Some(group) => Detected::Cgroup(group),
        None => Detected::Host(HostMemory::with_proc(proc)),
    }
}

impl MemoryProbe for Detected {
    fn sample(&self) -> Option<Memory> {
        match self {
            Self::Explicit(probe) => probe.sample(),
            Self::Cgroup(probe) => probe.sample(),
            Self::Host(probe) => probe.sample(),
        }
    }
}
