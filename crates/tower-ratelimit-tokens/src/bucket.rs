//! Pure: a token bucket. Credit is counted in units times the refill period,
//! so that no rate is ever rounded.

use std::time::Duration;

use crate::{
    budget::{Fit, Slot},
    dips::Dips,
    moment::{Nanos, nanos},
};

/// How late a timer may be and still be made up for: two ticks of Tokio's.
const LATE: Nanos = nanos(Duration::from_millis(2));

#[derive(Debug)]
pub(crate) struct Bucket {
    capacity: u64,
    /// Units that come in each `period`.
    refill: u64,
    period: Nanos,
    /// Units times `period`; below zero if a call has cost more than was paid.
    credit: i128,
    /// The moment up to which the refill has been credited.
    credited: Nanos,
    dips: Dips,
    /// All that was ever sent; of that, what is not answered yet.
    total: u64,
    under_way: u64,
    /// The newest request whose level was taken over.
    newest: u64,
}

impl Bucket {
    pub(crate) fn new(capacity: u64, refill: u64, period: Duration) -> Self {
        let period = nanos(period).max(1);
        let credit = i128::from(capacity) * i128::from(period);
        Self {
            capacity,
            refill: refill.max(1),
            period,
            credit,
            credited: 0,
            dips: Dips::new(),
            total: 0,
            under_way: 0,
            newest: 0,
        }
    }

    fn full(&self) -> i128 {
        i128::from(self.capacity) * i128::from(self.period)
    }

    fn price(&self, n: u64) -> i128 {
        i128::from(n) * i128::from(self.period)
    }

    #[inline]
    fn advance(&mut self, now: Nanos) {
        if now <= self.credited {
            return;
        }
        let passed = now - self.credited;
        let credit = self.credit + i128::from(passed) * i128::from(self.refill);
        self.credit = credit.min(self.full());
        self.credited = now;
    }

    /// The first in the queue was due at `due` and its timer fired later: what
    /// came in since is not lost to a full bucket. Only so much is made up for
    /// as a timer is late by.
    pub(crate) fn catch_up(&mut self, due: Nanos, now: Nanos) {
        let from = due.max(now.saturating_sub(LATE)).min(now);
        if from > self.credited {
            self.advance(from);
            self.credit += i128::from(now - from) * i128::from(self.refill);
            self.credited = now;
        }
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&mut self, now: Nanos) -> bool {
        self.advance(now);
        self.credit >= self.full()
    }

    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64) -> bool {
        self.advance(now);
        self.price(n) <= self.credit
    }

    /// How long so much credit takes to come in, rounded down; none is below zero.
    #[inline]
    fn time_of(&self, credit: i128) -> u64 {
        // It nearly always fits, and half the width divides much faster.
        match u64::try_from(credit) {
            Ok(credit) => credit / self.refill,
            Err(_) if credit < 0 => 0,
            Err(_) => u64::try_from(credit / i128::from(self.refill)).unwrap_or(u64::MAX),
        }
    }

    /// How long it takes to fill up from here.
    #[inline]
    fn to_full(&self) -> u64 {
        self.time_of(self.full() - self.credit)
    }

    /// Returns the number of the taking.
    #[inline]
    pub(crate) fn reserve(&mut self, n: u64) -> u32 {
        let number = self.dips.take(self.to_full());
        self.credit -= self.price(n);
        number
    }

    /// A call has cost `n` more than was paid.
    pub(crate) fn debit(&mut self, now: Nanos, n: u64) {
        self.advance(now);
        // A debt of more than a whole bucket is forgiven.
        self.credit = (self.credit - self.price(n)).max(-self.full());
    }

    /// Gives back `n` units of a taking, as far as they had not been spilled.
    pub(crate) fn unreserve(&mut self, now: Nanos, n: u64, taking: u32) {
        self.advance(now);
        let refill = i128::from(self.refill);
        // In time, rounded down: a rest of less than a nanosecond's refill is lost.
        let most = u64::try_from(self.price(n) / refill).unwrap_or(u64::MAX);
        let exact = self.price(n) % refill;
        let worth = self.dips.give_back(taking, most, self.to_full());
        let rest = if worth == most { exact } else { 0 };
        self.credit = (self.credit + i128::from(worth) * refill + rest).min(self.full());
    }

    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64) -> Fit {
        if n > self.capacity {
            return Fit::Never;
        }
        self.advance(now);
        let missing = self.price(ahead.saturating_add(n)) - self.credit;
        if missing <= 0 {
            return Fit::Now;
        }
        let wait = self.time_of(missing + i128::from(self.refill - 1));
        Fit::At(now.saturating_add(wait))
    }

    /// Returns a mark: all that was sent, less what was under way besides.
    #[inline]
    pub(crate) fn sent(&mut self, n: u64, tracked: bool) -> u64 {
        self.total += n;
        let others = self.under_way;
        if tracked {
            self.under_way += n;
        }
        self.total.saturating_sub(others)
    }

    /// A request was answered, or given up, and cost `actual`.
    pub(crate) fn ended(&mut self, slot: &Slot, actual: u64) {
        if slot.tracked {
            self.under_way = self.under_way.saturating_sub(slot.n);
        }
        self.total = (self.total + actual).saturating_sub(slot.n);
    }

    /// Takes over what the server says is left. What was sent later, or was under
    /// way besides, may not be in that; an older answer says nothing any more.
    /// Returns whether that settles what the request cost.
    pub(crate) fn observe(&mut self, now: Nanos, slot: Option<&Slot>, remaining: u64) -> bool {
        let doubtful = match slot {
            Some(slot) if slot.seq <= self.newest => return false,
            Some(slot) => {
                self.newest = slot.seq;
                self.total.saturating_sub(slot.mark)
            }
            None => self.under_way,
        };
        self.level(now, remaining.saturating_sub(doubtful));
        slot.is_some()
    }

    pub(crate) fn level(&mut self, now: Nanos, remaining: u64) {
        self.advance(now);
        self.credit = self.price(remaining).min(self.full());
    }

    pub(crate) fn used(&mut self, now: Nanos) -> u64 {
        self.advance(now);
        let left = self.credit.max(0) / i128::from(self.period);
        self.capacity - u64::try_from(left).unwrap_or(u64::MAX).min(self.capacity)
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn set_limit(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.credit = self.credit.min(self.full());
    }

    /// How long an empty bucket takes to fill.
    pub(crate) fn window(&self) -> Nanos {
        self.time_of(self.full())
    }
}
