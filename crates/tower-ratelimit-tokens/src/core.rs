//! Pure: budgets, gate and queue together. Everything takes `now`.

use std::{task::Waker, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    Charge, GateReason, Observation, Observations, RefusedKind, Settle,
    budget::{Account, Fit, Slot, State},
    charge::MAX_BUDGETS,
    error::Refusal,
    gate::Gate,
    moment::{Epoch, Nanos, nanos},
    queue::{Key, Queue, Wakes},
    status::{Refusals, Usage},
};

/// What one admitted request holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) charge: Charge,
    sent_at: Nanos,
    /// Zero until it is sent.
    seq: u64,
    marks: [u64; MAX_BUDGETS],
    tracked: bool,
}

impl Grant {
    fn reserved(charge: Charge) -> Self {
        Self { charge, sent_at: 0, seq: 0, marks: [0; MAX_BUDGETS], tracked: false }
    }

    pub(crate) const fn is_sent(&self) -> bool {
        self.seq != 0
    }

    pub(crate) const fn is_tracked(&self) -> bool {
        self.tracked
    }

    fn slot(&self, budget: usize) -> Slot {
        Slot {
            n: self.charge.amount(budget),
            sent_at: self.sent_at,
            seq: self.seq,
            mark: self.marks[budget],
            tracked: self.tracked,
        }
    }
}

/// Why a charge cannot be admitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// `None`: the gate.
    pub(crate) budget: Option<u8>,
    pub(crate) fit: Fit,
}

/// What a waiter's poll comes to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for a few lines on the stack")]
pub(crate) enum Polled {
    Granted(Grant),
    Refused(Refusal),
    /// First in the queue: sleep until then, unless woken before.
    Sleep(Nanos),
    /// Wait to be woken.
    Parked,
}

/// Something that happened and is worth an event once the lock is given back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    GateClosed { for_: Duration, reason: GateReason },
    Exhausted { budget: u8, for_: Duration },
    NewDay { budget: u8 },
    Foreign { budget: u8, units: u64 },
}

/// What an operation leaves to be done outside the lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Effects {
    pub(crate) wakes: Wakes,
    pub(crate) leases: bool,
    pub(crate) news: Vec<News>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) epoch: Epoch,
    latest: Nanos,
    pub(crate) accounts: Box<[Account]>,
    valid: u8,
    leased: u8,
    pub(crate) queue: Queue,
    pub(crate) gate: Gate,
    max_waiting: usize,
    max_wait: Nanos,
    seq: u64,
    wants_wall: Nanos,
    pub(crate) usage: Vec<Usage>,
    pub(crate) refusals: Refusals,
    /// The budgets of which more leases are wanted and whose treasurers know it.
    leases_told: u8,
}

impl Core {
    pub(crate) fn new(
        epoch: Epoch,
        accounts: Box<[Account]>,
        gate: Gate,
        max_waiting: usize,
        max_wait: Nanos,
    ) -> Self {
        let mask = |test: &dyn Fn(&Account) -> bool| {
            accounts.iter().enumerate().fold(0, |m, (i, a)| m | u8::from(test(a)) << i)
        };
        let valid = mask(&|_| true);
        let leased = mask(&|account| account.low_water.is_some());
        let has_days = accounts.iter().any(|account| account.day().is_some());
        Self {
            epoch,
            latest: 0,
            valid,
            leased,
            accounts,
            queue: Queue::new(),
            gate,
            max_waiting,
            max_wait,
            seq: 0,
            wants_wall: if has_days { 0 } else { Nanos::MAX },
            usage: vec![Usage::unnamed()],
            refusals: Refusals::default(),
            leases_told: 0,
        }
    }

    /// `at` as nanoseconds, never before what was seen already: two threads may
    /// read the clock in one order and come here in the other.
    #[inline]
    pub(crate) fn now(&mut self, at: Instant) -> Nanos {
        self.latest = self.latest.max(self.epoch.nanos(at));
        self.latest
    }

    #[inline]
    pub(crate) const fn wants_wall(&self, now: Nanos) -> bool {
        now >= self.wants_wall
    }

