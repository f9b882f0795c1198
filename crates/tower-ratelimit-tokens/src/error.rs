use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::moment::{Epoch, Nanos};

/// Why a call was refused here, before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedKind {
    /// The period's budget is gone, and its reset lies past the deadline.
    BudgetExhausted,
    /// As many calls wait as may.
    QueueFull,
    /// The wait cannot end, or has not ended, before the deadline.
    DeadlineTooNear,
    /// The server wants to be left alone for longer than the call can wait.
    GateClosed,
    /// The call costs more than the budget ever holds, or than it holds for calls
    /// of its priority.
    NeverFits,
    /// There is no room now, and the call must not wait.
    WouldWait,
    /// A ledger has leased nothing of the budget, before the deadline or at all: it
    /// cannot be reached, or nobody runs its driver.
    NoLease,
    /// Calls of its priority are turned away for now; [`Refused::reason`] says why.
    Shed,
    /// There are as many keys as may be, and all of them are in use.
    TooManyKeys,
}

/// A refusal as the pure types know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusedKind,
    pub(crate) budget: Option<u8>,
    pub(crate) retry_at: Option<Nanos>,
    /// Why calls are shed.
    pub(crate) reason: Option<Arc<str>>,
}

impl Refusal {
    pub(crate) const fn new(
        kind: RefusedKind,
        budget: Option<u8>,
        retry_at: Option<Nanos>,
    ) -> Self {
        Self { kind, budget, retry_at, reason: None }
    }
}

/// The limiter refused the call. Nothing was sent and nothing was spent.
///
/// This is a local refusal: it says nothing about the health of the server.
#[derive(Clone)]
pub struct Refused {
    pub(crate) kind: RefusedKind,
    pub(crate) budget: Option<Arc<str>>,
    pub(crate) reason: Option<Arc<str>>,
    /// Read only by who asks: most refusals are dropped unread.
    pub(crate) epoch: Epoch,
    pub(crate) retry_at: Option<Nanos>,
    pub(crate) refused_at: Instant,
}

impl Refused {
    /// What stood in the way.
    #[must_use]
    pub const fn kind(&self) -> RefusedKind {
        self.kind
    }

    /// The name of the budget that refused; `None` for the gate and the queue.
    #[must_use]
    pub fn budget(&self) -> Option<&str> {
        self.budget.as_deref()
    }

    /// The first moment at which trying again may help; `None` if never, or if
    /// no time is known.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.map(|nanos| self.epoch.instant(nanos))
    }

    /// The reason given for [shedding](crate::Limiter::shed), as it was when the
    /// call was refused; `None` for all other kinds.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How far away [`retry_at`](Self::retry_at) was when the call was refused.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_at().map(|retry_at| retry_at.saturating_duration_since(self.refused_at))
    }
}

/// Two limiters may count from different instants.
impl PartialEq for Refused {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.budget == other.budget
            && self.reason == other.reason
            && self.refused_at == other.refused_at
            && self.retry_at() == other.retry_at()
    }
}

impl Eq for Refused {}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("kind", &self.kind)
            .field("budget", &self.budget)
            .field("retry_at", &self.retry_at())
            .field("retry_after", &self.retry_after())
            .field("reason", &self.reason)
            .finish()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.budget.as_deref().unwrap_or("unknown");
        match self.kind {
            RefusedKind::BudgetExhausted => write!(f, "budget `{name}` is exhausted")?,
            RefusedKind::QueueFull => f.write_str("too many calls wait for the rate limiter")?,
            RefusedKind::DeadlineTooNear => match &self.budget {
                Some(name) => write!(f, "budget `{name}` has no room before the call's deadline")?,
                None => f.write_str("the rate limiter has no room before the call's deadline")?,
            },
            RefusedKind::GateClosed => {
                f.write_str("the server asked for a pause that outlasts the call's deadline")?;
            }
            RefusedKind::WouldWait => match &self.budget {
                Some(name) => write!(f, "budget `{name}` has no room now")?,
                None => f.write_str("the rate limiter has no room now")?,
            },
            RefusedKind::NoLease => write!(f, "no ledger has leased anything of budget `{name}`")?,
            RefusedKind::Shed => {
                f.write_str("calls of this priority are turned away for now")?;
                if let Some(reason) = self.reason.as_deref().filter(|reason| !reason.is_empty()) {
                    write!(f, ": {reason}")?;
                }
            }
            RefusedKind::TooManyKeys => {
                write!(f, "budget `{name}` has no room for one more key")?;
            }
            RefusedKind::NeverFits => {
                write!(f, "the call costs more than budget `{name}` ever holds")?;
            }
        }
        f.write_str("; refused here, nothing was sent")?;
        match self.retry_after() {
            // Whole seconds read better; a wait is rounded up, never down.
            Some(after) if after >= Duration::from_secs(10) => {
                write!(f, "; try again in {} s", after.as_millis().div_ceil(1_000))
            }
            Some(after) => write!(f, "; try again in {} ms", after.as_micros().div_ceil(1_000)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There are more than eight budgets.
    TooManyBudgets(usize),
    /// Two budgets have the same name.
    DuplicateName(Arc<str>),
    /// A limit or a refill is zero, or too great to count with.
    Limit(Arc<str>),
    /// A window, a period, a resolution or a transit bound is zero or too long.
    Window(Arc<str>),
    /// A setting that this kind of budget does not have.
    NotForThisKind {
        /// The budget.
        budget: Arc<str>,
        /// The setting.
        setting: &'static str,
    },
    /// There are more than four scopes.
    TooManyScopes(usize),
    /// A budget or a scope names a scope that this limiter has not, or that comes
    /// after it.
    UnknownScope(Arc<str>),
    /// A share that is not between 0 and 1, or steps that do not rise.
    Share {
        /// The budget.
        budget: Arc<str>,
        /// The setting.
        setting: &'static str,
    },
    /// The longest wait is longer than a year.
    MaxWait(Duration),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyBudgets(n) => {
                write!(f, "{n} budgets are more than the 8 that one limiter can have")
            }
            Self::DuplicateName(name) => write!(f, "two budgets are named `{name}`"),
            Self::Limit(name) => write!(
                f,
                "the limit and the refill of `{name}` must lie between 1 and {}",
                u32::MAX
            ),
            Self::Window(name) => write!(
                f,
                "the window, transit bound and resolution of `{name}` must lie between 1 ms and 31 days, with at most 1,000,000 steps of the resolution in a window"
            ),
            Self::NotForThisKind { budget, setting } => {
                write!(f, "`{budget}` is of a kind that has no `{setting}`")
            }
            Self::TooManyScopes(n) => {
                write!(f, "{n} scopes are more than the 4 that one limiter can have")
            }
            Self::UnknownScope(name) => {
                write!(f, "`{name}` lies in a scope that was not named before it")
            }
            Self::Share { budget, setting } => {
                write!(f, "`{setting}` of `{budget}` takes shares between 0 and 1, in rising order")
            }
            Self::MaxWait(wait) => {
                write!(f, "a wait of {} s is longer than a year", wait.as_secs())
            }
        }
    }
}

/// A configuration that cannot work, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// All that is wrong; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
