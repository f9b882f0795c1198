use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{CgroupV1, CgroupV2, Memory, MemoryProbe};

pub(crate) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

pub(crate) fn read_number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The value behind `key` in a file of lines `key value [unit]`.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
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

/// What an allocator says is in use, against a limit of your own choosing.
///
/// ```
/// use tower_adaptive_page::{AllocatorMemory, MemoryProbe};
///
/// // With jemalloc: `|| tikv_jemalloc_ctl::stats::resident::read().ok().map(|bytes| bytes as u64)`.
/// let probe = AllocatorMemory::new(256 << 20, || Some(64 << 20));
/// assert_eq!(probe.sample().unwrap().percent(), 25.0);
/// ```
#[derive(Clone, Debug)]
pub struct AllocatorMemory<F> {
    limit: u64,
    in_use: F,
}

impl<F> AllocatorMemory<F>
where
    F: Fn() -> Option<u64> + Send + Sync,
{
    /// A limit in bytes, and a closure that gives the bytes in use; `None` if it cannot tell.
    #[must_use]
    pub const fn new(limit: u64, in_use: F) -> Self {
        Self { limit, in_use }
    }
}

impl<F> MemoryProbe for AllocatorMemory<F>
where
    F: Fn() -> Option<u64> + Send + Sync,
{
    fn sample(&self) -> Option<Memory> {
        Some(Memory { used: (self.in_use)()?, limit: self.limit })
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
    /// A cgroup of version 1 limits this process.
    CgroupV1(CgroupV1),
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
    // Where both are mounted, the one that has the memory controller has a limit.
    if let Some(group) = CgroupV2::detect_at(&proc, &cgroup) {
        return Detected::Cgroup(group);
    }
    match CgroupV1::detect_at(&proc, cgroup) {
        Some(group) => Detected::CgroupV1(group),
        None => Detected::Host(HostMemory::with_proc(proc)),
    }
}

impl MemoryProbe for Detected {
    fn sample(&self) -> Option<Memory> {
        match self {
            Self::Explicit(probe) => probe.sample(),
            Self::Cgroup(probe) => probe.sample(),
            Self::CgroupV1(probe) => probe.sample(),
            Self::Host(probe) => probe.sample(),
        }
    }
}