    /// Tells the days what the wall clock says.
    pub(crate) fn wall(&mut self, now: Nanos, wall: Timestamp, effects: &mut Effects) {
        let mut next = Nanos::MAX;
        for (index, account) in self.accounts.iter_mut().enumerate() {
            if let State::Day(day) = &mut account.state {
                if now >= day.wants_wall() && day.wall(now, wall) {
                    effects.news.push(News::NewDay { budget: index as u8 });
                }
                next = next.min(day.wants_wall());
            }
        }
        self.wants_wall = next.max(now + 1);
        self.reconsider(now, effects);
    }

    /// All budgets and the gate agree, or nothing is spent.
    #[inline]
    fn admit(&mut self, now: Nanos, charge: &Charge) -> bool {
        if self.gate.opens(now) > now || charge.mask() & !self.valid != 0 {
            return false;
        }
        for (budget, n) in charge.parts() {
            if !self.accounts[budget].room(now, n) {
                return false;
            }
        }
        for (budget, n) in charge.parts() {
            self.accounts[budget].reserve(now, n);
        }
        self.gate.passed(now);
        true
    }

    /// Admits and sends in one step, if nobody waits.
    #[inline]
    pub(crate) fn try_send(&mut self, now: Nanos, charge: &Charge, tracked: bool) -> Option<Grant> {
        if !self.queue.is_empty() || !self.admit(now, charge) {
            return None;
        }
        let mut grant = Grant::reserved(*charge);
        self.send(now, &mut grant, tracked);
        Some(grant)
    }

    /// Admits without sending, if nobody waits.
    pub(crate) fn try_admit(&mut self, now: Nanos, charge: &Charge) -> Option<Grant> {
        (self.queue.is_empty() && self.admit(now, charge)).then(|| Grant::reserved(*charge))
    }

    #[inline]
    pub(crate) fn send(&mut self, now: Nanos, grant: &mut Grant, tracked: bool) {
        self.seq += 1;
        (grant.seq, grant.sent_at, grant.tracked) = (self.seq, now, tracked);
        for (budget, n) in grant.charge.parts() {
            grant.marks[budget] = self.accounts[budget].sent(now, n, self.seq, tracked);
        }
        if let Some(usage) = self.usage.get_mut(grant.charge.endpoint().0 as usize) {
            usage.add(&grant.charge);
        }
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
        self.reconsider(now, effects);
    }

    /// Gives everything back: nothing was sent.
    pub(crate) fn unsend(&mut self, now: Nanos, grant: &Grant, effects: &mut Effects) {
        for (budget, n) in grant.charge.parts() {
            self.accounts[budget].unreserve(n);
        }
        self.reconsider(now, effects);
    }

    pub(crate) fn answered(
        &mut self,
        now: Nanos,
        grant: &Grant,
        said: &Observations,
        settle: &Settle,
        effects: &mut Effects,
    ) {
        let mut observed = 0;
        for observation in said.iter() {
            observed |= self.take_in(now, Some(grant), observation, effects);
        }
        for (budget, n) in grant.charge.parts() {
            let actual = settle.actual(budget, n);
            let slot = grant.slot(budget);
            self.accounts[budget].answered(now, &slot, actual, observed & 1 << budget != 0);
        }
        if let Some(usage) = self.usage.get_mut(grant.charge.endpoint().0 as usize) {
            usage.settle(&grant.charge, settle);
        }
        self.reconsider(now, effects);
    }

    /// Sent, and no answer came: the charge stays.
    pub(crate) fn lost(&mut self, now: Nanos, grant: &Grant, effects: &mut Effects) {
        for (budget, _) in grant.charge.parts() {
            self.accounts[budget].lost(now, &grant.slot(budget));
        }
        self.reconsider(now, effects);
    }

    pub(crate) fn observe(&mut self, now: Nanos, observation: &Observation, effects: &mut Effects) {
        self.take_in(now, None, observation, effects);
        self.reconsider(now, effects);
    }

