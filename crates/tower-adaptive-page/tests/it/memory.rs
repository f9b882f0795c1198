//! The probes, on files of the test's making.

use std::{fs, path::Path};

use tempfile::TempDir;
use tower_adaptive_page::{
    AllocatorMemory, CgroupV1, CgroupV2, Detected, ExplicitLimit, HostMemory, Memory, MemoryProbe,
    detect, detect_at,
};

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn meminfo(root: &Path) {
    let text =
        "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:    4000 kB\nMemTotalX: 1 kB\n";
    write(root, "meminfo", text);
}

/// A machine whose process is in the cgroup `/a/b`.
struct Machine {
    proc: TempDir,
    cgroup: TempDir,
}

impl Machine {
    fn new(membership: &str) -> Self {
        let machine = Self { proc: TempDir::new().unwrap(), cgroup: TempDir::new().unwrap() };
        write(machine.proc.path(), "self/cgroup", membership);
        meminfo(machine.proc.path());
        machine
    }

    fn group(&self, path: &str, max: &str, current: u64, inactive_file: u64) {
        let file = |name: &str| format!("{path}/{name}").trim_start_matches('/').to_owned();
        write(self.cgroup.path(), &file("memory.max"), format!("{max}\n"));
        write(self.cgroup.path(), &file("memory.current"), format!("{current}\n"));
        let stat = format!("anon 5\nfile 7\ninactive_file_x 9\ninactive_file {inactive_file}\n");
        write(self.cgroup.path(), &file("memory.stat"), stat);
    }

    fn sample(&self) -> Option<Memory> {
        CgroupV2::detect_at(self.proc.path(), self.cgroup.path())?.sample()
    }
}

#[test]
fn an_explicit_limit_is_held_against_the_resident_pages() {
    let proc = TempDir::new().unwrap();
    write(proc.path(), "self/statm", "9000 250 30 1 0 200 0\n");
    let word = |n: usize| n.to_ne_bytes().to_vec();
    let auxv: Vec<u8> = [33, 99, 6, 65536, 0, 0].into_iter().flat_map(word).collect();
    write(proc.path(), "self/auxv", auxv);
    let probe = ExplicitLimit::with_proc(100_000_000, proc.path());
    assert_eq!(probe.sample(), Some(Memory { used: 250 * 65536, limit: 100_000_000 }));
    // Without the vector a page has 4 KiB.
    fs::remove_file(proc.path().join("self/auxv")).unwrap();
    let probe = ExplicitLimit::with_proc(1, proc.path());
    assert_eq!(probe.sample().unwrap().used, 250 * 4096);
}

#[test]
fn the_limited_group_with_the_least_left_counts() {
    let machine = Machine::new("1:name=x:/y\n0::/a/b\n");
    machine.group("/a/b", "max", 300, 0);
    machine.group("/a", "1000", 700, 0);
    machine.group("", "2000", 1900, 0);
    assert_eq!(machine.sample(), Some(Memory { used: 1900, limit: 2000 }));
    machine.group("/a", "1000", 950, 0);
    assert_eq!(machine.sample(), Some(Memory { used: 950, limit: 1000 }));
    machine.group("/a/b", "310", 300, 0);
    assert_eq!(machine.sample(), Some(Memory { used: 300, limit: 310 }));
}

#[test]
fn page_cache_that_can_be_taken_back_is_not_in_use() {
    let machine = Machine::new("0::/\n");
    machine.group("", "1000", 990, 600);
    assert_eq!(machine.sample(), Some(Memory { used: 390, limit: 1000 }));
    machine.group("", "1000", 10, 600);
    assert_eq!(machine.sample(), Some(Memory { used: 0, limit: 1000 }));
}

#[test]
fn a_group_outside_of_the_name_space_falls_back_to_the_root() {
    let machine = Machine::new("0::/../../other\n");
    machine.group("", "1000", 100, 0);
    assert_eq!(machine.sample(), Some(Memory { used: 100, limit: 1000 }));
}

