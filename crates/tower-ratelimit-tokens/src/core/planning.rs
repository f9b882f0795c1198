//! Pure: what a piece of work would cost, and when it could be done.

use super::Core;
use crate::{
    budget::{Fit, Sight, State},
    charge::MAX_BUDGETS,
    moment::Nanos,
};

const DAY: Nanos = 86_400_000_000_000;

/// What a piece of work needs of one budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetPlan {
    pub(crate) needed: u64,
    /// Units left now, less what queued calls need.
    pub(crate) left: u64,
    /// When the last unit could be spent at best; `None` if that is never, or if
    /// the budget is not one of time.
    pub(crate) ends: Option<Nanos>,
    pub(crate) never: bool,
}

impl Core {
    /// `needed` and `largest`: units in all and of the largest call, by budget.
    pub(crate) fn plan(
        &mut self,
        now: Nanos,
        needed: &[u64; MAX_BUDGETS],
        largest: &[u64; MAX_BUDGETS],
    ) -> [Option<BudgetPlan>; MAX_BUDGETS] {
        std::array::from_fn(|budget| {
            if needed[budget] == 0 || budget >= self.specs.len() {
                return None;
            }
            Some(self.plan_of(now, budget, needed[budget], largest[budget]))
        })
    }

    fn plan_of(&mut self, now: Nanos, budget: usize, needed: u64, largest: u64) -> BudgetPlan {
        let ahead = self.queue.need(budget);
        let account = &mut self.accounts[budget];
        let (limit, used) = (account.limit(), account.used(now));
        let left = limit.saturating_sub(used.saturating_add(ahead));
        if largest > limit {
            return BudgetPlan { needed, left, ends: None, never: true };
        }
        let before = ahead.saturating_add(needed - largest);
        let fit = account.when(now, largest, 0, before, Sight::Likely);
        let ends = match (&account.state, fit) {
            (State::Concurrency(_), _) => None,
            (State::Day(day), Fit::Exhausted(_)) => {
                // Whole days of the limit each, from the next reset on.
                let missing = needed.saturating_sub(left).max(1);
                let days = (missing - 1) / limit.max(1);
                Some(day.resets_at().saturating_add(days.saturating_mul(DAY)))
            }
            (_, Fit::At(at) | Fit::Exhausted(at)) => Some(at),
            (_, Fit::Now | Fit::Leased(_)) => Some(now),
            // It hangs on answers that are under way: a window at the most.
            (_, Fit::Event | Fit::Behind) => {
                Some(now.saturating_add(account.window().unwrap_or(0)))
            }
            (_, Fit::Never) => None,
        };
        BudgetPlan { needed, left, ends, never: false }
    }

    /// Units left, the moment at which they will be gone if spending goes on as
    /// it did, and the end of the period.
    pub(crate) fn forecast(
        &mut self,
        now: Nanos,
        budget: usize,
    ) -> Option<(Nanos, Nanos, u64, Nanos)> {
        let account = self.accounts.get(budget)?;
        let left = account.limit().saturating_sub(account.used(now));
        let (ends, total) = (account.ends()?, account.total());
        let trend = self.specs.get_mut(budget)?.trend.as_mut()?;
        let (spent, seen) = trend.rate(now, total)?;
        Some((trend.gone_at(now, total, left)?, ends, spent, seen))
    }
}
