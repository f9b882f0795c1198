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
