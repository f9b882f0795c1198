use crate::{BoxError, BudgetId, Charge, Observations};

/// How a call ended, as a settling closure sees it.
pub type Outcome<'a, Response, Error = BoxError> = Result<&'a Response, &'a Error>;

/// What becomes of a charge once the call has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settle {
    /// The charge stands. The default.
    #[default]
    Keep,
    /// The server never counted it: everything is given back.
    Refund,
    /// It cost this much. A budget that the actual charge does not name keeps
    /// its charge, or what the server
    /// [says it cost](crate::Observation::Cost); a budget that the call did not
    /// spend is not charged now.
    Actual(Charge),
    /// It cost this much, and nothing of any budget that the charge does not name:
    /// for an answer that counts as a request and costs no tokens.
    Exactly(Charge),
}

impl Settle {
    /// What was charged as `n` has really cost: as the caller says, or else as
    /// the server says.
    pub(crate) fn actual(&self, said: &Observations, budget: usize, n: u64) -> u64 {
        let told = || said.cost(budget).unwrap_or(n);
        match self {
            Self::Keep => told(),
            Self::Refund => 0,
            Self::Exactly(charge) => u64::from(charge.of(BudgetId(budget as u8))),
            Self::Actual(charge) => match charge.of(BudgetId(budget as u8)) {
                0 => told(),
                actual => u64::from(actual),
            },
        }
    }
}

/// Decides what becomes of a charge. Closures implement it:
///
/// ```
/// use tower_ratelimit_tokens::{Outcome, Settle};
///
/// // A connection that was refused has cost nothing.
/// let settle = |outcome: Outcome<'_, String>| match outcome {
///     Err(error) if error.is::<std::io::Error>() => Settle::Refund,
///     _ => Settle::Keep,
/// };
/// assert_eq!(settle(Ok(&String::new())), Settle::Keep);
/// ```
pub trait Settler<Response> {
    /// Whether it ever does anything but keep. If not, it is never called.
    const SETTLES: bool = true;

    /// Called once, when the call has ended.
    fn settle(&self, outcome: Outcome<'_, Response>) -> Settle;
}

impl<F, Response> Settler<Response> for F
where
    F: Fn(Outcome<'_, Response>) -> Settle,
{
    fn settle(&self, outcome: Outcome<'_, Response>) -> Settle {
        self(outcome)
    }
}

/// Every charge stands: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

impl<Response> Settler<Response> for KeepAll {
    const SETTLES: bool = false;

    fn settle(&self, _: Outcome<'_, Response>) -> Settle {
        Settle::Keep
    }
}
