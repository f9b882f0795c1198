use std::{sync::Arc, time::Duration};

use crate::moment::{Nanos, nanos};

/// How the budget of a period is spread over it; see
/// [`Budget::pace`](crate::Budget::pace).
///
/// ```
/// use tower_ratelimit_tokens::Pace;
///
/// assert_eq!(Pace::default(), Pace::None);
/// assert_ne!(Pace::autotask(), Pace::Even);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Pace {
    /// As fast as the other budgets allow: the default.
    #[default]
    None,
    /// What is left is spread evenly over the time that is left.
    Even,
    /// Evenly, from the moment at which spending on as in the last hour (a 24th
    /// of the period) would end before the period does.
    Predictive,
    /// Each call is held back for a time that grows with what has been used.
    /// Pairs of a used share (0 to 1) and the time from that share on, in order.
    Steps(Arc<[(f64, Duration)]>),
}

impl Pace {
    /// Autotask's own table: half a second a call from 50 % of the threshold on, a
    /// whole one from 75 % on.
    ///
    /// Source: Autotask help, *REST Thresholds and Limits*. The server adds that
    /// time itself; use it to slow down before the server does.
    #[must_use]
    pub fn autotask() -> Self {
        let steps = [(0.50, Duration::from_millis(500)), (0.75, Duration::from_secs(1))];
        Self::Steps(Arc::from(steps.as_slice()))
    }

    /// Whether steps are shares from 0 to 1 in rising order.
    pub(crate) fn is_valid(&self) -> bool {
        let Self::Steps(steps) = self else { return true };
        steps.iter().all(|(share, _)| (0.0..=1.0).contains(share))
            && steps.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && !steps.is_empty()
    }
}

/// How late a timer may be and still be made up for.
const LATE: Nanos = nanos(Duration::from_millis(5));

/// Pure: when the next units are due.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    due: Nanos,
}

impl Pacer {
    pub(crate) fn new(pace: &Pace) -> Option<Self> {
        (*pace != Pace::None).then(|| Self { pace: pace.clone(), due: 0 })
    }

    pub(crate) const fn is_predictive(&self) -> bool {
        matches!(self.pace, Pace::Predictive)
    }

    /// When the next units may go; not later than `now` if at once.
    pub(crate) const fn due(&self) -> Nanos {
        self.due
    }

    /// `n` units go now; `left` remain, until `ends`. `short`: at this speed they
    /// would not last.
    pub(crate) fn spent(&mut self, now: Nanos, n: u64, left: u64, ends: Nanos, short: bool) {
        let even = match self.pace {
            Pace::Even => true,
            Pace::Predictive => short,
            Pace::None | Pace::Steps(_) => false,
        };
        if even {
            let gap =
                u128::from(ends.saturating_sub(now)) * u128::from(n) / u128::from(left.max(1));
            let gap = u64::try_from(gap).unwrap_or(u64::MAX);
            // Never past the end of the period: the next one begins afresh.
            self.due =
                self.due.max(now.saturating_sub(LATE)).saturating_add(gap).min(ends.max(now));
        }
    }

    /// How long each call is held back.
    pub(crate) fn latency(&self, used: u64, limit: u64) -> Nanos {
        let Pace::Steps(steps) = &self.pace else { return 0 };
        let share = used as f64 / limit.max(1) as f64;
        let reached = steps.iter().rev().find(|(from, _)| share >= *from);
        reached.map_or(0, |(_, latency)| nanos(*latency))
    }
}
