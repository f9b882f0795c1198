//! The kinds of budget behind one face.

mod plain;
mod told;

use std::{cmp::Ordering, time::Duration};

use crate::{
    book::{LeaseBook, worse},
    bucket::Bucket,
    concurrency::Concurrency,
    day::Day,
    fixed::Fixed,
    moment::{Nanos, nanos},
    rolling::Rolling,
};

/// The greatest number that is believed of a server or a caller, the same that
/// a builder allows; sums of such numbers do not overflow.
const MOST: u64 = u32::MAX as u64;

/// Whether, or when, an amount can be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Now,
    At(Nanos),
    /// When a request is answered, sent or dropped; no time is known.
    Event,
    /// When a lease is granted, or else at the reset.
    Leased(Nanos),
    /// The period's budget is gone until then.
    Exhausted(Nanos),
    /// When those who stand before it have gone.
    Behind,
    /// The amount is greater than the limit.
    Never,
}

/// Which moment is meant where answers may come sooner or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// No later than it could be at best.
    Soonest,
    /// As far as can be told.
    Likely,
    /// No sooner than it could be at worst.
    Latest,
}

/// What one request holds of one budget, from its sending on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) n: u64,
    pub(crate) sent_at: Nanos,
    /// The order of sending; the first is 1.
    pub(crate) seq: u64,
    /// What the budget returned when the request was sent.
    pub(crate) mark: u64,
    /// What the budget returned when it was reserved.
    pub(crate) taking: u32,
    /// Whether its answer will be reported.
    pub(crate) tracked: bool,
}

#[derive(Debug)]
pub(crate) enum State {
    Rolling(Box<Rolling>),
    Fixed(Box<Fixed>),
    Bucket(Bucket),
    Day(Box<Day>),
    Concurrency(Concurrency),
}

/// One budget of one payer.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) state: State,
    pub(crate) key: u64,
    /// Since when it is known, and when it was last paid from; keyed budgets only.
    pub(crate) born: Nanos,
    pub(crate) touched: Nanos,
    pub(crate) budget: u8,
    /// It has a limit of its own, which is not to be forgotten.
    pub(crate) pinned: bool,
    /// Forgotten; its place is free.
    pub(crate) vacant: bool,
    /// The server has said that nothing is to be had before; kinds that have no
    /// period of their own.
    pub(crate) shut_until: Nanos,
    /// What a ledger has leased; see [`Leases`](crate::Leases).
    pub(crate) book: Option<Box<LeaseBook>>,
}

impl Account {
    /// Whether `n` fit and leave `kept`.
    pub(crate) fn room(&mut self, now: Nanos, n: u64, kept: u64) -> bool {
        let all = n + kept;
        if now < self.shut_until {
            return false;
        }
        if self.book.is_some() && !self.leased_room(now, n) {
            return false;
        }
        match &mut self.state {
            State::Rolling(rolling) => rolling.room(now, all),
            State::Fixed(fixed) => fixed.room(now, all),
            State::Bucket(bucket) => bucket.room(now, all),
            State::Day(day) => day.room(now, n, kept),
            State::Concurrency(places) => places.room(now, all),
        }
    }

    /// When `n` more fit after `ahead` others and leave `kept`.
    pub(crate) fn when(&mut self, now: Nanos, n: u64, kept: u64, ahead: u64, sight: Sight) -> Fit {
        let mut own = self.own_when(now, n, kept, ahead, sight);
        if now < self.shut_until {
            own = worse(own, Fit::Exhausted(self.shut_until));
        }
        let (limit, ends) = (self.limit(), self.ends());
        let Some(book) = self.book_at(now) else { return own };
        let leased = book.when(now, n, ahead);
        match (leased, ends) {
            // No lease can help any more.
            (Fit::Leased(_), Some(ends)) if book.is_gone(limit, ahead.saturating_add(n)) => {
                worse(own, Fit::Exhausted(ends))
            }
            _ => worse(own, leased),
        }
    }

    fn own_when(&mut self, now: Nanos, n: u64, kept: u64, ahead: u64, sight: Sight) -> Fit {
        let all = n + kept;
        match &mut self.state {
            State::Rolling(rolling) => rolling.when(now, all, ahead, sight),
            State::Fixed(fixed) => fixed.when(now, all, ahead),
            State::Bucket(bucket) => bucket.when(now, all, ahead),
            State::Day(day) => day.when(now, n, kept, ahead),
            State::Concurrency(places) => places.when(now, all, ahead),
        }
    }

