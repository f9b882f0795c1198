use std::{fmt, time::Duration};

use crate::BudgetId;

/// How many things one response may say.
pub(crate) const MAX_OBSERVATIONS: usize = 8;

/// Something that the server said about a budget or about refusing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// What is left of a budget, as of the request that was answered.
    Level {
        /// Which budget.
        budget: BudgetId,
        /// The server's limit, if it says one. Zero counts as not said.
        limit: Option<u64>,
        /// Units left.
        remaining: u64,
        /// How long until the budget is whole again, if the server says so.
        reset: Option<Duration>,
    },
    /// The request was refused for coming too fast. The gate closes for all; or, if
    /// each key has that budget for itself, the key that asked has to wait.
    Burst {
        /// The budget that is full.
        budget: BudgetId,
        /// How long the server wants to be left alone. Default: the budget's window.
        retry_after: Option<Duration>,
    },
    /// The request was refused because a day's budget is gone. That budget is
    /// closed until its reset, or until the time that the server names.
    Exhausted {
        /// The budget that is gone.
        budget: BudgetId,
        /// How long until it is whole again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// The server wants to be left alone by all. The gate closes.
    Closed {
        /// Why.
        reason: GateReason,
        /// For how long.
        retry_after: Duration,
    },
    /// What the request that was answered has really cost. Its charge on that
    /// budget is settled to this, unless the caller's own settlement says
    /// something of that budget; the server's own count, if it tells one too,
    /// stands above both. A budget that the request did not pay is not charged
    /// now.
    Cost {
        /// The budget that was charged.
        budget: BudgetId,
        /// Units; zero gives the charge back.
        units: u32,
    },
}

impl Observation {
    /// The budget of which it speaks.
    #[must_use]
    pub const fn budget(&self) -> Option<BudgetId> {
        match *self {
            Self::Level { budget, .. }
            | Self::Burst { budget, .. }
            | Self::Exhausted { budget, .. }
            | Self::Cost { budget, .. } => Some(budget),
            Self::Closed { .. } => None,
        }
    }
}

/// Why the gate is closed for all callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum GateReason {
    /// The server refused a request for coming too fast (429).
    Burst,
    /// The server asked for a pause (`Retry-After`).
    RetryAfter,
    /// The server's edge shut us out.
    Banned,
    /// Closed by hand.
    Manual,
}

impl fmt::Display for GateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Burst => "too many requests",
            Self::RetryAfter => "the server asked for a pause",
            Self::Banned => "banned by the server's edge",
            Self::Manual => "closed by hand",
        })
    }
}

/// What one response says: at most eight [`Observation`]s, without allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observations {
    /// Filled from the front.
    list: [Option<Observation>; MAX_OBSERVATIONS],
}

impl Observations {
    /// Says nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: [None; MAX_OBSERVATIONS] }
    }

    pub(crate) const NOTHING: &'static Self = &Self::none();

    /// Adds one. A ninth is ignored.
    pub fn push(&mut self, observation: Observation) {
        if let Some(free) = self.list.iter_mut().find(|place| place.is_none()) {
            *free = Some(observation);
        }
    }

    /// What the request cost of that budget, if the server says so.
    pub(crate) fn cost(&self, index: usize) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        self.iter().find_map(|observation| match observation {
            Observation::Cost { budget, units } if budget.index() == index => {
                Some(u64::from(*units))
            }
            _ => None,
        })
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Observation> {
        self.list.iter().map_while(Option::as_ref)
    }

    /// Whether nothing was said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list[0].is_none()
    }
}

impl From<Observation> for Observations {
    fn from(observation: Observation) -> Self {
        let mut all = Self::none();
        all.push(observation);
        all
    }
}
