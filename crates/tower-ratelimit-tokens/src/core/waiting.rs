//! Pure: those who wait, and why.

use std::task::Waker;

use super::{
    Claim, Core, Effects, Polled, Takings, Wait,
    admit::{Before, Payer},
};
use crate::{
    Charge, RefusedKind, WhenFull,
    budget::{Fit, Sight, State},
    charge::MAX_BUDGETS,
    error::Refusal,
    moment::Nanos,
    queue::{Found, GATE, Key, Order, Place, StopId, Want},
};

/// Look again after this long where a budget contradicts itself.
const MILLISECOND: Nanos = 1_000_000;

impl Core {
    /// Something has come into an account: whoever is first there is looked at when
    /// the queue is settled.
    pub(super) fn came_in(&mut self, account: u32) {
        self.queue.call(StopId(account));
    }

    /// Looks at all lines that are to be looked at, the first in order first, so
    /// that what comes in at several stops at once goes to whom it belongs. So are
    /// those who left room for the first of all, as soon as that has gone or moved.
    fn work_off(&mut self, now: Nanos, effects: &mut Effects) {
        loop {
            self.queue.call_yielded();
            let Some((line, key)) = self.queue.next_up() else { return };
            self.examine(now, line, key, effects);
        }
    }

    /// Lets the head of a line go, or puts the line where that has to wait.
    fn examine(&mut self, now: Nanos, line: u32, key: Key, effects: &mut Effects) {
        let want = *self.queue.want(key);
        let place = match self.wait(now, &want, [0; MAX_BUDGETS], Sight::Likely) {
            Some(wait) => {
                let soonest =
                    self.wait(now, &want, [0; MAX_BUDGETS], Sight::Soonest).unwrap_or(wait);
                if let Some(refusal) = self.refusal(now, soonest, want.deadline) {
                    effects.wakes.push(self.queue.refuse(key, refusal));
                    return;
                }
                self.place(now, line, &want, wait)
            }
            None => match self.blocked_by_others(now, &want) {
                Some(Before::At(stop)) => Self::behind(&want, stop, None),
                Some(Before::First(stop, until)) => {
                    self.queue.yield_at(stop);
                    Self::behind(&want, stop, until)
                }
                None if self.has_room(now, &want) => {
                    let mut takings = Takings::NONE;
                    self.reserve(now, &want.charge, want.at, &mut takings);
                    effects.wakes.push(self.queue.grant(now, key, takings));
                    return;
                }
                // The two answers of a budget agree or this is a bug; look again
                // rather than wait for ever or spend too much.
                None => {
                    let due = Some(now.saturating_add(MILLISECOND));
                    let (stop, order) = (StopId::own(line), want.order);
                    Place { stop, budget: None, exempt: true, order, due }
                }
            },
        };
        if self.queue.move_to(line, place) && self.queue.first() == Some(key) {
            self.queue.first_moved();
        }
    }

    fn has_room(&mut self, now: Nanos, want: &Want) -> bool {
        want.charge.parts().all(|(budget, n)| {
            let account = &mut self.accounts[want.at.of(budget)];
            let kept = self.specs[budget].kept(want.priority, account.limit());
            account.room(now, n, kept)
        })
    }

    /// Where a call stands that its own budgets, the gate or its latency hold up.
    fn place(&mut self, now: Nanos, line: u32, want: &Want, wait: Wait) -> Place {
        let due = match wait.fit {
            Fit::At(at) | Fit::Exhausted(at) | Fit::Leased(at) => Some(at.max(now + 1)),
            Fit::Now | Fit::Event | Fit::Behind | Fit::Never => None,
        };
        let order = want.order;
        let Some(budget) = wait.budget else {
            let opens = self.gate.opens(now);
            // It may be held back for longer, but not here, where others stand behind it.
            let (stop, due) =
                if opens > now { (GATE, Some(opens)) } else { (StopId::own(line), due) };
            return Place { stop, budget: None, exempt: true, order, due };
        };
        let ends = self.accounts[want.at.of(usize::from(budget))].ends();
        if let (Fit::Exhausted(at) | Fit::At(at), Some(ends)) = (wait.fit, ends) {
            // Not if it is only being spread over its period.
            self.specs[usize::from(budget)].ran_dry |= at >= ends;
        }
        let exempt = want.class & 1 << budget != 0;
        let stop = StopId(want.at.0[usize::from(budget)]);
        Place { stop, budget: Some(budget), exempt, order, due }
    }

    /// Where a call stands that has to let others go first, until `due` at most.
    fn behind(want: &Want, stop: StopId, due: Option<Nanos>) -> Place {
        let of = |budget: &u8| {
            want.charge.mask() & 1 << budget != 0 && want.at.0[usize::from(*budget)] == stop.0
        };
        let budget = (0..MAX_BUDGETS as u8).find(of);
        let exempt = budget.is_none_or(|budget| want.class & 1 << budget != 0);
        Place { stop, budget, exempt, order: want.order, due }
    }

