use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::Window;

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum State {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls go through to see whether the service is back.
    HalfOpen,
}

impl State {
    /// `closed`, `open` or `half_open`: the word that events and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decides about the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Mode {
    /// The outcomes of the calls do.
    Automatic,
    /// The same, but no call is refused: a dry run. See
    /// [`observe_only`](crate::CircuitBuilder::observe_only).
    Observing,
    /// Held open by [`Circuit::force_open`](crate::Circuit::force_open).
    ForcedOpen,
    /// Held closed by [`Circuit::force_closed`](crate::Circuit::force_closed). Outcomes are counted.
    ForcedClosed,
    /// Switched off by [`Circuit::disable`](crate::Circuit::disable). Nothing is counted.
    Disabled,
}

impl Mode {
    /// `automatic`, `observing`, `forced_open`, `forced_closed` or `disabled`: the word that events use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Observing => "observing",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
        }
    }
}

/// Why a circuit changed its state. The sentence is made by `Display`, when somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// The circuit was just built.
    Started,
    /// So many failures came in a row.
    Consecutive {
        /// The length of the row.
        failures: u32,
    },
    /// Too large a part of the calls failed.
    FailureRatio {
        /// Failures in the window.
        failures: u64,
        /// Calls in the window.
        calls: u64,
        /// The window.
        window: Window,
    },
    /// Too large a part of the calls was slow.
    SlowRatio {
        /// Slow calls in the window.
        slow: u64,
        /// Calls in the window.
        calls: u64,
        /// The window.
        window: Window,
        /// From how long on a call is slow.
        from: Duration,
    },
    /// A trial failed, or was dropped before its answer.
    TrialFailed,
    /// A trial succeeded, but too slowly.
    TrialSlow {
        /// How long it took.
        took: Duration,
    },
    /// A trial did not end in time.
    TrialHung {
        /// The time it had.
        after: Duration,
    },
    /// An answer named the time after which the service is back; see
    /// [`Verdict::Down`](crate::Verdict::Down).
    Named {
        /// That time, as far as it is obeyed.
        wait: Duration,
    },
    /// [`Circuit::open_until`](crate::Circuit::open_until) was called with these words.
    Told(Cow<'static, str>),
    /// One call failed, and enough other processes see the service down; see
    /// [`peers`](crate::CircuitBuilder::peers).
    Quorum {
        /// How many of them.
        down: u32,
        /// Of how many.
        voters: u32,
    },
    /// The open time is over.
    OpenTimeOver,
    /// A probe was let through before the open time was over; see [`Circuit::probe`](crate::Circuit::probe).
    Probed,
    /// Enough trials succeeded.
    TrialsSucceeded {
        /// How many.
        successes: u32,
    },
    /// An operator forced the state.
    Forced,
    /// An operator switched the circuit off.
    Disabled,
    /// An operator reset the circuit.
    Reset,
    /// A [`Snapshot`](crate::Snapshot) was taken over.
    Restored,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("just built"),
            Self::Consecutive { failures: 1 } => f.write_str("1 failure"),
            Self::Consecutive { failures } => write!(f, "{failures} failures in a row"),
            Self::FailureRatio { failures, calls, window } => {
                write!(f, "{failures} failures in {calls} calls {window}")
            }
            Self::SlowRatio { slow, calls, window, from } => {
                write!(f, "{slow} of {calls} calls {window} took {from:?} or longer")
            }
            Self::TrialFailed => f.write_str("a trial failed"),
            Self::TrialSlow { took } => write!(f, "a trial took {took:?}"),
            Self::TrialHung { after } => write!(f, "a trial had no answer after {after:?}"),
            Self::Named { wait } => write!(f, "the service asked to be left alone for {wait:?}"),
            Self::Told(words) => f.write_str(words),
            Self::Quorum { down, voters } => {
                write!(f, "a call failed, and {down} of {voters} peers see the service down")
            }
            Self::Probed => f.write_str("a probe was let through"),
            Self::OpenTimeOver => f.write_str("the open time is over"),
            Self::TrialsSucceeded { successes: 1 } => f.write_str("1 trial succeeded"),
            Self::TrialsSucceeded { successes } => write!(f, "{successes} trials succeeded"),
            Self::Forced => f.write_str("forced by an operator"),
            Self::Disabled => f.write_str("switched off by an operator"),
            Self::Reset => f.write_str("reset by an operator"),
            Self::Restored => f.write_str("restored from a snapshot"),
        }
    }
}

/// One change of state. [`Circuit::watch`](crate::Circuit::watch) shows the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The running number; 0 is the state in which the circuit was built.
    pub number: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Who decides from here on.
    pub mode: Mode,
    /// Why it changed.
    pub reason: Reason,
    /// What was counted at that moment, before a closing circuit forgets it.
    pub figures: Figures,
    /// When it changed.
    pub at: Instant,
    /// When the first trial is let through, if the circuit is open and not held open without end.
    pub until: Option<Instant>,
}

/// What the window of the ratios holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WindowCounts {
    /// Calls judged a success or a failure.
    pub calls: u64,
    /// Those judged a failure.
    pub failures: u64,
    /// Those that were slow, whatever they were judged; 0 unless a slow ratio is set.
    pub slow: u64,
}

/// What a circuit has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Figures {
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// The window, if a ratio is configured. While the circuit is open it still
    /// shows what is left of the calls before; closing empties it.
    pub window: Option<WindowCounts>,
    /// Openings in a row; see [`OpenTime::growing`](crate::OpenTime::growing).
    pub openings: u32,
    /// Calls refused since the circuit was built, by gates and guards.
    pub refused: u64,
    /// Calls that only the [dry run](Mode::Observing) let pass.
    pub let_pass: u64,
}

/// A consistent picture of one circuit; see [`Circuit::status`](crate::Circuit::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The name given to the builder.
    pub name: Arc<str>,
    /// Where the circuit stands.
    pub state: State,
    /// Who decides about it.
    pub mode: Mode,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// The window, if a ratio is configured. While the circuit is open it still
    /// shows what is left of the calls before; closing empties it.
    pub window: Option<WindowCounts>,
    /// Openings in a row; see [`OpenTime::growing`](crate::OpenTime::growing).
    pub openings: u32,
    /// Trials on their way; 0 unless half-open.
    pub trials_running: u32,
    /// Trials that succeeded in this half-open time; 0 unless half-open.
    pub trial_successes: u32,
    /// Calls refused since the circuit was built, by gates and guards.
    pub refused: u64,
    /// Calls that only the [dry run](Mode::Observing) let pass.
    pub let_pass: u64,
    /// Changes of state since the circuit was built.
    pub transitions: u64,
    /// The newest change, with its reason, figures and instant.
    pub last: Transition,
}
