//! Pure: from the sending of a request to its answer.

use super::{Core, Effects, Grant, Hears, News, SentId, sent::Sent};
use crate::{Charge, Observations, Settle, accounts::At, charge::MAX_BUDGETS, moment::Nanos};

impl Core {
    /// Before something is spent: the trends are to see when it was.
    #[inline]
    fn look(&mut self, now: Nanos) {
        if now >= self.wants_look {
            self.look_at_trends(now);
        }
    }

    /// Sends what was reserved. There is no record if nobody is to hear of the end.
    #[inline]
    fn send(&mut self, now: Nanos, grant: &Grant, hears: Hears) -> Option<SentId> {
        self.look(now);
        self.seq += 1;
        let seq = self.seq;
        let tracked = self.tracks(hears);
        if self.leased != 0 {
            self.send_leases(now, &grant.charge, grant.until(), tracked);
        }
        let mut marks = [0; MAX_BUDGETS];
        for (budget, n) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                let account = &mut self.accounts[grant.at.of(budget)];
                marks[budget] = account.sent(now, n, seq, tracked);
            }
        }
        self.count(now, &grant.charge);
        if !tracked && hears == Hears::Nobody {
            return None;
        }
        let (id, sent) = self.sendings.open(tracked);
        *sent = Sent { grant: *grant, sent_at: now, seq, tracked, marks };
        Some(id)
    }

    /// Whether the budgets are to hear of the end: once the server's counts are
    /// known, of every end.
    #[inline]
    pub(super) fn tracks(&self, hears: Hears) -> bool {
        hears == Hears::Limiter || self.heard
    }

    /// Reserves and sends in one.
    #[inline]
    pub(super) fn send_at_once(
        &mut self,
        now: Nanos,
        charge: &Charge,
        at: At,
        hears: Hears,
    ) -> Option<SentId> {
        self.look(now);
        self.seq += 1;
        let seq = self.seq;
        let tracked = self.tracks(hears);
        let mut until = Nanos::MAX;
        if self.leased != 0 {
            until = self.take_leases(charge);
            self.send_leases(now, charge, until, tracked);
        }
        let mut id = None;
        if tracked || hears != Hears::Nobody {
            let (new, sent) = self.sendings.open(tracked);
            id = Some(new);
            (sent.grant.charge, sent.grant.at) = (*charge, at);
            (sent.grant.reserved_at, sent.grant.takings.until) = (now, until);
            (sent.sent_at, sent.seq, sent.tracked) = (now, seq, tracked);
            for (budget, n) in charge.parts() {
                let account = &mut self.accounts[at.of(budget)];
                let (taking, mark) = account.take(now, n, seq, tracked);
                sent.grant.takings.numbers[budget] = taking;
                sent.marks[budget] = mark;
            }
        } else {
            for (budget, n) in charge.parts() {
                self.accounts[at.of(budget)].spend(now, n, seq);
            }
        }
        if charge.mask() & self.paced != 0 {
            self.pace(now, charge);
        }
        self.gate.passed(now);
        self.count(now, charge);
        id
    }

    #[inline]
    fn count(&mut self, now: Nanos, charge: &Charge) {
        if let Some(usage) = self.usage.get_mut(charge.endpoint().0 as usize) {
            usage.add(charge);
        }
        if charge.mask() & self.unspent != 0 {
            self.begin_trends(now, charge);
        }
    }

    /// Whether nobody is to be warned of anything.
    #[inline(always)]
    pub(crate) fn is_calm(&mut self, now: Nanos, charge: &Charge) -> bool {
        for (budget, _) in charge.parts_of(self.warning) {
            let (used, limit) = self.accounts[budget].used_of(now);
            if !self.specs[budget].warnings.is_calm(used, limit) {
                return false;
            }
        }
        true
    }

    /// Whether a share of a budget has been passed at which somebody is warned.
    pub(crate) fn warn(&mut self, now: Nanos, charge: &Charge) -> Option<News> {
        for (budget, _) in charge.parts_of(self.warning) {
            let (spec, account) = (&mut self.specs[budget], &mut self.accounts[budget]);
            let (used, limit) = (account.used(now), account.limit());
            if !spec.warnings.is_calm(used, limit) && spec.warnings.look(&spec.warn_at, used, limit)
            {
                return Some(News::Warning { budget: budget as u8, used, limit });
            }
        }
        None
    }

    /// Sends what was admitted before; a slot that was held may now expire.
    pub(crate) fn send_reserved(
        &mut self,
        now: Nanos,
        grant: &Grant,
        hears: Hears,
        effects: &mut Effects,
    ) -> Option<SentId> {
        let id = self.send(now, grant, hears);
        effects.news.extend(self.warn(now, &grant.charge));
        self.came_back(now, grant, effects);
        id
    }

    /// Gives everything back: nothing was sent.
    pub(crate) fn unsend(&mut self, now: Nanos, grant: &Grant, effects: &mut Effects) {
        if self.leased != 0 {
            self.return_leases(now, &grant.charge, grant.until());
        }
        for (budget, n) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                let taking = grant.takings.numbers[budget];
                self.accounts[grant.at.of(budget)].unreserve(now, n, taking);
            }
        }
        self.came_back(now, grant, effects);
    }

    pub(crate) fn answered(
        &mut self,
        now: Nanos,
        id: &SentId,
        said: &Observations,
        settle: &Settle,
        effects: &mut Effects,
    ) {
        self.end(id, |core, sent| {
            if said.is_empty() && *settle == Settle::Keep {
                core.paid_in_full(now, sent);
            } else {
                core.take_account(now, sent, said, settle, effects);
            }
            core.came_back(now, &sent.grant, effects);
        });
    }

    /// As `answered`, of an answer that says nothing and cost what was paid, when
    /// nobody waits for what comes back; returns whether more leases are wanted.
    #[inline]
    pub(crate) fn answered_as_paid(&mut self, now: Nanos, id: &SentId) -> Option<bool> {
        if !self.queue.is_empty() {
            return None;
        }
        // As `paid_in_full`, but the record can be read where it lies: shared accounts
        // are never replaced, and there is no limit to learn.
        if self.keyed != 0 || self.learning != 0 {
            self.end(id, |core, sent| core.paid_in_full(now, sent));
        } else {
            let sent = self.sendings.close(id);
            for (budget, n) in sent.grant.charge.parts() {
                let account = &mut self.accounts[budget];
                if !account.paid(now, n, sent.sent_at, sent.tracked) {
                    account.answered(now, &sent.slot(budget), n, false);
                }
            }
        }
        Some(self.leases_wanted())
    }

    /// Something was said, or it cost something else.
    fn take_account(
        &mut self,
        now: Nanos,
        sent: &Sent,
        said: &Observations,
        settle: &Settle,
        effects: &mut Effects,
    ) {
        let grant = &sent.grant;
        let mut observed = 0;
        if said.is_empty() && !matches!(settle, Settle::Refund) {
            self.unlearn_limits(now, grant);
        }
        for observation in said.iter() {
            observed |= self.take_in(now, Some(sent), None, observation, effects);
        }
        for (budget, n) in grant.charge.parts() {
            let actual = settle.actual(said, budget, n);
            let shown = matches!(settle, Settle::Actual(_) | Settle::Exactly(_))
                || said.cost(budget).is_some();
            if let (true, Some(learner)) = (shown, self.learner(grant)) {
                learner.see(budget, n, actual);
            }
            if self.still_is(grant, budget) {
                let (slot, observed) = (sent.slot(budget), observed & 1 << budget != 0);
                self.accounts[grant.at.of(budget)].answered(now, &slot, actual, observed);
            }
        }
        if let Some(usage) = self.usage.get_mut(grant.charge.endpoint().0 as usize) {
            usage.settle(&grant.charge, |budget, n| settle.actual(said, budget, n));
        }
    }

    /// Nothing was said, and it cost what was paid.
    #[inline]
    fn paid_in_full(&mut self, now: Nanos, sent: &Sent) {
        let grant = &sent.grant;
        if grant.charge.mask() & self.learning != 0 {
            self.unlearn_limits(now, grant);
        }
        for (budget, n) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                let slot = sent.slot(budget);
                self.accounts[grant.at.of(budget)].answered(now, &slot, n, false);
            }
        }
    }

    pub(super) fn learner(&mut self, grant: &Grant) -> Option<&mut crate::costs::Learner> {
        self.learners.get_mut(grant.charge.endpoint().0 as usize)
    }

    /// Sent, and no answer came: the charge stays.
    pub(crate) fn lost(&mut self, now: Nanos, id: &SentId, effects: &mut Effects) {
        self.end(id, |core, sent| {
            let grant = &sent.grant;
            for (budget, _) in grant.charge.parts() {
                if core.still_is(grant, budget) {
                    core.accounts[grant.at.of(budget)].lost(now, &sent.slot(budget));
                }
            }
            core.came_back(now, grant, effects);
        });
    }

    /// Nobody asks for it any more, and no budget is to hear of its end.
    pub(crate) fn forget(&mut self, id: &SentId) {
        self.end(id, |_, _| ());
    }

    /// An account was changed by hand.
    pub(crate) fn changed(&mut self, now: Nanos, account: usize, effects: &mut Effects) {
        effects.leases |= self.leases_wanted();
        self.came_in(account as u32);
        self.settle_queue(now, effects);
    }

    /// Something of a grant's budgets may be free again, or is known better.
    fn came_back(&mut self, now: Nanos, grant: &Grant, effects: &mut Effects) {
        effects.leases |= self.leases_wanted();
        if self.queue.is_empty() {
            return;
        }
        for (budget, _) in grant.charge.parts() {
            self.came_in(grant.at.0[budget]);
        }
        self.settle_queue(now, effects);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::{Budget, Limiter};

    proptest! {
        /// The same as by the share of the limit, worked out in full.
        #[test]
        fn a_warning_is_given_once_for_each_share_that_is_passed(
            limit in 1..5_000_u64,
            shares in prop::collection::btree_set(0..100_u32, 1..4),
            spent in prop::collection::vec(0..6_000_u64, 1..40),
        ) {
            let mut limits = Limiter::builder();
            let shares: Vec<f64> = shares.into_iter().map(|share| f64::from(share) / 100.0).collect();
            let hour = Budget::fixed(limit, Duration::from_secs(3_600)).warn_at(&shares);
            let hour = limits.budget("hour", hour);
            let limiter = limits.build().unwrap();
            let charge = Charge::new().with(hour, 1);
            let mut warned = 0;
            for used in spent {
                limiter.set_used(hour, used);
                let warning = limiter.with(Instant::now(), |core, now, _| core.warn(now, &charge));
                let share = u128::from(used) * 1_000_000 / u128::from(limit);
                let count = |share: u128| {
                    let is_passed = |at: &&f64| share >= u128::from((**at * 1e6) as u32);
                    shares.iter().filter(is_passed).count()
                };
                let before = count(share + 50_000).min(warned);
                warned = before.max(count(share));
                prop_assert_eq!(warning.is_some(), warned > before);
            }
        }
    }
}
