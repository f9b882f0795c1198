//! Pure: from the sending of a request to its answer.

use super::{Core, Effects, Grant, News};
use crate::{Charge, Observations, Settle, accounts::At, moment::Nanos};

impl Core {
    #[inline]
    pub(crate) fn send(&mut self, now: Nanos, grant: &mut Grant, tracked: bool) {
        self.seq += 1;
        let tracked = tracked || self.heard;
        if self.leased != 0 {
            self.send_leases(now, &grant.charge, grant.until(), tracked);
        }
        (grant.seq, grant.sent_at, grant.tracked) = (self.seq, now, tracked);
        for (budget, n) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                let account = &mut self.accounts[grant.at.of(budget)];
                grant.marks[budget] = account.sent(now, n, self.seq, tracked);
            }
        }
        self.count(now, &grant.charge);
    }

    /// `reserve` and `send` in one, for a grant that is still empty.
    #[inline]
    pub(super) fn send_at_once(
        &mut self,
        now: Nanos,
        charge: &Charge,
        grant: &mut Grant,
        tracked: bool,
    ) {
        self.seq += 1;
        let tracked = tracked || self.heard;
        if self.leased != 0 {
            grant.takings.until = self.take_leases(charge);
            self.send_leases(now, charge, grant.until(), tracked);
        }
        (grant.seq, grant.sent_at, grant.tracked) = (self.seq, now, tracked);
        for (budget, n) in charge.parts() {
            let account = &mut self.accounts[grant.at.of(budget)];
            grant.takings.numbers[budget] = account.reserve(now, n);
            grant.marks[budget] = account.sent(now, n, self.seq, tracked);
        }
        self.passed(now, charge);
    }

    /// As `send_at_once`, when nobody is to hear of the end.
    #[inline]
    pub(super) fn spend(&mut self, now: Nanos, charge: &Charge, at: At) {
        self.seq += 1;
        for (budget, n) in charge.parts() {
            self.accounts[at.of(budget)].spend(now, n, self.seq);
        }
        self.passed(now, charge);
    }

    /// What was found to be there has been spent.
    #[inline]
    fn passed(&mut self, now: Nanos, charge: &Charge) {
        if charge.mask() & self.paced != 0 {
            self.pace(now, charge);
        }
        self.gate.passed(now);
        self.count(now, charge);
    }

    #[inline]
    fn count(&mut self, now: Nanos, charge: &Charge) {
        if let Some(usage) = self.usage.get_mut(charge.endpoint().0 as usize) {
            usage.add(charge);
        }
        for (budget, n) in charge.parts_of(self.watched) {
            if let Some(trend) = &mut self.specs[budget].trend {
                trend.spend(now, n);
            }
        }
    }

    /// Whether a share of a budget has been passed at which somebody is warned.
    #[inline]
    pub(crate) fn warn(&mut self, now: Nanos, charge: &Charge) -> Option<News> {
        for (budget, _) in charge.parts_of(self.warning) {
            let spec = &mut self.specs[budget];
            let account = &mut self.accounts[budget];
            let (used, limit) = (account.used(now), account.limit());
            let spent = used.saturating_mul(1_000_000);
            // Of the shares, in parts of a million, how many have been reached.
            let reached = |less: u32| {
                let is_reached =
                    |at: &u32| spent >= u64::from(at.saturating_sub(less)) * limit.max(1);
                spec.warn_at.iter().take_while(|at| is_reached(at)).count()
            };
            let passed = reached(0);
            if passed == spec.warned {
                continue;
            }
            // A new period, or a correction; a flutter around the mark is none.
            let back = reached(50_000);
            let before = spec.warned.min(back);
            spec.warned = before.max(passed);
            if passed > before {
                return Some(News::Warning { budget: budget as u8, used, limit });
            }
        }
        None
    }

    /// Sends what was admitted before; a slot that was held may now expire.
    pub(crate) fn send_reserved(
        &mut self,
        now: Nanos,
        grant: &mut Grant,
        tracked: bool,
        effects: &mut Effects,
    ) {
        self.send(now, grant, tracked);
        effects.news.extend(self.warn(now, &grant.charge));
        self.came_back(now, grant, effects);
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
        grant: &Grant,
        said: &Observations,
        settle: &Settle,
        effects: &mut Effects,
    ) {
        if said.is_empty() && *settle == Settle::Keep {
            self.answered_as_paid(now, grant);
            self.came_back(now, grant, effects);
            return;
        }
        let mut observed = 0;
        if said.is_empty() && !matches!(settle, Settle::Refund) {
            self.unlearn_limits(now, grant);
        }
        for observation in said.iter() {
            observed |= self.take_in(now, Some(grant), None, observation, effects);
        }
        for (budget, n) in grant.charge.parts() {
            let actual = settle.actual(said, budget, n);
            let shown = matches!(settle, Settle::Actual(_) | Settle::Exactly(_))
                || said.cost(budget).is_some();
            if let (true, Some(learner)) = (shown, self.learner(grant)) {
                learner.see(budget, n, actual);
            }
            if let (Some(trend), true) = (&mut self.specs[budget].trend, actual != n) {
                trend.settle(now, n, actual);
            }
            if self.still_is(grant, budget) {
                let (slot, observed) = (grant.slot(budget), observed & 1 << budget != 0);
                self.accounts[grant.at.of(budget)].answered(now, &slot, actual, observed);
            }
        }
        if let Some(usage) = self.usage.get_mut(grant.charge.endpoint().0 as usize) {
            usage.settle(&grant.charge, |budget, n| settle.actual(said, budget, n));
        }
        self.came_back(now, grant, effects);
    }

    /// Nothing was said, and it cost what was paid.
    #[inline]
    fn answered_as_paid(&mut self, now: Nanos, grant: &Grant) {
        if grant.charge.mask() & self.learning != 0 {
            self.unlearn_limits(now, grant);
        }
        for (budget, n) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                let slot = grant.slot(budget);
                self.accounts[grant.at.of(budget)].answered(now, &slot, n, false);
            }
        }
    }

    pub(super) fn learner(&mut self, grant: &Grant) -> Option<&mut crate::costs::Learner> {
        self.learners.get_mut(grant.charge.endpoint().0 as usize)
    }

    /// Sent, and no answer came: the charge stays.
    pub(crate) fn lost(&mut self, now: Nanos, grant: &Grant, effects: &mut Effects) {
        for (budget, _) in grant.charge.parts() {
            if self.still_is(grant, budget) {
                self.accounts[grant.at.of(budget)].lost(now, &grant.slot(budget));
            }
        }
        self.came_back(now, grant, effects);
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
