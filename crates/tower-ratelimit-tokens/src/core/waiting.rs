//! Pure: those who wait, and why.

use std::task::Waker;

use super::{Claim, Core, Effects, Grant, Polled, Wait};
use crate::{
    Charge, RefusedKind, WhenFull,
    budget::{Fit, State},
    charge::MAX_BUDGETS,
    error::Refusal,
    moment::Nanos,
    queue::{Found, GATE, Key, Order, Place, StopId, Want},
};

/// Look again after this long where a budget contradicts itself.
const MILLISECOND: Nanos = 1_000_000;

impl Core {
    /// Something has come into an account: those who stand there are looked at.
    pub(super) fn came_in(&mut self, now: Nanos, account: u32, effects: &mut Effects) {
        if self.queue.is_stop(account) {
            self.serve(now, StopId(account), effects);
        }
    }

    /// Lets those at a stop go, in order, until the first of them has to wait on.
    fn serve(&mut self, now: Nanos, stop: StopId, effects: &mut Effects) {
        while let Some(line) = self.queue.first_at(stop) {
            self.queue.go(line);
            self.examine(now, line, effects);
            if self.queue.first_at(stop) == Some(line) {
                break;
            }
        }
    }

    /// Lets the heads of a line that stands nowhere go, one after the other, and
    /// puts the line where the first of them has to wait.
    fn examine(&mut self, now: Nanos, line: u32, effects: &mut Effects) {
        while let Some(key) = self.queue.head(line) {
            let want = *self.queue.want(key);
            let place = match self.wait(now, &want, [0; MAX_BUDGETS], false) {
                Some(wait) => {
                    let floor = self.wait(now, &want, [0; MAX_BUDGETS], true).unwrap_or(wait);
                    if let Some(refusal) = self.refusal(now, floor, want.deadline) {
                        effects.wakes.push(self.queue.refuse(key, refusal).0);
                        continue;
                    }
                    self.place(now, line, &want, wait)
                }
                None => match self.blocked_by_others(now, &want) {
                    Some((stop, by_the_first)) => {
                        if by_the_first {
                            self.queue.yield_at(stop);
                        }
                        Self::behind(&want, stop)
                    }
                    None if self.has_room(now, &want) => {
                        let takings = self.reserve(now, &want.charge, want.at);
                        effects.wakes.push(self.queue.grant(key, takings));
                        continue;
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
            self.queue.stand(line, place);
            return;
        }
        self.queue.close_if_empty(line);
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
            let stop = if self.gate.opens(now) > now { GATE } else { StopId::own(line) };
            return Place { stop, budget: None, exempt: true, order, due };
        };
        if matches!(wait.fit, Fit::Exhausted(_) | Fit::At(_)) {
            self.specs[usize::from(budget)].ran_dry = true;
        }
        let exempt = want.class & 1 << budget != 0;
        let stop = StopId(want.at.0[usize::from(budget)]);
        Place { stop, budget: Some(budget), exempt, order, due }
    }

    /// Where a call stands that has to let others go first.
    fn behind(want: &Want, stop: StopId) -> Place {
        let of = |budget: &u8| {
            want.charge.mask() & 1 << budget != 0 && want.at.0[usize::from(*budget)] == stop.0
        };
        let budget = (0..MAX_BUDGETS as u8).find(of);
        let exempt = budget.is_none_or(|budget| want.class & 1 << budget != 0);
        Place { stop, budget, exempt, order: want.order, due: None }
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
            Fit::Event | Fit::Leased(_) if now >= deadline => (RefusedKind::DeadlineTooNear, None),
            _ => return None,
        };
        Some(Refusal { kind, budget: wait.budget, retry_at: at })
    }

    fn want(
        &mut self,
        now: Nanos,
        charge: &Charge,
        claim: Claim,
        deadline: Nanos,
    ) -> Result<Want, Refusal> {
        if self.shed.refuses(claim.priority) {
            return Err(Refusal { kind: RefusedKind::Shed, budget: None, retry_at: None });
        }
        let known = charge.mask() & !self.valid == 0;
        let latency =
            if known && charge.mask() & self.paced != 0 { self.latency(now, charge) } else { 0 };
        let at = self.resolve(now, charge).map_err(|_| Refusal {
            kind: RefusedKind::TooManyKeys,
            budget: (0..MAX_BUDGETS as u8).find(|b| charge.mask() & self.keyed & 1 << b != 0),
            retry_at: None,
        })?;
        let arrived = claim.arrived.unwrap_or(now).min(now);
        self.arrivals += 1;
        let (priority, per_level) = (claim.priority, self.manners.per_level);
        let order = Order::new(arrived, priority, per_level, self.arrivals);
        let class = self.class(charge, priority);
        let not_before = if latency == 0 { 0 } else { arrived.saturating_add(latency) };
        Ok(Want { charge: *charge, at, order, priority, class, deadline, not_before })
    }

    /// Why a call that cannot wait at all is refused.
    pub(crate) fn refusal_now(&mut self, now: Nanos, charge: &Charge, claim: Claim) -> Refusal {
        let want = match self.want(now, charge, claim, now) {
            Ok(want) => want,
            Err(refusal) => return refusal,
        };
        let ahead = self.queue.ahead(&want);
        let wait = self.wait(now, &want, ahead, false);
        wait.and_then(|wait| self.refusal(now, wait, now)).unwrap_or(Refusal {
            kind: RefusedKind::DeadlineTooNear,
            budget: wait.and_then(|wait| wait.budget),
            retry_at: None,
        })
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
        let wait = self.wait(now, &want, ahead, false);
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
        let wait = self.wait(now, &want, ahead, true);
        if let Some(refusal) = wait.and_then(|wait| self.refusal(now, wait, deadline)) {
            return Err(refusal);
        }
        let full = self.queue.len() >= self.manners.max_waiting;
        if full || self.queue.line_len(&want) >= self.manners.max_per_line {
            let last = self
                .queue
                .last()
                .filter(|_| full && self.manners.when_full == WhenFull::EvictLowest);
            let last = last.filter(|last| {
                let last = self.queue.want(*last);
                last.priority < want.priority && last.order > want.order
            });
            let soonest = self.wait(now, &want, ahead, false).map(|wait| wait.fit);
            let retry_at = match soonest {
                Some(Fit::At(at) | Fit::Exhausted(at)) => Some(at),
                _ => None,
            };
            let refusal = Refusal { kind: RefusedKind::QueueFull, budget: None, retry_at };
            let Some(last) = last else { return Err(refusal) };
            self.refuse(now, last, refusal, effects);
        }
        let (key, line, is_head) = self.queue.push(want);
        if is_head {
            self.queue.go(line);
            self.examine(now, line, effects);
        }
        effects.leases |= self.leases_wanted();
        Ok(key)
    }

    /// What is due at `now`: stops whose first can go, deadlines that have come.
    fn tick(&mut self, now: Nanos, effects: &mut Effects) {
        while let Some((due, stop)) = self.queue.due(now) {
            self.queue.heard(stop);
            self.follow_day(now, stop.0 as usize);
            if let Some(account) = self.accounts.get(stop.0 as usize) {
                let spec = &mut self.specs[usize::from(account.budget)];
                match &mut account.state {
                    State::Bucket(bucket) => bucket.catch_up(due, now),
                    // Those who waited for a period to begin anew do not go all at once.
                    State::Fixed(_) if std::mem::take(&mut spec.ran_dry) => self.gate.pace(now),
                    _ => {}
                }
            }
            self.serve(now, stop, effects);
        }
        while let Some(key) = self.queue.overdue(now) {
            let refusal =
                Refusal { kind: RefusedKind::DeadlineTooNear, budget: None, retry_at: None };
            self.refuse(now, key, refusal, effects);
        }
    }

    /// Refuses one that waits.
    pub(super) fn refuse(&mut self, now: Nanos, key: Key, refusal: Refusal, effects: &mut Effects) {
        let (waker, line, was_head) = self.queue.refuse(key, refusal);
        effects.wakes.push(waker);
        self.after(now, line, was_head, effects);
    }

    /// One that waited has left its line.
    fn after(&mut self, now: Nanos, line: u32, was_head: bool, effects: &mut Effects) {
        if was_head {
            let stop = self.queue.go(line);
            self.examine(now, line, effects);
            if let Some(stop) = stop {
                self.serve(now, stop, effects);
            }
        }
    }

    /// After anything that may have let somebody go: those who left room for the
    /// first of all are looked at if that is gone, what is due is done, and
    /// somebody keeps the time.
    pub(super) fn settle_queue(&mut self, now: Nanos, effects: &mut Effects) {
        loop {
            if self.queue.next_time() <= now {
                self.tick(now, effects);
            }
            let yielded = self.queue.yielded();
            if yielded.is_empty() {
                break;
            }
            for stop in yielded {
                self.serve(now, stop, effects);
            }
        }
        effects.wakes.push(self.queue.wake_leader());
    }

    /// Polls a waiter. After `Granted` and `Refused` its key is dead.
    pub(crate) fn poll(
        &mut self,
        now: Nanos,
        key: Key,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Polled {
        if matches!(self.queue.find(key), Found::Waiting) {
            // Parked first: what follows may grant it.
            effects.idle = self.queue.park(key, waker);
        }
        let polled = match self.look(now, key, effects) {
            Found::Waiting => match self.queue.lead(key) {
                Some(until) => return Polled::Sleep(until),
                None => Polled::Parked,
            },
            Found::Granted(charge, at, takings) => {
                self.forget(key, effects);
                Polled::Granted(Grant::reserved(charge, at, takings))
            }
            Found::Refused(refusal) => {
                self.forget(key, effects);
                self.refusals.local += 1;
                Polled::Refused(refusal)
            }
        };
        effects.wakes.push(self.queue.wake_leader());
        polled
    }

    fn look(&mut self, now: Nanos, key: Key, effects: &mut Effects) -> Found {
        if matches!(self.queue.find(key), Found::Waiting) {
            self.settle_queue(now, effects);
        }
        self.queue.find(key)
    }

    fn forget(&mut self, key: Key, effects: &mut Effects) {
        let (waker, _) = self.queue.remove(key);
        effects.idle = effects.idle.take().or(waker);
    }

    /// A waiter goes away. What it was granted is given back.
    pub(crate) fn cancel(&mut self, now: Nanos, key: Key, effects: &mut Effects) {
        if let Found::Granted(charge, at, takings) = self.queue.find(key) {
            effects.idle = self.queue.remove(key).0;
            self.unsend(now, &Grant::reserved(charge, at, takings), effects);
        } else {
            let (waker, line) = self.queue.remove(key);
            effects.idle = waker;
            if let Some((line, was_head)) = line {
                self.after(now, line, was_head, effects);
            }
        }
        self.settle_queue(now, effects);
    }
}
