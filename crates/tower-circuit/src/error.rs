use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Reason, State};

/// The call was refused by the circuit. It is a local refusal: nothing was sent, so
/// it says nothing new about the service, and calling again cannot double any work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub(crate) opened: Arc<Opened>,
    pub(crate) state: State,
    pub(crate) refused_at: Instant,
    pub(crate) retry_at: Option<Instant>,
}

/// What all refusals of one opening say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) name: Arc<str>,
    pub(crate) reason: Reason,
}

impl Open {
    /// The name of the circuit.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// [`State::Open`], or [`State::HalfOpen`] when all trial places were taken.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why the circuit opened.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.opened.reason
    }

    /// When a call is let through again as a trial. `None` if nobody can know:
    /// all trial places are taken, or an operator holds the circuit open.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The time from the refusal to [`retry_at`](Self::retry_at).
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(self.refused_at))
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Opened { name, reason }, state) = (&*self.opened, &self.state);
        write!(f, "circuit `{name}` ")?;
        match state {
            State::HalfOpen => {
                f.write_str("is trying the service, and all trial places are taken")?
            }
            State::Open | State::Closed => write!(f, "is open ({reason})")?,
        }
        f.write_str("; the call was refused here and not sent; try again ")?;
        match self.wait() {
            Some(wait) => write!(f, "in {:.1} s", wait.as_secs_f64()),
            None if *state == State::HalfOpen => f.write_str("when a trial has ended"),
            None => f.write_str("when an operator lets it close"),
        }
    }
}

impl std::error::Error for Open {}

/// A [`CircuitBuilder`](crate::CircuitBuilder) was given values that cannot work. It lists all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// Each value that cannot work.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circuit cannot be built")?;
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) allowed: &'static str,
}

impl Problem {
    /// The setting: the name of the builder's method, and the argument after a dot if it has several.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The value that it was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The values that would work.
    #[must_use]
    pub const fn allowed(&self) -> &'static str {
        self.allowed
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, allowed } = self;
        write!(f, "{field} is {value}, allowed: {allowed}")
    }
}
