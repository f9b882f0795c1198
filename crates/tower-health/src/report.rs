use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

/// How a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum State {
    /// Nobody knows: it was never asked, or not for a while.
    Unknown,
    /// It does what it should.
    Healthy,
    /// It works, but slowly or with errors.
    Degraded,
    /// It fails more than it should be used with.
    Critical,
    /// As good as nothing comes back.
    Unavailable,
}

impl State {
    /// All states, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Healthy, Self::Degraded, Self::Critical, Self::Unavailable];

    /// Only [`Healthy`](Self::Healthy).
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Healthy)
    }

    /// [`Healthy`](Self::Healthy) or [`Degraded`](Self::Degraded): worth calling.
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// The word that events and metrics use, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Unavailable => "unavailable",
        }
    }

    /// Higher is worse.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Unknown | Self::Healthy => 0,
            Self::Degraded => 1,
            Self::Critical => 2,
            Self::Unavailable => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a state was entered. The sentence is made by `Display`, when somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// There was no call yet.
    NoCalls,
    /// There was no call for so long.
    Idle {
        /// The set time after which the service counts as idle.
        after: Duration,
    },
    /// Error rate and latency are within their limits.
    WithinLimits {
        /// Bad calls in the window.
        bad: u64,
        /// All calls in the window.
        calls: u64,
        /// Their average latency.
        average: Duration,
    },
    /// Too large a part of the calls was bad.
    ErrorRate {
        /// Bad calls in the window.
        bad: u64,
        /// All calls in the window.
        calls: u64,
        /// The limit that was reached, between 0 and 1.
        limit: f64,
    },
    /// The calls took too long.
    Latency {
        /// The average latency in the window.
        average: Duration,
        /// The limit that was passed.
        limit: Duration,
    },
    /// So many bad calls, or failed checks, came in a row.
    Streak {
        /// The length of the row.
        bad: u32,
    },
    /// The newest check of a probe was good.
    CheckPassed {
        /// How long it took.
        took: Duration,
    },
    /// The newest check of a probe was good but slow.
    CheckSlow {
        /// How long it took.
        took: Duration,
        /// The limit that was passed.
        limit: Duration,
    },
    /// The newest check of a probe that said something is so old.
    Stale {
        /// The set time after which a check says nothing any more.
        after: Duration,
    },
    /// [`reset`](crate::Health::reset) was called.
    Reset,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoCalls => f.write_str("no call yet"),
            Self::Idle { after } => write!(f, "no call for {after:?}"),
            Self::WithinLimits { bad, calls, average } => {
                write!(f, "{bad} of {calls} calls were bad, {average:.0?} on average")
            }
            Self::ErrorRate { bad, calls, limit } => {
                let limit = limit * 100.0;
                write!(f, "{bad} of {calls} calls were bad, the limit is {limit:.0} %")
            }
            Self::Latency { average, limit } => {
                write!(f, "calls took {average:.0?} on average, the limit is {limit:?}")
            }
            Self::Streak { bad: 1 } => f.write_str("the last one was bad"),
            Self::Streak { bad } => write!(f, "{bad} bad ones in a row"),
            Self::CheckPassed { took } => write!(f, "the check passed in {took:.0?}"),
            Self::CheckSlow { took, limit } => {
                write!(f, "the check took {took:.0?}, the limit is {limit:?}")
            }
            Self::Stale { after } => write!(f, "no check for {after:?}"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

/// One change of state. `watch` shows the newest.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The running number; 0 is the state of a new handle.
    pub number: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, with the figures that led to it.
    pub reason: Reason,
    /// When.
    pub at: Instant,
}

/// Where things are going: the newer half of the window beside the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Trend {
    /// One half has too few calls to compare.
    Unknown,
    /// The error rate fell by 5 points or more, or else the average latency by a fifth or more.
    Improving,
    /// Neither.
    Steady,
    /// The error rate rose by 5 points or more, or else the average latency by a quarter or more.
    Worsening,
}

/// All that is known about a service at one instant; see [`Health::report`](crate::Health::report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The name given to the builder.
    pub name: Arc<str>,
    /// How it is doing, hysteresis included.
    pub state: State,
    /// Why it entered this state, with the figures of that time.
    pub reason: Reason,
    /// When it entered this state.
    pub since: Instant,
    /// Calls in the window.
    pub calls: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// `bad` by `calls`, between 0 and 1; 0 without calls.
    pub error_rate: f64,
    /// Bad calls since the last good one.
    pub consecutive_bad: u32,
    /// The average latency; zero without calls.
    pub average: Duration,
    /// Half of the calls were at most this slow. `None` without calls.
    pub p50: Option<Duration>,
    /// 95 of 100 calls were at most this slow. `None` without calls.
    pub p95: Option<Duration>,
    /// 99 of 100 calls were at most this slow. `None` without calls.
    pub p99: Option<Duration>,
    /// The newer half of the window beside the older one.
    pub trend: Trend,
    /// Changes of state since the handle was built.
    pub changes: u64,
}

/// A shared name, without serde's feature `rc`.
#[cfg(feature = "serde")]
pub(crate) fn name_as_str<S: serde::Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}
