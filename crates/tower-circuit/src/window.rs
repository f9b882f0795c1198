//! Outcomes counted over the last calls or the last time, free of clocks and locks.

mod calls;
mod time;

use tokio::time::Instant;

use self::{calls::LastCalls, time::TenBuckets};
use crate::{Window, WindowCounts};

/// What is remembered of one outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// One window, on which all ratios look. Every operation is O(1), whatever its size.
#[derive(Debug)]
pub(crate) enum Tally {
    Time(Box<TenBuckets>),
    Calls(LastCalls),
}

impl Tally {
    pub(crate) fn new(window: Window) -> Self {
        match window {
            Window::Time(length) => Self::Time(Box::new(TenBuckets::new(length))),
            Window::Calls(size) => Self::Calls(LastCalls::new(size)),
        }
    }

    /// Adds one outcome, and gives what the window holds then.
    pub(crate) fn add(&mut self, now: Instant, mark: Mark) -> WindowCounts {
        match self {
            Self::Time(window) => window.add(now, mark),
            Self::Calls(window) => window.add(mark),
        }
    }

    /// Adds so many calls that were neither failures nor slow, all of the time that
    /// [`newest`](Self::newest) named.
    pub(crate) fn add_fine(&mut self, calls: u32) {
        match self {
            Self::Time(window) => window.add_fine(calls),
            Self::Calls(window) => window.add_fine(calls),
        }
    }

    /// What the window holds, and until when what comes goes into its newest part and
    /// nothing leaves it by time; no instant if it does not go by time. `None` before
    /// the first outcome of a window that does.
    pub(crate) fn newest(&self) -> Option<(WindowCounts, Option<Instant>)> {
        match self {
            Self::Time(window) => window.newest().map(|(counts, ends)| (counts, Some(ends))),
            Self::Calls(window) => Some((window.counts(), None)),
        }
    }

    /// What the window holds at `now`.
    pub(crate) fn counts(&mut self, now: Instant) -> WindowCounts {
        match self {
            Self::Time(window) => window.counts(now),
            Self::Calls(window) => window.counts(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Time(window) => window.clear(),
            Self::Calls(window) => window.clear(),
        }
    }
}
