//! Pure: may a call go now, and if not, why not.

use super::{Core, Grant, Takings, Wait};
use crate::{
    Charge, Priority, Terms,
    accounts::{Accounts, At, Full},
    budget::{Fit, State},
    charge::MAX_BUDGETS,
    moment::{Epoch, Nanos},
    queue::{GATE, Order, StopId, Want},
    scope,
};

/// A call's claim to its place: how urgent it is, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) priority: Priority,
    /// `None`: it arrives now.
    pub(crate) arrived: Option<Nanos>,
}

impl Claim {
    pub(crate) fn of(terms: &Terms, epoch: Epoch) -> Self {
        Self { priority: terms.priority, arrived: terms.arrived.map(|at| epoch.nanos(at)) }
    }
}

impl Core {
    /// The accounts that a charge is paid from.
    #[inline]
    pub(super) fn resolve(&mut self, now: Nanos, charge: &Charge) -> Result<At, Full> {
        if charge.mask() & self.keyed == 0 { Ok(At::default()) } else { self.look_up(now, charge) }
    }

    fn look_up(&mut self, now: Nanos, charge: &Charge) -> Result<At, Full> {
        let mut at = At::default();
        let mut left = charge.mask() & self.keyed & self.valid;
        while left != 0 {
            let budget = left.trailing_zeros() as usize;
            left &= left - 1;
            let key = self.key(charge, budget);
            let (spec, queue) = (&self.specs[budget], &self.queue);
            at.0[budget] = self.accounts.find_or_add(
                now,
                budget as u8,
                key,
                |account| queue.is_stop(account),
                || Accounts::make(spec, budget as u8, key),
            )?;
            self.follow_day(now, at.of(budget));
        }
        Ok(at)
    }

    /// A key's day goes by the day of all.
    pub(super) fn follow_day(&mut self, now: Nanos, at: usize) {
        let Some(account) = self.accounts.get(at) else { return };
        let budget = usize::from(account.budget);
        if at != budget && account.day().is_some() {
            let period = self.accounts[budget].day().map(|day| day.period());
            if let (State::Day(day), Some(period)) = (&mut self.accounts[at].state, period) {
                day.follow(now, period);
            }
        }
    }

    /// The key of a charge's payer, within those of the scopes around.
    pub(crate) fn key(&self, charge: &Charge, budget: usize) -> u64 {
        let Some(mut scope) = self.specs[budget].scope else { return 0 };
        let mut key = charge.key_of(scope);
        while let Some(outer) = self.outer[usize::from(scope)] {
            key = scope::within(charge.key_of(outer), key);
            scope = outer;
        }
        key
    }

    /// Whether the accounts are still those of the charge's payer.
    #[inline]
    pub(super) fn still_is(&self, charge: &Charge, budget: usize, at: At) -> bool {
        self.keyed & 1 << budget == 0
            || self.accounts.is(at.of(budget), budget as u8, self.key(charge, budget))
    }

    /// The budgets whose reserve a call may touch, as bits.
    pub(super) fn class(&self, charge: &Charge, priority: Priority) -> u8 {
        let mut class = 0;
        for (budget, _) in charge.parts() {
            let reserve = self.specs.get(budget).and_then(|spec| spec.reserve);
            if reserve.is_some_and(|reserve| priority >= reserve.from) {
                class |= 1 << budget;
            }
        }
        class
    }

    /// Admits and sends in one step, if that is possible now.
    #[inline]
    pub(crate) fn try_send(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        tracked: bool,
    ) -> Option<Grant> {
        let (at, takings) = self.admit(now, charge, claim)?;
        let mut grant = Grant::reserved(*charge, at, takings);
        self.send(now, &mut grant, tracked);
        Some(grant)
    }

