use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

/// How a target of a [`FailureDetector`](crate::FailureDetector) is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum TargetState {
    /// Registered, and not heard of yet.
    Unknown,
    /// It beats, and does what it is asked.
    Healthy,
    /// Its beat is late, or too many of its operations fail or are slow.
    Degraded,
    /// It was unhealthy and gives signs of life again, not enough of them yet.
    Recovering,
    /// Silent for too long, or too many failures in a row.
    Unhealthy,
}

impl TargetState {
    /// All states, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Healthy, Self::Degraded, Self::Recovering, Self::Unhealthy];

    /// Only [`Healthy`](Self::Healthy).
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Healthy)
    }

    /// [`Healthy`](Self::Healthy) or [`Degraded`](Self::Degraded): work can be given to it.
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
            Self::Recovering => "recovering",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a target entered its state.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TargetReason {
    /// It was registered.
    Registered,
    /// It beats in time, and its operations are within their limits.
    WithinLimits,
    /// It gave a sign of life after it was unhealthy.
    SignOfLife,
    /// No sign of life for so long.
    Silent {
        /// How long.
        silent: Duration,
        /// How long it might have been silent.
        allowed: Duration,
    },
    /// So many operations failed in a row.
    Failures {
        /// The length of the row.
        row: u32,
    },
    /// Too large a part of its operations failed.
    ErrorRate {
        /// Failed operations in the window.
        bad: u64,
        /// All operations in the window.
        calls: u64,
        /// The limit that was reached, between 0 and 1.
        limit: f64,
    },
    /// Its operations took too long.
    Latency {
        /// The average in the window.
        average: Duration,
        /// The limit that was passed.
        limit: Duration,
    },
}

impl fmt::Display for TargetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Registered => f.write_str("registered"),
            Self::WithinLimits => f.write_str("beats in time and works"),
            Self::SignOfLife => f.write_str("gave a sign of life again"),
            Self::Silent { silent, allowed } => {
                write!(f, "silent for {silent:.0?}, allowed are {allowed:.0?}")
            }
            Self::Failures { row: 1 } => f.write_str("an operation failed"),
            Self::Failures { row } => write!(f, "{row} operations failed in a row"),
            Self::ErrorRate { bad, calls, limit } => {
                let limit = limit * 100.0;
                write!(f, "{bad} of {calls} operations failed, the limit is {limit:.0} %")
            }
            Self::Latency { average, limit } => {
                write!(f, "operations took {average:.0?} on average, the limit is {limit:?}")
            }
        }
    }
}

/// One change of state of one target.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetChange {
    /// The name of the target.
    pub target: Arc<str>,
    /// The running number of the target's changes. Two threads may tell theirs in the wrong order.
    pub number: u64,
    /// The state before.
    pub from: TargetState,
    /// The state after.
    pub to: TargetState,
    /// Why.
    pub reason: TargetReason,
    /// When it was found.
    pub at: Instant,
}

/// How an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FailureKind {
    /// No answer in time.
    Timeout,
    /// It could not be reached, or the connection broke.
    Connection,
    /// It answered that it will not.
    Refused,
    /// It answered with an error, or crashed at it.
    Error,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Timeout, Self::Connection, Self::Refused, Self::Error, Self::Other];

    /// The word that events and metrics use, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a target was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// What, as the detector was told.
    pub name: &'static str,
    /// How it failed; `None` if it did not.
    pub failed: Option<FailureKind>,
    /// How long that took.
    pub took: Duration,
    /// When it was recorded.
    pub at: Instant,
}

/// All that is known of a target; see [`FailureDetector::health`](crate::FailureDetector::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetStatus<I = ()> {
    /// The name it was registered with.
    pub target: Arc<str>,
    /// What it was registered with.
    pub info: Arc<I>,
    /// How it is doing.
    pub state: TargetState,
    /// Why it entered this state.
    pub reason: TargetReason,
    /// When it entered this state.
    pub since: Instant,
    /// Since its last sign of life, or since it was registered.
    pub silent: Duration,
    /// Whole heartbeat intervals in that silence.
    pub missed: u32,
    /// How suspicious that silence is, by the regularity of its beats: at 1 one silence in ten
    /// is that long, at 8 one in a hundred million. Without phi accrual nothing follows from it.
    pub phi: f64,
    /// Heartbeats since it was registered.
    pub heartbeats: u64,
    /// The mean interval between about the last hundred heartbeats.
    pub interval: Duration,
    /// Their standard deviation.
    pub deviation: Duration,
    /// Operations in the window.
    pub calls: u64,
    /// Failed ones among them.
    pub bad: u64,
    /// `bad` by `calls`, between 0 and 1; 0 without operations.
    pub error_rate: f64,
    /// How long the operations in the window took on average; zero without operations.
    pub average: Duration,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Operations that succeeded, since it was registered.
    pub succeeded: u64,
    /// Operations that failed, since it was registered, by kind in the order of [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// The newest success.
    pub last_success: Option<Operation>,
    /// The newest failure.
    pub last_failure: Option<Operation>,
    /// Changes of state since it was registered.
    pub changes: u64,
}

/// No more targets fit: [`max_targets`](crate::DetectorBuilder::max_targets) are registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{max_targets} targets are registered and no more are allowed; deregister some or allow more"
)]
#[non_exhaustive]
pub struct TooManyTargets {
    /// How many are allowed.
    pub max_targets: usize,
}

/// The target is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target is not registered; register it first")]
pub struct NotRegistered(pub(crate) ());