#[test]
fn without_a_limit_or_with_version_one_there_is_no_cgroup_probe() {
    let machine = Machine::new("0::/a\n");
    machine.group("/a", "max", 300, 0);
    assert_eq!(machine.sample(), None);
    let machine = Machine::new("5:memory:/a\n");
    machine.group("/a", "1000", 300, 0);
    assert_eq!(machine.sample(), None);
}

#[test]
fn version_one_is_read_from_its_own_files_and_its_largest_number_is_no_limit() {
    let machine = Machine::new("11:cpu,cpuacct:/x\n5:hugetlb,memory:/a/b\n0::/a/b\n");
    let group = |path: &str, limit: u64, usage: u64| {
        let file = |name: &str| format!("memory{path}/memory.{name}");
        write(machine.cgroup.path(), &file("limit_in_bytes"), format!("{limit}\n"));
        write(machine.cgroup.path(), &file("usage_in_bytes"), format!("{usage}\n"));
        let stat = "inactive_file 1\ntotal_inactive_file 20\n";
        write(machine.cgroup.path(), &file("stat"), stat);
    };
    let probe = || CgroupV1::detect_at(machine.proc.path(), machine.cgroup.path());
    assert!(probe().is_none());
    group("", 9_223_372_036_854_771_712, 900);
    assert!(probe().is_none());
    group("/a/b", 1_000, 500);
    assert_eq!(probe().unwrap().sample(), Some(Memory { used: 480, limit: 1_000 }));
    group("/a", 2_000, 1_990);
    assert_eq!(probe().unwrap().sample(), Some(Memory { used: 1_970, limit: 2_000 }));
    let detected = detect_at(None, machine.proc.path(), machine.cgroup.path());
    assert!(matches!(detected, Detected::CgroupV1(_)));
    assert_eq!(detected.sample(), Some(Memory { used: 1_970, limit: 2_000 }));
}

#[test]
fn an_allocator_that_cannot_tell_gives_no_figures() {
    assert_eq!(AllocatorMemory::new(10, || None).sample(), None);
    let sample = AllocatorMemory::new(10, || Some(4)).sample();
    assert_eq!(sample, Some(Memory { used: 4, limit: 10 }));
}

#[test]
fn the_host_uses_what_is_not_available() {
    let proc = TempDir::new().unwrap();
    meminfo(proc.path());
    let memory = HostMemory::with_proc(proc.path()).sample();
    assert_eq!(memory, Some(Memory { used: 12_000 * 1024, limit: 16_000 * 1024 }));
    assert_eq!(memory.unwrap().percent(), 75.0);
}

#[test]
fn a_given_limit_comes_before_the_cgroup_and_the_cgroup_before_the_host() {
    let machine = Machine::new("0::/a\n");
    let detected = |limit| detect_at(limit, machine.proc.path(), machine.cgroup.path());
    assert!(matches!(detected(None), Detected::Host(_)));
    machine.group("/a", "1000", 300, 0);
    assert!(matches!(detected(None), Detected::Cgroup(_)));
    assert!(matches!(detected(Some(5)), Detected::Explicit(_)));
    assert_eq!(detected(None).sample(), Some(Memory { used: 300, limit: 1000 }));
}

#[test]
fn files_that_are_missing_or_broken_give_no_figures() {
    let root = TempDir::new().unwrap();
    assert_eq!(detect_at(None, root.path(), root.path()).sample(), None);
    assert_eq!(detect_at(Some(1), root.path(), root.path()).sample(), None);
    write(root.path(), "meminfo", "MemTotal: many kB\nMemAvailable: 1 kB\n");
    write(root.path(), "self/statm", "1");
    assert_eq!(detect_at(None, root.path(), root.path()).sample(), None);
    assert_eq!(detect_at(Some(1), root.path(), root.path()).sample(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_gives_figures() {
    let held = std::hint::black_box(vec![1_u8; 8 << 20]);
    let memory = detect(Some(1 << 40)).sample().unwrap();
    assert!(memory.used >= held.len() as u64 && memory.used < memory.limit, "{memory:?}");
    let memory = detect(None).sample().unwrap();
    assert!(memory.used > 0 && memory.percent() < 100.0, "{memory:?}");
}

#[test]
fn a_limit_of_zero_is_full() {
    assert_eq!(Memory { used: 0, limit: 0 }.percent(), 100.0);
}
