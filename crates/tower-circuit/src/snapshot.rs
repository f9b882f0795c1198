use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{Circuit, Mode, Reason, State};

/// What of a circuit outlives its process: see [`Circuit::snapshot`].
///
/// The state, who decides, what is left of the open time, the row of failures, the row of openings, the totals, and why
/// it opened. The window of the ratios is not kept: it starts empty. Trials under way are not kept: their places are free.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// How this is to be read: [`VERSION`](Self::VERSION) when it was taken.
    pub version: u32,
    /// The name of the circuit.
    pub name: String,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Where the circuit stood.
    pub state: State,
    /// Who decided.
    pub mode: Mode,
    /// What was left of the open time; none if it was not open, or open without end.
    pub open_left: Option<Duration>,
    /// Why it opened last.
    pub opened_by: Reason,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Openings in a row.
    pub openings: u32,
    /// How long the newest opening that a rule or a failed trial caused was to last.
    pub open_time: Duration,
    /// Calls refused so far.
    pub refused: u64,
    /// Calls that only the dry run let pass.
    pub let_pass: u64,
    /// Changes of state so far.
    pub transitions: u64,
}

impl Snapshot {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;

    /// Whether it differs from a new circuit in more than totals. `enabled`: as the builder said.
    pub(crate) fn is_felt(&self, enabled: bool) -> bool {
        let by_default = matches!(self.mode, Mode::Automatic | Mode::Observing)
            || self.mode == Mode::Disabled && !enabled;
        !by_default
            || self.state != State::Closed
            || self.consecutive_failures > 0
            || self.openings > 0
    }

    /// What is left of the open time at `wall`; none if it was not open, or open without end. A clock that went back
    /// prolongs nothing.
    #[must_use]
    pub fn left(&self, wall: SystemTime) -> Option<Duration> {
        let gone = Duration::from_millis(millis(wall).saturating_sub(self.taken_at_ms));
        self.open_left.map(|left| left.saturating_sub(gone))
    }
}

pub(crate) fn millis(wall: SystemTime) -> u64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A [`Snapshot`] does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is of a version that this crate does not read.
    Version(u32),
    /// It is of another circuit.
    Name {
        /// The circuit that was to be restored.
        circuit: String,
        /// The circuit that the snapshot is of.
        snapshot: String,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "snapshot has version {version}, expected {}", Snapshot::VERSION)
            }
            Self::Name { circuit, snapshot } => {
                write!(f, "snapshot is of circuit `{snapshot}`, not of `{circuit}`")
            }
        }
    }
}

impl std::error::Error for RestoreError {}

impl Circuit {
    /// What of the circuit outlives the process. `wall` is the time of day, which is all that two processes share.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::{Duration, SystemTime};
    /// use tower_circuit::{Circuit, Verdict};
    ///
    /// let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    /// let before = Circuit::builder("api").consecutive(1).build()?;
    /// before.admit()?.record(Verdict::Down(Duration::from_secs(300)));
    /// let snapshot = before.snapshot(wall);
    ///
    /// // Another process, a hundred seconds later.
    /// let after = Circuit::builder("api").consecutive(1).build()?;
    /// after.restore(&snapshot, wall + Duration::from_secs(100))?;
    /// assert_eq!(after.admit().unwrap_err().wait(), Some(Duration::from_secs(200)));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn snapshot(&self, wall: SystemTime) -> Snapshot {
        self.update(|breaker, at| {
            breaker.tick(at);
            breaker.snapshot(self.name(), at.now, millis(wall))
        })
    }

    /// Takes over what a [`Snapshot`] says, as of `wall`. An open time that is over leads to trials.
    ///
    /// It is a [transition](crate::Reason::Restored), and calls under way no longer count. A circuit that was held by an
    /// operator, or switched off, is so again; a dry run stays what the builder says.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if it is of another version or another circuit; then nothing is changed.
    pub fn restore(&self, snapshot: &Snapshot, wall: SystemTime) -> Result<(), RestoreError> {
        if snapshot.version != Snapshot::VERSION {
            return Err(RestoreError::Version(snapshot.version));
        }
        if snapshot.name != self.name() {
            let (circuit, snapshot) = (self.name().to_owned(), snapshot.name.clone());
            return Err(RestoreError::Name { circuit, snapshot });
        }
        self.update(|breaker, at| breaker.restore(snapshot, at.now, snapshot.left(wall)));
        Ok(())
    }
}