    /// Returns what is needed to give it back.
    #[inline]
    pub(crate) fn reserve(&mut self, now: Nanos, n: u64) -> u32 {
        match &mut self.state {
            State::Rolling(rolling) => rolling.reserve(now, n),
            State::Fixed(fixed) => fixed.tally.reserve(n),
            State::Bucket(bucket) => return bucket.reserve(n),
            State::Day(day) => day.tally.reserve(n),
            State::Concurrency(places) => return places.take(now, n),
        }
        0
    }

    /// `reserve` and `sent` in one, for a request of which nothing more is heard.
    #[inline]
    pub(crate) fn spend(&mut self, now: Nanos, n: u64, seq: u64) {
        match &mut self.state {
            State::Rolling(rolling) => rolling.spend(now, n),
            State::Fixed(fixed) => fixed.tally.spend(n, seq),
            State::Day(day) => day.tally.spend(n, seq),
            State::Bucket(bucket) => {
                bucket.reserve(n);
                bucket.sent(n, false);
            }
            State::Concurrency(places) => {
                places.take(now, n);
            }
        }
    }

    /// `reserve` and `sent` in one. Returns what both return.
    pub(crate) fn take(&mut self, now: Nanos, n: u64, seq: u64, tracked: bool) -> (u32, u64) {
        match &mut self.state {
            State::Rolling(rolling) => (0, rolling.take(now, n)),
            State::Fixed(fixed) => (0, fixed.tally.take(now, n, seq, tracked)),
            State::Day(day) => (0, day.tally.take(now, n, seq, tracked)),
            State::Bucket(bucket) => (bucket.reserve(n), bucket.sent(n, tracked)),
            State::Concurrency(places) => (places.take(now, n), 0),
        }
    }

    /// Gives back what was reserved and never sent.
    pub(crate) fn unreserve(&mut self, now: Nanos, n: u64, taking: u32) {
        match &mut self.state {
            State::Rolling(rolling) => rolling.unreserve(n),
            State::Fixed(fixed) => fixed.tally.unreserve(n),
            State::Bucket(bucket) => bucket.unreserve(now, n, taking),
            State::Day(day) => day.tally.unreserve(n),
            State::Concurrency(places) => places.give_back(now, n, taking),
        }
    }

