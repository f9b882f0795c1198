//! The lock and the atomic of a circuit: the standard ones, or those of the model checker in the
//! workspace `loom` beside this crate, which builds the same sources.
#![allow(unexpected_cfgs, reason = "only that workspace knows the feature")]

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

#[cfg(not(feature = "loom"))]
pub(crate) use lanes::lane;

/// Whether threads have counts of their own from the start: what the model checker is to see.
pub(crate) const SPREAD_AT_ONCE: bool = cfg!(feature = "loom");

/// A number of the thread: near threads have different ones.
#[cfg(feature = "loom")]
pub(crate) fn lane() -> usize {
    let id = format!("{:?}", loom::thread::current().id());
    id.bytes().filter(u8::is_ascii_digit).fold(0, |all, digit| all * 10 + usize::from(digit - b'0'))
}

#[cfg(not(feature = "loom"))]
mod lanes {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static NEXT: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }

    /// A number of the thread: near threads have different ones.
    #[inline]
    pub(crate) fn lane() -> usize {
        LANE.try_with(|lane| *lane).unwrap_or(0)
    }
}
