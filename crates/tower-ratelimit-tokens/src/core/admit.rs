//! Pure: may a call go now, and if not, why not.

use super::{Core, Grant, SentId, Takings, Wait};
use crate::{
    Charge, Priority, Terms,
    accounts::{Accounts, At, Full},
    budget::{Fit, Sight, State},
    charge::MAX_BUDGETS,
    moment::{Epoch, Nanos},
    queue::{GATE, Order, StopId, Want},
    scope,
};

/// Who stands before a call that could go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before {
    /// Somebody at this stop.
    At(StopId),
    /// The first of all, who would have to wait longer for what it needs there; no
    /// longer than until then, if that is known.
    First(StopId, Option<Nanos>),
}

/// The accounts that a call is paid from, and until when it is held back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payer {
    pub(super) at: At,
    pub(super) not_before: Nanos,
}

/// Who is to hear of the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Nobody, unless the server's counts have been heard.
    Nobody,
    /// A settling closure; in the meantime nobody asks for the call.
    Settler,
    /// The limiter itself: the call is tracked.
    Limiter,
}

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
                |account| at.holds(account) || queue.needs(account),
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

    /// Whether the account is still the one that a grant was paid from.
    #[inline]
    pub(super) fn still_is(&self, grant: &Grant, budget: usize) -> bool {
        self.keyed & 1 << budget == 0 || {
            let key = self.key(&grant.charge, budget);
            self.accounts.is(grant.at.of(budget), budget as u8, key, grant.reserved_at)
        }
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

    /// Admits and sends in one step, if that is possible now; `None` if not. There
    /// is no record if nobody is to hear of the end.
    #[inline]
    pub(crate) fn try_send(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        hears: Hears,
    ) -> Option<Option<SentId>> {
        let at = self.admit(now, charge, claim)?;
        Some(self.send_at_once(now, charge, at, hears))
    }

    /// Admits without sending, if that is possible now.
    pub(crate) fn try_admit(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Option<Grant> {
        let at = self.admit(now, charge, claim)?;
        let mut grant = Grant::reserved(now, *charge, at, Takings::NONE);
        self.reserve(now, charge, at, &mut grant.takings);
        Some(grant)
    }

    /// The accounts to pay from, if all budgets, the gate and those who wait agree.
    #[inline]
    fn admit(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Option<At> {
        let shut = self.gate.opens(now) > now || self.shed.refuses(claim.priority);
        if shut || charge.mask() & !self.valid != 0 {
            return None;
        }
        let at = self.resolve(now, charge).ok()?;
        for (budget, n) in charge.parts() {
            let kept = self.kept(budget, at, claim.priority);
            if !self.accounts[at.of(budget)].room(now, n, kept) {
                return None;
            }
        }
        if charge.mask() & self.paced != 0 && !self.paced_through(now, charge, claim.arrived) {
            return None;
        }
        if !self.queue.is_empty() && !self.passes(now, charge, at, claim) {
            return None;
        }
        Some(at)
    }

    /// Units of a budget that a call of this priority must leave.
    #[inline]
    pub(super) fn kept(&self, budget: usize, at: At, priority: Priority) -> u64 {
        if self.keeping & 1 << budget == 0 {
            return 0;
        }
        self.specs[budget].kept(priority, self.accounts[at.of(budget)].limit())
    }

    fn paced_through(&mut self, now: Nanos, charge: &Charge, arrived: Option<Nanos>) -> bool {
        let held = self.latency(now, charge);
        (held == 0 || arrived.is_some_and(|arrived| arrived.saturating_add(held) <= now))
            && self.due(charge) <= now
    }

    /// Pays what was found to be there.
    #[inline]
    pub(super) fn reserve(&mut self, now: Nanos, charge: &Charge, at: At, takings: &mut Takings) {
        for (budget, n) in charge.parts() {
            takings.numbers[budget] = self.accounts[at.of(budget)].reserve(now, n);
        }
        if charge.mask() & self.paced != 0 {
            self.pace(now, charge);
        }
        self.gate.passed(now);
        if self.leased != 0 {
            takings.until = self.take_leases(charge);
        }
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

    /// Somebody who stands before this call and whom it would take something from.
    pub(super) fn blocked_by_others(&mut self, now: Nanos, want: &Want) -> Option<Before> {
        // Even if the gate is open by now: whoever waits there goes next.
        if self.queue.is_behind(GATE, true, want.order) {
            return Some(Before::At(GATE));
        }
        for (budget, _) in want.charge.parts() {
            let stop = StopId(want.at.0[budget]);
            if self.queue.is_behind(stop, want.class & 1 << budget != 0, want.order) {
                return Some(Before::At(stop));
            }
        }
        self.delays_the_first(now, want)
    }

    /// Whether the first of all would have to wait longer if this call went now.
    /// All its budgets are looked at, not only the one that binds it.
    fn delays_the_first(&mut self, now: Nanos, want: &Want) -> Option<Before> {
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
        let soonest = match self.wait(now, &first, [0; MAX_BUDGETS], Sight::Soonest) {
            None => now,
            Some(Wait { fit: Fit::At(at) | Fit::Exhausted(at), .. }) => at,
            Some(_) => now,
        };
        for budget in (0..MAX_BUDGETS).filter(|&budget| shared(budget)) {
            let kept =
                self.specs[budget].kept(first.priority, self.accounts[first.at.of(budget)].limit());
            let n = first.charge.amount(budget);
            let ahead = want.charge.amount(budget);
            let fit =
                match self.accounts[first.at.of(budget)].when(now, n, kept, ahead, Sight::Latest) {
                    Fit::Now => continue,
                    Fit::At(at) | Fit::Exhausted(at) => Some(at),
                    _ => None,
                };
            if fit.is_none_or(|at| at > soonest) {
                return Some(Before::First(StopId(first.at.0[budget]), fit));
            }
        }
        None
    }

    /// The budget that binds longest, when `ahead` goes first; `None` if the
    /// call can go now.
    pub(super) fn wait(
        &mut self,
        now: Nanos,
        want: &Want,
        ahead: [u64; MAX_BUDGETS],
        sight: Sight,
    ) -> Option<Wait> {
        let payer = Payer { at: want.at, not_before: want.not_before };
        self.wait_of(now, &want.charge, payer, want.priority, ahead, sight)
    }

    /// As `wait`, for a call that does not stand in the queue.
    pub(super) fn wait_of(
        &mut self,
        now: Nanos,
        charge: &Charge,
        payer: Payer,
        priority: Priority,
        ahead: [u64; MAX_BUDGETS],
        sight: Sight,
    ) -> Option<Wait> {
        if charge.mask() & !self.valid != 0 {
            return Some(Wait { budget: None, fit: Fit::Never });
        }
        let opens = self.gate.opens(now).max(payer.not_before);
        let mut worst = (opens > now).then_some(Wait { budget: None, fit: Fit::At(opens) });
        for (budget, n) in charge.parts() {
            let kept = self.kept(budget, payer.at, priority);
            let account = &mut self.accounts[payer.at.of(budget)];
            let mut fit = account.when(now, n, kept, ahead[budget], sight);
            if let (Some(pacer), Fit::Now | Fit::At(_)) = (&self.specs[budget].pacer, fit) {
                let at = if let Fit::At(at) = fit { at } else { now };
                if pacer.due() > at {
                    fit = Fit::At(pacer.due());
                }
            }
            if rank(fit, sight) > worst.map_or((0, 0), |wait| rank(wait.fit, sight)) {
                worst = Some(Wait { budget: Some(budget as u8), fit });
            }
        }
        worst
    }
}

/// Orders waits by how long they bind. At best, an event comes at once.
pub(super) fn rank(fit: Fit, sight: Sight) -> (u8, Nanos) {
    match fit {
        Fit::Now => (0, 0),
        Fit::Event if sight == Sight::Soonest => (1, 0),
        Fit::At(at) => (1, at),
        Fit::Behind | Fit::Event => (2, 0),
        Fit::Leased(_) => (3, 0),
        Fit::Exhausted(at) => (4, at),
        Fit::Never => (5, 0),
    }
}