    /// Why this wait cannot end by `deadline`; `None` if it can.
    fn refusal(&self, now: Nanos, wait: Wait, deadline: Nanos) -> Option<Refusal> {
        let (kind, at) = match wait.fit {
            Fit::Never => (RefusedKind::NeverFits, None),
            Fit::Exhausted(at) if at > deadline => (RefusedKind::BudgetExhausted, Some(at)),
            Fit::At(at) if at > deadline => {
                let closed = self.gate.closed(now).is_some() && wait.budget.is_none();
                let kind =
                    if closed { RefusedKind::GateClosed } else { RefusedKind::DeadlineTooNear };
                (kind, Some(at))
            }
            Fit::Leased(_) if now >= deadline => (RefusedKind::NoLease, None),
            Fit::Event if now >= deadline => (RefusedKind::DeadlineTooNear, None),
            _ => return None,
        };
        Some(Refusal::new(kind, wait.budget, at))
    }

    /// Who pays for a call.
    #[inline]
    fn payer(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Result<Payer, Refusal> {
        if self.shed.refuses(claim.priority) {
            return Err(self.shed.refusal());
        }
        let known = charge.mask() & !self.valid == 0;
        let latency =
            if known && charge.mask() & self.paced != 0 { self.latency(now, charge) } else { 0 };
        let at = self.resolve(now, charge).map_err(|_| {
            let keyed = |budget: &u8| charge.mask() & self.keyed & 1 << budget != 0;
            let budget = (0..MAX_BUDGETS as u8).find(keyed);
            Refusal::new(RefusedKind::TooManyKeys, budget, None)
        })?;
        let arrived = claim.arrived.unwrap_or(now).min(now);
        let not_before = if latency == 0 { 0 } else { arrived.saturating_add(latency) };
        Ok(Payer { at, not_before })
    }

    fn want(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        deadline: Nanos,
    ) -> Result<Want, Refusal> {
        let Payer { at, not_before } = self.payer(now, charge, claim)?;
        let arrived = claim.arrived.unwrap_or(now).min(now);
        self.arrivals += 1;
        let (priority, per_level) = (claim.priority, self.manners.per_level);
        let order = Order::new(arrived, priority, per_level, self.arrivals);
        let class = self.class(charge, priority);
        Ok(Want { charge: *charge, at, order, priority, class, deadline, not_before })
    }

    /// Why a call that cannot wait at all is refused.
    pub(crate) fn refuse_now(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Refusal {
        self.refusals.local += 1;
        let wait = if self.queue.is_empty() {
            // Nobody stands before it: no need to say what it wants.
            let priority = claim.priority;
            self.payer(now, charge, claim).map(|payer| {
                self.wait_of(now, charge, payer, priority, [0; MAX_BUDGETS], Sight::Likely)
            })
        } else {
            self.want(now, charge, claim, now).map(|want| {
                let ahead = self.queue.ahead(&want);
                self.wait(now, &want, ahead, Sight::Likely)
            })
        };
        match wait {
            Ok(wait) => self.refusal_at_once(now, wait),
            Err(refusal) => refusal,
        }
    }

    /// What to say to a call that would have to wait so, and must not.
    pub(super) fn refusal_at_once(&self, now: Nanos, wait: Option<Wait>) -> Refusal {
        let refusal = wait.and_then(|wait| self.refusal(now, wait, now));
        let budget = wait.and_then(|wait| wait.budget);
        let otherwise = Refusal::new(RefusedKind::WouldWait, budget, None);
        let refusal = refusal.unwrap_or(otherwise);
        match refusal.kind {
            // It has no deadline; it just must not wait.
            RefusedKind::DeadlineTooNear => Refusal { kind: RefusedKind::WouldWait, ..refusal },
            _ => refusal,
        }
    }

    /// When a call could go if it came now. Spends nothing.
    pub(crate) fn outlook(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
    ) -> Result<Option<Wait>, Refusal> {
        let want = self.want(now, charge, claim, Nanos::MAX)?;
        let ahead = self.queue.ahead(&want);
        let wait = self.wait(now, &want, ahead, Sight::Likely);
        if wait.is_some() || self.queue.is_empty() {
            return Ok(wait);
        }
        Ok(self.blocked_by_others(now, &want).map(|_| Wait { budget: None, fit: Fit::Behind }))
    }

    /// Puts a call into the queue, or refuses it at once if that wait cannot end
    /// in time. It may have been granted already when this returns.
    pub(crate) fn enqueue(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        deadline: Option<Nanos>,
        effects: &mut Effects,
    ) -> Result<Key, Refusal> {
        let latest = now.saturating_add(self.manners.max_wait);
        let deadline = deadline.map_or(latest, |deadline| deadline.min(latest));
        let entered = self.enter(now, charge, claim, deadline, effects);
        if entered.is_err() {
            self.refusals.local += 1;
        }
        entered
    }

    fn enter(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        deadline: Nanos,
        effects: &mut Effects,
    ) -> Result<Key, Refusal> {
        let want = self.want(now, charge, claim, deadline)?;
        let ahead = self.queue.ahead(&want);
        let wait = self.wait(now, &want, ahead, Sight::Soonest);
        if let Some(refusal) = wait.and_then(|wait| self.refusal(now, wait, deadline)) {
            return Err(refusal);
        }
        let full = self.queue.len() >= self.manners.max_waiting;
        if full || self.queue.is_crowded(&want, self.manners.max_per_key) {
            let last = self
                .queue
                .last()
                .filter(|_| full && self.manners.when_full == WhenFull::EvictLowest);
            let last = last.filter(|last| {
                let last = self.queue.want(*last);
                last.priority < want.priority && last.order > want.order
            });
            let soonest = self.wait(now, &want, ahead, Sight::Likely).map(|wait| wait.fit);
            let retry_at = match soonest {
                Some(Fit::At(at) | Fit::Exhausted(at)) => Some(at),
                _ => None,
            };
            let refusal = Refusal::new(RefusedKind::QueueFull, None, retry_at);
            let Some(last) = last else { return Err(refusal) };
            self.refuse(last, refusal, effects);
        }
        let key = self.queue.push(want);
        effects.leases |= self.leases_wanted();
        Ok(key)
    }

    /// What is due at `now`: stops whose first can go, or else deadlines that have
    /// come.
    fn tick(&mut self, now: Nanos, effects: &mut Effects) {
        let mut any = false;
        while let Some((due, stop)) = self.queue.due(now) {
            any = true;
            self.queue.heard(stop);
            self.follow_day(now, stop.0 as usize);
            if let Some(account) = self.accounts.get(stop.0 as usize) {
                let spec = &mut self.specs[usize::from(account.budget)];
                match &mut account.state {
                    State::Bucket(bucket) => bucket.catch_up(due, now),
                    // Those who waited for a period to begin anew do not go all at once.
                    // The gate is everybody's, so it is not for one key among many.
                    State::Fixed(_)
                        if spec.scope.is_none() && std::mem::take(&mut spec.ran_dry) =>
                    {
                        self.gate.pace(now);
                    }
                    _ => {}
                }
            }
            self.queue.call(stop);
        }
        while let Some(key) = self.queue.overdue(now).filter(|_| !any) {
            let want = *self.queue.want(key);
            let wait = self.wait(now, &want, [0; MAX_BUDGETS], Sight::Likely);
            let budget = wait.and_then(|wait| wait.budget);
            let otherwise = Refusal::new(RefusedKind::DeadlineTooNear, budget, None);
            let refusal = wait.and_then(|wait| self.refusal(now, wait, want.deadline));
            self.refuse(key, refusal.unwrap_or(otherwise), effects);
        }
    }

    /// Refuses one that waits.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal, effects: &mut Effects) {
        effects.wakes.push(self.queue.refuse(key, refusal));
    }

    /// After anything that may have let somebody go: that is done, and somebody
    /// keeps the time.
    pub(crate) fn settle_queue(&mut self, now: Nanos, effects: &mut Effects) {
        self.settle(now, effects);
        effects.wakes.push(self.queue.wake_leader(now));
    }

    /// Whoever is to be looked at is, and what is due is done.
    fn settle(&mut self, now: Nanos, effects: &mut Effects) {
        self.work_off(now, effects);
        while self.queue.next_time() <= now {
            self.tick(now, effects);
            self.work_off(now, effects);
        }
    }

    /// Polls a waiter. After `Granted` and `Refused` its key is dead.
    pub(crate) fn poll(
        &mut self,
        now: Nanos,
        key: Key,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Polled {
        let known = self.queue.unpark(key);
        if matches!(self.queue.find(key), Found::Waiting) {
            self.settle(now, effects);
        }
        let polled = match self.queue.find(key) {
            Found::Waiting => {
                effects.idle = self.queue.park(key, known, waker);
                if let Some(until) = self.queue.lead(now, key) {
                    return Polled::Sleep(until);
                }
                Polled::Parked
            }
            Found::Granted(grant) => {
                self.queue.remove(key);
                effects.idle = known;
                Polled::Granted(grant)
            }
            Found::Refused(refusal) => {
                self.queue.remove(key);
                effects.idle = known;
                self.refusals.local += 1;
                Polled::Refused(refusal)
            }
        };
        effects.wakes.push(self.queue.wake_leader(now));
        polled
    }

    /// A waiter goes away. What it was granted is given back.
    pub(crate) fn cancel(&mut self, now: Nanos, key: Key, effects: &mut Effects) {
        let found = self.queue.find(key);
        effects.idle = self.queue.remove(key);
        if let Found::Granted(grant) = found {
            self.unsend(now, &grant, effects);
        }
        self.settle_queue(now, effects);
    }
}
