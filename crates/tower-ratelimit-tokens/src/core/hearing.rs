//! Pure: what the server says.

use std::time::Duration;

use super::{Core, Effects, Grant, News};
use crate::{
    GateReason, Observation, RefusedKind,
    error::Refusal,
    moment::{Nanos, nanos},
};

impl Core {
    pub(crate) fn observe(&mut self, now: Nanos, observation: &Observation, effects: &mut Effects) {
        self.take_in(now, None, observation, effects);
        self.reconsider(now, effects);
    }

    /// Returns the bits of the budgets whose charge is now settled.
    pub(super) fn take_in(
        &mut self,
        now: Nanos,
        grant: Option<&Grant>,
        observation: &Observation,
        effects: &mut Effects,
    ) -> u8 {
        match *observation {
            Observation::Level { budget, limit, remaining, reset } => {
                self.heard = true;
                let index = budget.index();
                let slot = grant.filter(|g| g.charge.amount(index) > 0).map(|g| g.slot(index));
                // An answer to a request that paid nothing here says nothing
                // that could be put in order with those that did.
                let (Some(account), false) =
                    (self.accounts.get_mut(index), grant.is_some() && slot.is_none())
                else {
                    return 0;
                };
                let before = account.foreign();
                let settled = account.level(now, slot.as_ref(), limit, remaining, reset);
                let units = account.foreign().saturating_sub(before);
                if units > 0 {
                    effects.news.push(News::Foreign { budget: budget.0, units });
                }
                u8::from(settled) << index
            }
            Observation::Burst { budget, retry_after } => {
                self.refusals.burst += 1;
                let until = retry_after.map(|after| now.saturating_add(nanos(after)));
                if let Some(account) = self.accounts.get_mut(budget.index()) {
                    let until = account.exhausted(now, until);
                    self.close(now, until, GateReason::Burst, effects);
                }
                0
            }
            Observation::Exhausted { budget, retry_after } => {
                self.refusals.exhausted += 1;
                // A pause of nothing would begin a new day at once.
                let until = retry_after.filter(|after| !after.is_zero());
                let until = until.map(|after| now.saturating_add(nanos(after)));
                let Some(account) = self.accounts.get_mut(budget.index()) else { return 0 };
                let started = account.day().map_or(0, |day| day.tally.started());
                if grant.is_some_and(|grant| grant.sent_at < started) {
                    return 0; // it speaks of the day before
                }
                let until = account.exhausted(now, until);
                if let Some(day) = account.day() {
                    self.wants_wall = self.wants_wall.min(day.wants_wall());
                }
                let for_ = Duration::from_nanos(until.saturating_sub(now));
                effects.news.push(News::Exhausted { budget: budget.0, for_ });
                1 << (budget.0 & 7)
            }
            Observation::Closed { reason, retry_after } => {
                match reason {
                    GateReason::Banned => self.refusals.banned += 1,
                    _ => self.refusals.paused += 1,
                }
                self.close(now, now.saturating_add(nanos(retry_after)), reason, effects);
                0
            }
            // Settled with the answer, see `Settle::actual`.
            Observation::Cost { .. } => 0,
        }
    }

    /// Closes the gate for all. Those who cannot wait that long hear at once.
    pub(crate) fn close(
        &mut self,
        now: Nanos,
        until: Nanos,
        reason: GateReason,
        effects: &mut Effects,
    ) {
        if self.gate.close(now, until, reason) {
            let for_ = Duration::from_nanos(until - now);
            effects.news.push(News::GateClosed { for_, reason });
            let refusal =
                Refusal { kind: RefusedKind::GateClosed, budget: None, retry_at: Some(until) };
            self.queue.refuse_due(until.saturating_sub(1), refusal, &mut effects.wakes);
            // Whoever is first now has a timer to set.
            effects.wakes.push(self.queue.wake_first());
        }
    }
}