    /// Admits without sending, if that is possible now.
    pub(crate) fn try_admit(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Option<Grant> {
        let (at, takings) = self.admit(now, charge, claim)?;
        Some(Grant::reserved(*charge, at, takings))
    }

    /// All budgets, the gate and those who wait agree, or nothing is spent.
    #[inline]
    fn admit(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Option<(At, Takings)> {
        let shut = self.gate.opens(now) > now || self.shed.refuses(claim.priority);
        if shut || charge.mask() & !self.valid != 0 {
            return None;
        }
        let at = self.resolve(now, charge).ok()?;
        for (budget, n) in charge.parts() {
            let spec = &self.specs[budget];
            let account = &mut self.accounts[at.of(budget)];
            let kept = match spec.reserve {
                Some(_) => spec.kept(claim.priority, account.limit()),
                None => 0,
            };
            if !account.room(now, n, kept) {
                return None;
            }
        }
        if charge.mask() & self.paced != 0 && !self.paced_through(now, charge, claim.arrived) {
            return None;
        }
        if !self.queue.is_empty() && !self.passes(now, charge, at, claim) {
            return None;
        }
        Some((at, self.reserve(now, charge, at)))
    }

    fn paced_through(&mut self, now: Nanos, charge: &Charge, arrived: Option<Nanos>) -> bool {
        let held = self.latency(now, charge);
        (held == 0 || arrived.is_some_and(|arrived| arrived.saturating_add(held) <= now))
            && self.due(charge) <= now
    }

    /// Pays what was found to be there.
    #[inline]
    pub(super) fn reserve(&mut self, now: Nanos, charge: &Charge, at: At) -> Takings {
        let mut takings = [0; MAX_BUDGETS];
        for (budget, n) in charge.parts() {
            takings[budget] = self.accounts[at.of(budget)].reserve(now, n);
        }
        if charge.mask() & self.paced != 0 {
            self.pace(now, charge);
        }
        self.gate.passed(now);
        takings
    }

    /// Whether a newcomer for whom there is room takes nothing from those who
    /// stand before it.
    fn passes(&mut self, now: Nanos, charge: &Charge, at: At, claim: Claim) -> bool {
        let arrived = claim.arrived.unwrap_or(now).min(now);
        let order = Order::new(arrived, claim.priority, self.manners.per_level, u64::MAX);
        let class = self.class(charge, claim.priority);
        let want = Want {
            charge: *charge,
            at,
            order,
            priority: claim.priority,
            class,
            deadline: Nanos::MAX,
            not_before: 0,
        };
        self.blocked_by_others(now, &want).is_none()
    }

    /// The stop at which somebody stands before this call, whom it would take
    /// something from; with whether that is the first of all.
    pub(super) fn blocked_by_others(&mut self, now: Nanos, want: &Want) -> Option<(StopId, bool)> {
        if self.queue.is_behind(GATE, true, want.order) && self.gate.opens(now) > now {
            return Some((GATE, false));
        }
        for (budget, _) in want.charge.parts() {
            let stop = StopId(want.at.0[budget]);
            if self.queue.is_behind(stop, want.class & 1 << budget != 0, want.order) {
                return Some((stop, false));
            }
        }
        self.delays_the_first(now, want).map(|stop| (stop, true))
    }

    /// Whether the first of all would have to wait longer if this call went now.
    /// All its budgets are looked at, not only the one that binds it.
    fn delays_the_first(&mut self, now: Nanos, want: &Want) -> Option<StopId> {
        let first = *self.queue.want(self.queue.first()?);
        if first.order >= want.order {
            return None;
        }
        let common = first.charge.mask() & want.charge.mask();
        let shared = |budget: usize| {
            common & 1 << budget != 0 && first.at.0[budget] == want.at.0[budget]
                // Who may touch the reserve goes before who may not.
                && (first.class | !want.class) & 1 << budget != 0
        };
        if !(0..MAX_BUDGETS).any(shared) {
            return None;
        }
        // When it could go at best.
        let soonest = match self.wait(now, &first, [0; MAX_BUDGETS], true) {
            None => now,
            Some(Wait { fit: Fit::At(at) | Fit::Exhausted(at), .. }) => at,
            Some(_) => now,
        };
        for budget in (0..MAX_BUDGETS).filter(|&budget| shared(budget)) {
            let kept =
                self.specs[budget].kept(first.priority, self.accounts[first.at.of(budget)].limit());
            let n = first.charge.amount(budget);
            let ahead = want.charge.amount(budget);
            let fit = match self.accounts[first.at.of(budget)].when(now, n, kept, ahead, false) {
                Fit::Now => now,
                Fit::At(at) => at,
                _ => Nanos::MAX,
            };
            if fit > soonest {
                return Some(StopId(first.at.0[budget]));
            }
        }
        None
    }

    /// The budget that binds longest, when `ahead` goes first; `None` if the
    /// call can go now. With `floor`, no later than it could be at best.
    pub(super) fn wait(
        &mut self,
        now: Nanos,
        want: &Want,
        ahead: [u64; MAX_BUDGETS],
        floor: bool,
    ) -> Option<Wait> {
        if want.charge.mask() & !self.valid != 0 {
            return Some(Wait { budget: None, fit: Fit::Never });
        }
        let opens = self.gate.opens(now).max(want.not_before);
        let mut worst = (opens > now).then_some(Wait { budget: None, fit: Fit::At(opens) });
        for (budget, n) in want.charge.parts() {
            let spec = &self.specs[budget];
            let account = &mut self.accounts[want.at.of(budget)];
            let kept = spec.kept(want.priority, account.limit());
            let mut fit = account.when(now, n, kept, ahead[budget], floor);
            if let (Some(pacer), Fit::Now | Fit::At(_)) = (&spec.pacer, fit) {
                let at = if let Fit::At(at) = fit { at } else { now };
                if pacer.due() > at {
                    fit = Fit::At(pacer.due());
                }
            }
            if rank(fit) > worst.map_or((0, 0), |wait| rank(wait.fit)) {
                worst = Some(Wait { budget: Some(budget as u8), fit });
            }
        }
        worst
    }
}

/// Orders waits by how long they bind.
fn rank(fit: Fit) -> (u8, Nanos) {
    match fit {
        Fit::Now => (0, 0),
        Fit::At(at) => (1, at),
        Fit::Behind | Fit::Event => (2, 0),
        Fit::Leased(_) => (3, 0),
        Fit::Exhausted(at) => (4, at),
        Fit::Never => (5, 0),
    }
}