    /// Returns the bits of the budgets whose charge is now settled.
    fn take_in(
        &mut self,
        now: Nanos,
        grant: Option<&Grant>,
        observation: &Observation,
        effects: &mut Effects,
    ) -> u8 {
        match *observation {
            Observation::Level { budget, limit, remaining, reset } => {
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
                let until = retry_after.map(|after| now.saturating_add(nanos(after)));
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

    /// After any change: wakes the first waiter if it could go now, or earlier
    /// than its timer says, and whoever grants leases if more are wanted.
    pub(crate) fn reconsider(&mut self, now: Nanos, effects: &mut Effects) {
        effects.leases |= self.leases_wanted();
        let Some((charge, deadline)) = self.queue.sleeping_first() else { return };
        let earlier = match self.wait(now, &charge, [0; MAX_BUDGETS], false) {
            None => true,
            Some(wait) => match (wait.fit, self.queue.armed) {
                (Fit::Now | Fit::Never, _) => true,
                // It cannot go in time any more, and is to hear of it.
                (Fit::Exhausted(at), _) if at > deadline => true,
                (Fit::At(at) | Fit::Leased(at) | Fit::Exhausted(at), Some(armed)) => at < armed,
                (Fit::At(_) | Fit::Leased(_) | Fit::Exhausted(_), None) => true,
                (Fit::Event, _) => false,
            },
        };
        if earlier {
            effects.wakes.push(self.queue.wake_first());
        }
    }

    /// Whether more leases are wanted, of a budget for which that has not been
    /// said yet.
    #[inline]
    pub(crate) fn leases_wanted(&mut self) -> bool {
        let mut left = self.leased;
        let mut wanted = 0;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            if self.accounts[index].wanted(self.queue.need(index)).is_some() {
                wanted |= 1 << index;
            }
            left &= left - 1;
        }
        let told = std::mem::replace(&mut self.leases_told, wanted);
        wanted & !told != 0
    }

    /// The budget that binds longest, when `ahead` goes first; `None` if the
    /// charge can go now.
    pub(crate) fn wait(
        &mut self,
        now: Nanos,
        charge: &Charge,
        ahead: [u64; MAX_BUDGETS],
        floor: bool,
    ) -> Option<Wait> {
        let unknown = charge.mask() & !self.valid;
        if unknown != 0 {
            return Some(Wait { budget: None, fit: Fit::Never });
        }
        let opens = self.gate.opens(now);
        let mut worst = (opens > now).then_some(Wait { budget: None, fit: Fit::At(opens) });
        for (budget, n) in charge.parts() {
            let fit = self.accounts[budget].when(now, n, ahead[budget], floor);
            if rank(fit) > worst.map_or((0, 0), |wait| rank(wait.fit)) {
                worst = Some(Wait { budget: Some(budget as u8), fit });
            }
        }
        worst
    }

    /// What the queue needs, if a newcomer stands at its end.
    pub(crate) fn ahead(&self) -> [u64; MAX_BUDGETS] {
        std::array::from_fn(|budget| self.queue.need(budget))
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

    /// Why a call that cannot wait at all is refused.
    pub(crate) fn refusal_now(&mut self, now: Nanos, charge: &Charge) -> Refusal {
        let ahead = self.ahead();
        let wait = self.wait(now, charge, ahead, false);
        wait.and_then(|wait| self.refusal(now, wait, now)).unwrap_or(Refusal {
            kind: RefusedKind::DeadlineTooNear,
            budget: wait.and_then(|wait| wait.budget),
            retry_at: None,
        })
    }

    /// Puts a call at the end of the queue, or refuses it at once if that wait
    /// cannot end in time.
    pub(crate) fn enqueue(
        &mut self,
        now: Nanos,
        charge: Charge,
        deadline: Option<Nanos>,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Result<Key, Refusal> {
        let latest = now.saturating_add(self.max_wait);
        let deadline = deadline.map_or(latest, |deadline| deadline.min(latest));
        let ahead = self.ahead();
        let wait = self.wait(now, &charge, ahead, true);
        let refusal = wait.and_then(|wait| self.refusal(now, wait, deadline));
        if let Some(refusal) = refusal {
            self.refusals.local += 1;
            return Err(refusal);
        }
        if self.queue.len() >= self.max_waiting {
            self.refusals.local += 1;
            let retry_at = match self.wait(now, &charge, ahead, false).map(|wait| wait.fit) {
                Some(Fit::At(at) | Fit::Exhausted(at)) => Some(at),
                _ => None,
            };
            return Err(Refusal { kind: RefusedKind::QueueFull, budget: None, retry_at });
        }
        let timer = self.queue.armed;
        let key = self.queue.push(charge, deadline, waker);
        // The first waiter's timer serves all deadlines.
        if timer.is_some_and(|armed| deadline < armed) {
            effects.wakes.push(self.queue.wake_first());
        }
        effects.leases |= self.leases_wanted();
        Ok(key)
    }

    /// Polls a waiter. After `Granted` and `Refused` its key is dead.
    pub(crate) fn poll(
        &mut self,
        now: Nanos,
        key: Key,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Polled {
        let overdue = Refusal { kind: RefusedKind::DeadlineTooNear, budget: None, retry_at: None };
        if self.queue.first_deadline().is_some_and(|deadline| deadline <= now) {
            self.queue.refuse_due(now, overdue, &mut effects.wakes);
            self.wake_unarmed(key, effects);
        }
        if let Some(refusal) = self.queue.refusal(key) {
            self.queue.remove(key);
            self.refusals.local += 1;
            return Polled::Refused(refusal);
        }
        if !self.queue.is_first(key) {
            self.queue.park(key, waker);
            return Polled::Parked;
        }
        let (charge, deadline) = self.queue.charge(key);
        if self.admit(now, &charge) {
            self.leave(key, effects);
            return Polled::Granted(Grant::reserved(charge));
        }
        let Some(wait) = self.wait(now, &charge, [0; MAX_BUDGETS], false) else {
            // The gate and the budgets agree with each other or this is a bug;
            // look again rather than sleep for ever.
            self.queue.park(key, waker);
            return self.sleep(now.saturating_add(1_000_000));
        };
        let floor = self.wait(now, &charge, [0; MAX_BUDGETS], true).unwrap_or(wait);
        if let Some(refusal) = self.refusal(now, floor, deadline) {
            self.leave(key, effects);
            self.refusals.local += 1;
            return Polled::Refused(refusal);
        }
        self.queue.park(key, waker);
        match wait.fit {
            Fit::At(at) | Fit::Exhausted(at) | Fit::Leased(at) => self.sleep(at),
            Fit::Now | Fit::Event | Fit::Never => self.sleep(Nanos::MAX),
        }
    }

    /// Until `at` or the first deadline, whichever comes first.
    fn sleep(&mut self, at: Nanos) -> Polled {
        let at = self.queue.first_deadline().map_or(at, |deadline| deadline.min(at));
        self.queue.armed = Some(at);
        Polled::Sleep(at)
    }

    fn leave(&mut self, key: Key, effects: &mut Effects) {
        self.queue.remove(key);
        effects.wakes.push(self.queue.wake_first());
        effects.leases |= self.leases_wanted();
    }

    fn wake_unarmed(&mut self, polling: Key, effects: &mut Effects) {
        if self.queue.armed.is_none() && !self.queue.is_first(polling) {
            effects.wakes.push(self.queue.wake_first());
        }
    }

    /// A waiter goes away.
    pub(crate) fn cancel(&mut self, key: Key, effects: &mut Effects) {
        let was_first = self.queue.is_first(key);
        self.queue.remove(key);
        if was_first {
            effects.wakes.push(self.queue.wake_first());
        }
    }
}

/// Orders waits by how long they bind.
fn rank(fit: Fit) -> (u8, Nanos) {
    match fit {
        Fit::Now => (0, 0),
        Fit::At(at) => (1, at),
        Fit::Event => (2, 0),
        Fit::Leased(_) => (3, 0),
        Fit::Exhausted(at) => (4, at),
        Fit::Never => (5, 0),
    }
}
