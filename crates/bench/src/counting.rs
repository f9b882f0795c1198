//! Counts what the program allocates, while somebody wants to know.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator. It counts only inside [`counted`], so that a timed
/// run pays one look at a flag and no more.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

fn count(bytes: i64, allocations: u64) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        BYTES.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call goes on to `System` as it came.
#[allow(unsafe_code, reason = "a global allocator cannot be written without; benchmarks only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// What was allocated: how often, and how many bytes more are held than before.
#[derive(Clone, Copy, Debug)]
pub struct Allocated {
    /// Calls that gave memory.
    pub times: u64,
    /// Bytes that were not given back.
    pub bytes: i64,
}

/// Runs something and counts what it allocates, if [`Counting`] is the
/// program's allocator. Other threads are counted along.
pub fn counted<T>(act: impl FnOnce() -> T) -> (T, Allocated) {
    let (times, bytes) = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    ON.store(true, Relaxed);
    let result = act();
    ON.store(false, Relaxed);
    let times = ALLOCATIONS.load(Relaxed) - times;
    (result, Allocated { times, bytes: BYTES.load(Relaxed) - bytes })
}