    #[inline]
    pub(crate) fn sent(&mut self, now: Nanos, n: u64, seq: u64, tracked: bool) -> u64 {
        match &mut self.state {
            State::Rolling(rolling) => rolling.sent(now, n),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.sent(now, n, seq, tracked)
            }
            State::Day(day) => day.tally.sent(now, n, seq, tracked),
            State::Bucket(bucket) => bucket.sent(n, tracked),
            State::Concurrency(_) => 0,
        }
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&mut self, now: Nanos) -> bool {
        if now < self.shut_until {
            return false;
        }
        match &mut self.state {
            State::Rolling(rolling) => rolling.at_rest(now),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.at_rest(now)
            }
            State::Bucket(bucket) => bucket.at_rest(now),
            State::Day(day) => day.at_rest(now),
            State::Concurrency(places) => places.held(now) == 0,
        }
    }

    /// The request was answered and cost `actual`. `observed`: the server's own
    /// count, just taken over, has settled it already.
    pub(crate) fn answered(&mut self, now: Nanos, slot: &Slot, actual: u64, observed: bool) {
        if self.book.is_some() {
            self.book_answered(now, slot, actual);
        }
        match &mut self.state {
            State::Rolling(rolling) => rolling.answered(now, slot, actual),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.answered(slot, actual, observed);
            }
            State::Day(day) => day.tally.answered(slot, actual, observed),
            State::Bucket(bucket) => {
                bucket.ended(slot, actual);
                match actual.cmp(&slot.n) {
                    _ if observed => {}
                    Ordering::Less => bucket.unreserve(now, slot.n - actual, slot.taking),
                    Ordering::Equal => {}
                    Ordering::Greater => bucket.debit(now, actual - slot.n),
                }
            }
            State::Concurrency(places) => places.give_back(now, slot.n, slot.taking),
        }
    }

    #[cold]
    fn book_answered(&mut self, now: Nanos, slot: &Slot, actual: u64) {
        if let Some(book) = self.book_at(now) {
            book.answered(now, slot, actual);
        }
    }

    /// The request was dropped after sending: it keeps its charge.
    pub(crate) fn lost(&mut self, now: Nanos, slot: &Slot) {
        if let Some(book) = self.book_at(now) {
            book.lost(slot);
        }
        match &mut self.state {
            State::Rolling(_) => {}
            State::Bucket(bucket) => bucket.ended(slot, slot.n),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.lose(now, slot);
            }
            State::Day(day) => day.tally.lose(now, slot),
            State::Concurrency(places) => places.give_back(now, slot.n, slot.taking),
        }
    }

    /// The time in which the whole limit comes back; days have none here.
    pub(crate) fn window(&self) -> Option<Nanos> {
        match &self.state {
            State::Rolling(rolling) => Some(rolling.window()),
            State::Fixed(fixed) => Some(fixed.window()),
            State::Bucket(bucket) => Some(bucket.window()),
            State::Day(_) | State::Concurrency(_) => None,
        }
    }

    pub(crate) fn needs_answer(&self) -> bool {
        match &self.state {
            State::Rolling(rolling) => rolling.needs_answer(),
            State::Concurrency(_) => true,
            State::Fixed(_) | State::Bucket(_) | State::Day(_) => false,
        }
    }

    pub(crate) fn limit(&self) -> u64 {
        match &self.state {
            State::Rolling(rolling) => rolling.limit(),
            State::Fixed(fixed) => fixed.tally.limit(),
            State::Bucket(bucket) => bucket.limit(),
            State::Day(day) => day.tally.limit(),
            State::Concurrency(places) => places.limit(),
        }
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        let limit = limit.min(MOST);
        if let Some(book) = &mut self.book {
            book.set_limit(limit);
        }
        match &mut self.state {
            State::Rolling(rolling) => rolling.set_limit(limit),
            State::Fixed(fixed) => fixed.tally.set_limit(limit),
            State::Bucket(bucket) => bucket.set_limit(limit),
            State::Day(day) => day.tally.set_limit(limit),
            State::Concurrency(places) => places.set_limit(limit),
        }
    }

    /// Spent, spoken for, or held.
    #[inline]
    pub(crate) fn used(&mut self, now: Nanos) -> u64 {
        match &mut self.state {
            State::Rolling(rolling) => rolling.seen(now),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.committed()
            }
            State::Bucket(bucket) => bucket.used(now),
            State::Day(day) => day.tally.committed(),
            State::Concurrency(places) => places.held(now),
        }
    }

    /// All that was ever spent, as far as that is known; fixed windows, days and
    /// buckets only.
    pub(crate) fn total(&self) -> u64 {
        match &self.state {
            State::Fixed(fixed) => fixed.tally.total(),
            State::Day(day) => day.tally.total(),
            State::Bucket(bucket) => bucket.total(),
            State::Rolling(_) | State::Concurrency(_) => 0,
        }
    }

    pub(crate) fn day(&self) -> Option<&Day> {
        match &self.state {
            State::Day(day) => Some(day),
            _ => None,
        }
    }

    /// When the period ends; fixed windows and days only.
    pub(crate) fn ends(&self) -> Option<Nanos> {
        match &self.state {
            State::Fixed(fixed) => Some(fixed.ends()),
            State::Day(day) => Some(day.resets_at()),
            State::Rolling(_) | State::Bucket(_) | State::Concurrency(_) => None,
        }
    }

    /// How many units must be granted in all before the next call for more, if
    /// the grant is short now. `waiting`: what queued calls need.
    pub(crate) fn wanted(&self, low_water: Option<u64>, waiting: u64) -> Option<u64> {
        if self.book.is_some() {
            return None;
        }
        let (day, low_water) = (self.day()?, low_water?);
        let granted = day.granted()?;
        let limit = day.tally.limit();
        let needed = day.tally.committed() + waiting;
        let short = granted < limit && needed.saturating_add(low_water) > granted;
        // A day that is gone needs no lease.
        (short && day.tally.committed() < limit)
            .then(|| needed.saturating_add(low_water.saturating_mul(2)).min(limit))
    }
}

/// Used by the gate: how far apart calls lie at this budget's rate, and for how
/// long one window lasts.
pub(crate) fn pace(account: &Account) -> Option<(Duration, Duration)> {
    let window = account.window()?;
    let gap = window / account.limit().max(1);
    Some((Duration::from_nanos(gap), Duration::from_nanos(window)))
}

const _: () = assert!(nanos(Duration::from_secs(1)) == 1_000_000_000);
