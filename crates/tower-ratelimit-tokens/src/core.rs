//! Pure: budgets, gate and queue together. Everything takes `now`.

mod hearing;
mod leasing;
mod waiting;

use std::{task::Waker, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    Charge, GateReason, Observations, Settle,
    budget::{Account, Fit, Slot, State},
    charge::MAX_BUDGETS,
    error::Refusal,
    gate::Gate,
    moment::{Epoch, Nanos},
    queue::{Queue, Wakes},
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
    /// It must be sent before that, as its lease ends then.
    pub(crate) until: Nanos,
}

impl Grant {
    fn reserved(charge: Charge, until: Nanos) -> Self {
        Self { charge, sent_at: 0, seq: 0, marks: [0; MAX_BUDGETS], tracked: false, until }
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
    /// Not to be woken, only to be dropped; one operation leaves one at most.
    pub(crate) idle: Option<Waker>,
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
    /// The server's count has been heard: from now on every answer is awaited, so
    /// that a count never forgets a request under way that it cannot have in it.
    heard: bool,
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
            heard: false,
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

    /// The longest wait.
    pub(crate) const fn max_wait(&self) -> Nanos {
        self.max_wait
    }

    /// The last moment that was seen.
    pub(crate) const fn latest(&self) -> Nanos {
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
    fn admit(&mut self, now: Nanos, charge: &Charge) -> Option<Nanos> {
        if self.gate.opens(now) > now || charge.mask() & !self.valid != 0 {
            return None;
        }
        for (budget, n) in charge.parts() {
            if !self.accounts[budget].room(now, n) {
                return None;
            }
        }
        for (budget, n) in charge.parts() {
            self.accounts[budget].reserve(now, n);
        }
        self.gate.passed(now);
        Some(if self.leased == 0 { Nanos::MAX } else { self.take_leases(charge) })
    }

    /// Admits and sends in one step, if nobody waits.
    #[inline]
    pub(crate) fn try_send(&mut self, now: Nanos, charge: &Charge, tracked: bool) -> Option<Grant> {
        if !self.queue.is_empty() {
            return None;
        }
        let mut grant = Grant::reserved(*charge, self.admit(now, charge)?);
        self.send(now, &mut grant, tracked);
        Some(grant)
    }

    /// Admits without sending, if nobody waits.
    pub(crate) fn try_admit(&mut self, now: Nanos, charge: &Charge) -> Option<Grant> {
        if !self.queue.is_empty() {
            return None;
        }
        Some(Grant::reserved(*charge, self.admit(now, charge)?))
    }

    #[inline]
    pub(crate) fn send(&mut self, now: Nanos, grant: &mut Grant, tracked: bool) {
        self.seq += 1;
        let tracked = tracked || self.heard;
        if self.leased != 0 {
            self.send_leases(now, &grant.charge, grant.until, tracked);
        }
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
        if self.leased != 0 {
            self.return_leases(now, &grant.charge, grant.until);
        }
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

    /// Whether more leases are wanted, of a budget for which that has not been
    /// said yet.
    #[inline]
    pub(crate) fn leases_wanted(&mut self) -> bool {
        let mut left = self.leased;
        let mut wanted = 0;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            if self.wants_lease(index) {
                wanted |= 1 << index;
            }
            left &= left - 1;
        }
        let told = std::mem::replace(&mut self.leases_told, wanted);
        wanted & !told != 0
    }
}
