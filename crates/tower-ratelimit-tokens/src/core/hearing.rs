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
        effects.leases |= self.leases_wanted();
        for budget in 0..self.specs.len() {
            self.came_in(now, budget as u32, effects);
        }
        self.settle_queue(now, effects);
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
                // A limit of nothing would forget what was spent and refuse for ever.
                let limit = limit.filter(|&limit| limit > 0);
                let slot = grant.filter(|g| g.charge.amount(index) > 0).map(|g| g.slot(index));
                // An answer to a request that paid nothing here says nothing
                // that could be put in order with those that did.
                let silent = grant.is_some() && slot.is_none();
                let at = grant.map_or(index, |grant| grant.at.of(index));
                let gone = grant.is_some_and(|g| !self.still_is(&g.charge, index, g.at));
                let keyed = self.keyed & 1 << (index & 7) != 0;
                let (Some(spec), false) =
                    (self.specs.get_mut(index), silent || gone || (keyed && grant.is_none()))
                else {
                    return 0;
                };
                spec.heard = true;
                let account = &mut self.accounts[at];
                if let (true, Some(limit)) = (spec.learns_limit, limit) {
                    account.set_limit(limit);
                    spec.limit = account.limit();
                    if let Some(learnt) = &mut spec.learnt {
                        learnt.told(spec.limit);
                    }
                }
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
                let Some(at) = self.account_of(grant, budget.index()) else { return 0 };
                self.learn_limit(now, budget.index(), effects);
                let until = self.accounts[at].exhausted(now, until);
                if self.keyed & 1 << (budget.0 & 7) == 0 {
                    // Everybody pays from it, so everybody waits.
                    self.close(now, until, GateReason::Burst, effects);
                }
                0
            }
            Observation::Exhausted { budget, retry_after } => {
                self.refusals.exhausted += 1;
                // A pause of nothing would begin a new day at once.
                let until = retry_after.filter(|after| !after.is_zero());
                let until = until.map(|after| now.saturating_add(nanos(after)));
                let Some(at) = self.account_of(grant, budget.index()) else { return 0 };
                let account = &mut self.accounts[at];
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
        }
    }

    /// The account of a budget that an answer speaks of.
    fn account_of(&self, grant: Option<&Grant>, budget: usize) -> Option<usize> {
        if self.keyed & 1 << (budget & 7) == 0 {
            return (budget < self.specs.len()).then_some(budget);
        }
        let grant = grant.filter(|grant| grant.charge.amount(budget) > 0)?;
        self.still_is(&grant.charge, budget, grant.at).then(|| grant.at.of(budget))
    }

    /// A refusal where our count saw room: the real limit is lower than ours.
    fn learn_limit(&mut self, now: Nanos, budget: usize, effects: &mut Effects) {
        let spec = &mut self.specs[budget];
        let (Some(learnt), false) = (&mut spec.learnt, spec.heard) else { return };
        let account = &mut self.accounts[budget];
        let (used, limit) = (account.used(now), account.limit());
        let limit = learnt.refused(now, used, limit, account.window().unwrap_or(0));
        account.set_limit(limit);
        effects.news.push(News::LimitLearnt { budget: budget as u8, limit });
    }

    /// A success: a limit that was guessed too low may rise.
    pub(super) fn unlearn_limits(&mut self, now: Nanos, grant: &Grant) {
        for (budget, _) in grant.charge.parts() {
            let Some(learnt) = self.specs[budget].learnt.as_mut() else { continue };
            let account = &mut self.accounts[budget];
            if !learnt.is_whole(account.limit()) {
                let window = account.window().unwrap_or(0);
                if let Some(limit) = learnt.succeeded(now, account.limit(), window) {
                    account.set_limit(limit);
                }
            }
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
            while let Some(key) = self.queue.overdue(until.saturating_sub(1)) {
                self.refuse(now, key, refusal, effects);
            }
        }
    }
}
