//! Pure: what the server says.

use std::time::Duration;

use super::{Core, Effects, Grant, News, sent::Sent};
use crate::{
    GateReason, Observation, RefusedKind,
    error::Refusal,
    moment::{Nanos, nanos},
};

impl Core {
    /// `of`: a keyed budget's account of which it speaks.
    pub(crate) fn observe(
        &mut self,
        now: Nanos,
        observation: &Observation,
        of: Option<usize>,
        effects: &mut Effects,
    ) {
        self.take_in(now, None, of, observation, effects);
        effects.leases |= self.leases_wanted();
        for account in (0..self.specs.len() as u32).chain(of.map(|at| at as u32)) {
            self.came_in(account);
        }
        self.settle_queue(now, effects);
    }

    /// Returns the bits of the budgets whose charge is now settled.
    pub(super) fn take_in(
        &mut self,
        now: Nanos,
        sent: Option<&Sent>,
        of: Option<usize>,
        observation: &Observation,
        effects: &mut Effects,
    ) -> u8 {
        let grant = sent.map(|sent| &sent.grant);
        if observation.budget().is_some_and(|budget| budget.index() >= self.specs.len()) {
            return 0; // one of another limiter
        }
        match *observation {
            Observation::Level { budget, limit, remaining, reset } => {
                self.heard = true;
                let index = budget.index();
                // A limit of nothing would forget what was spent and refuse for ever.
                let limit = limit.filter(|&limit| limit > 0);
                let paid = |sent: &&Sent| sent.grant.charge.amount(index) > 0;
                let slot = sent.filter(paid).map(|sent| sent.slot(index));
                // An answer to a request that paid nothing here says nothing
                // that could be put in order with those that did.
                let silent = grant.is_some() && slot.is_none();
                let at = grant.map_or(of.unwrap_or(index), |grant| grant.at.of(index));
                let gone = grant.is_some_and(|g| !self.still_is(g, index));
                let keyed = self.keyed & 1 << (index & 7) != 0;
                let (Some(spec), false) = (
                    self.specs.get_mut(index),
                    silent || gone || (keyed && grant.is_none() && of.is_none()),
                ) else {
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
                let shown = account.take_shown();
                let units = account.foreign().saturating_sub(before);
                self.came_in(at as u32);
                if units > 0 {
                    effects.news.push(News::Foreign { budget: budget.0, units });
                }
                if let (Some(grant), Some(shown)) = (grant, shown) {
                    let charged = grant.charge.amount(index);
                    if let Some(learner) = self.learner(grant) {
                        learner.see(index, charged, shown);
                    }
                }
                u8::from(settled) << index
            }
            Observation::Burst { budget, retry_after } => {
                self.refusals.burst += 1;
                let until = retry_after.map(|after| now.saturating_add(nanos(after)));
                let Some(at) = self.account_of(grant, of, budget.index()) else { return 0 };
                self.learn_limit(now, budget.index(), effects);
                let account = &mut self.accounts[at];
                let until = account.exhausted(now, until);
                if self.keyed & 1 << (budget.0 & 7) == 0 {
                    // Everybody pays from it, so everybody waits.
                    self.close(now, until, GateReason::Burst, effects);
                } else {
                    account.shut_until = account.shut_until.max(until);
                }
                self.came_in(at as u32);
                0
            }
            Observation::Exhausted { budget, retry_after } => {
                self.refusals.exhausted += 1;
                // A pause of nothing would begin a new day at once.
                let until = retry_after.filter(|after| !after.is_zero());
                let until = until.map(|after| now.saturating_add(nanos(after)));
                let Some(at) = self.account_of(grant, of, budget.index()) else { return 0 };
                let account = &mut self.accounts[at];
                let started = account.day().map_or(0, |day| day.tally.started());
                if sent.is_some_and(|sent| sent.sent_at < started) {
                    return 0; // it speaks of the day before
                }
                let until = account.exhausted(now, until);
                // Its period may end sooner now, also for calls that wait for it.
                self.came_in(at as u32);
                if let Some(day) = self.accounts.shared().get(at).and_then(|all| all.day()) {
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

    /// The account of a budget that an answer speaks of.
    fn account_of(&self, grant: Option<&Grant>, of: Option<usize>, budget: usize) -> Option<usize> {
        if self.keyed & 1 << (budget & 7) == 0 {
            return (budget < self.specs.len()).then_some(budget);
        }
        if of.is_some() {
            return of;
        }
        let grant = grant.filter(|grant| grant.charge.amount(budget) > 0)?;
        self.still_is(grant, budget).then(|| grant.at.of(budget))
    }

    /// A refusal where our count saw room: the real limit is lower than ours.
    fn learn_limit(&mut self, now: Nanos, budget: usize, effects: &mut Effects) {
        let spec = &mut self.specs[budget];
        let (Some(learnt), false) = (&mut spec.learnt, spec.heard) else { return };
        let account = &mut self.accounts[budget];
        let (used, limit) = (account.used(now), account.limit());
        let limit = learnt.refused(now, used, limit, account.window().unwrap_or(0));
        account.set_limit(limit);
        self.learning |= 1 << (budget & 7);
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
            while let Some(key) = self.queue.overdue(until.saturating_sub(1)) {
                let refusal = Refusal::new(RefusedKind::GateClosed, None, Some(until));
                self.refuse(key, refusal, effects);
            }
        }
    }
}
