//! What a circuit is told to do: the values of its builder.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::{OpenTime, Verdict};

/// What the ratios look at. It slides: the oldest leaves as the newest comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Window {
    /// The calls that ended within this time, between 10 ms and a day. It moves in ten
    /// steps: it covers the running tenth and the nine before it, and takes 160 bytes.
    Time(Duration),
    /// The last so many calls, between 1 and 1,000,000, however old. It takes two bits for each.
    Calls(u32),
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(length) => write!(f, "within {length:?}"),
            Self::Calls(size) => write!(f, "of the last {size}"),
        }
    }
}

/// What [`Verdict::Throttled`], a 429, counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Throttled {
    /// Nothing, as [`Verdict::Ignore`]: the service is well, we are too many.
    #[default]
    Ignore,
    /// It is a failure in the failure ratio, and nothing elsewhere: it neither feeds nor ends
    /// a row of failures, and ends no half-open state.
    RatioOnly,
}

/// Slow calls: from how long on, and which part of the calls may be so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    pub(crate) ratio: f64,
    pub(crate) from: Duration,
}

/// What the builder has checked. Shared by all circuits that were built alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) consecutive: Option<u32>,
    pub(crate) failure_ratio: Option<f64>,
    pub(crate) slow: Option<Slow>,
    pub(crate) window: Window,
    pub(crate) min_calls: u64,
    pub(crate) open_for: OpenTime,
    pub(crate) longest_named: Duration,
    pub(crate) trials: u32,
    pub(crate) successes: u32,
    pub(crate) trial_time: Duration,
    pub(crate) cancelled: Verdict,
    pub(crate) throttled: Throttled,
    /// From where calls are timed.
    pub(crate) epoch: Instant,
}

impl Rules {
    /// Whether anything looks at the window.
    pub(crate) const fn keeps_window(&self) -> bool {
        self.failure_ratio.is_some() || self.slow.is_some()
    }

    /// Whether it matters when a call ends: some of them are measured, or the window goes by time.
    pub(crate) const fn times_ends(&self) -> bool {
        self.slow.is_some() || self.keeps_window() && matches!(self.window, Window::Time(_))
    }

    /// Whether a call that took so long counts as slow.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        self.slow.is_some_and(|slow| took >= slow.from)
    }
}
