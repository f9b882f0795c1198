//! The kinds of budget behind one face.

use std::{sync::Arc, time::Duration};

use jiff::{civil::Time, tz::TimeZone};

use crate::{
    Priority,
    bucket::Bucket,
    concurrency::Concurrency,
    day::Day,
    fixed::Fixed,
    learn::Learnt,
    moment::{Nanos, nanos},
    pace::Pacer,
    rolling::Rolling,
    trend::Trend,
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

/// How to make the state of a budget.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Rolling { window: Duration, transit: Option<Duration>, even: bool, resolution: Duration },
    Fixed { window: Duration },
    Bucket { refill: u64, period: Duration },
    Day { zone: TimeZone, reset: Time, leased: bool },
    Concurrency,
}

/// A share of a budget that only calls of some urgency may touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserve {
    pub(crate) from: Priority,
    /// Parts of a million.
    pub(crate) share: u32,
}

/// What all accounts of one budget have in common.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: Arc<str>,
    /// The scope whose keys have accounts of their own; `None` if all share one.
    pub(crate) scope: Option<u8>,
    pub(crate) template: Template,
    /// Of an account that is made now.
    pub(crate) limit: u64,
    /// The server's limit replaces ours.
    pub(crate) learns_limit: bool,
    /// The server has told a level of this budget: no limit is guessed.
    pub(crate) heard: bool,
    pub(crate) learnt: Option<Learnt>,
    /// How near the grant may come before more is asked for; leased days only.
    pub(crate) low_water: Option<u64>,
    pub(crate) reserve: Option<Reserve>,
    pub(crate) pacer: Option<Pacer>,
    pub(crate) trend: Option<Trend>,
    /// Shares of the limit, in parts of a million, at which somebody is warned.
    pub(crate) warn_at: Box<[u32]>,
    /// How many of them have been passed in this period.
    pub(crate) warned: usize,
    /// Somebody waited for a period that had ended to begin anew.
    pub(crate) ran_dry: bool,
}

impl Spec {
    /// The state of a new account; of one key among many if `keyed`.
    pub(crate) fn state(&self, keyed: bool) -> State {
        let limit = self.limit;
        match &self.template {
            Template::Rolling { window, transit, even, resolution } => State::Rolling(Box::new(
                Rolling::new(limit, *window, *transit, *even, *resolution, keyed),
            )),
            Template::Fixed { window } => State::Fixed(Box::new(Fixed::new(limit, *window))),
            Template::Bucket { refill, period } => {
                State::Bucket(Bucket::new(limit, *refill, *period))
            }
            Template::Day { zone, reset, leased } => {
                State::Day(Box::new(Day::new(limit, zone.clone(), *reset, *leased)))
            }
            Template::Concurrency => State::Concurrency(Concurrency::new(limit)),
        }
    }

    /// Units that a call of this priority must leave.
    #[inline]
    pub(crate) fn kept(&self, priority: Priority, limit: u64) -> u64 {
        match self.reserve {
            Some(reserve) if priority < reserve.from => {
                (u128::from(limit) * u128::from(reserve.share) / 1_000_000) as u64
            }
            _ => 0,
        }
    }
}

/// One budget of one payer.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) state: State,
    pub(crate) key: u64,
    /// When it was last paid from; keyed budgets only.
    pub(crate) touched: Nanos,
    pub(crate) budget: u8,
    /// It has a limit of its own, which is not to be forgotten.
    pub(crate) pinned: bool,
    /// Forgotten; its place is free.
    pub(crate) vacant: bool,
}

impl Account {
    /// Whether `n` fit and leave `kept`.
    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64, kept: u64) -> bool {
        let all = n + kept;
        match &mut self.state {
            State::Rolling(rolling) => rolling.room(now, all),
            State::Fixed(fixed) => fixed.room(now, all),
            State::Bucket(bucket) => bucket.room(now, all),
            State::Day(day) => day.room(now, n, kept),
            State::Concurrency(places) => places.room(all),
        }
    }

    /// When `n` more fit after `ahead` others and leave `kept`. With `floor`, not
    /// later than it could be at best.
    pub(crate) fn when(&mut self, now: Nanos, n: u64, kept: u64, ahead: u64, floor: bool) -> Fit {
        let all = n + kept;
        match &mut self.state {
            State::Rolling(rolling) => rolling.when(now, all, ahead, floor),
            State::Fixed(fixed) => fixed.when(now, all, ahead),
            State::Bucket(bucket) => bucket.when(now, all, ahead),
            State::Day(day) => day.when(now, n, kept, ahead),
            State::Concurrency(places) => places.when(all, ahead),
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
            State::Concurrency(places) => places.take(n),
        }
        0
    }

    /// Gives back what was reserved and never sent.
    pub(crate) fn unreserve(&mut self, now: Nanos, n: u64, taking: u32) {
        match &mut self.state {
            State::Rolling(rolling) => rolling.unreserve(n),
            State::Fixed(fixed) => fixed.tally.unreserve(n),
            State::Bucket(bucket) => bucket.unreserve(now, n, taking),
            State::Day(day) => day.tally.unreserve(n),
            State::Concurrency(places) => places.give_back(n),
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
            State::Bucket(_) | State::Concurrency(_) => 0,
        }
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&mut self, now: Nanos) -> bool {
        match &mut self.state {
            State::Rolling(rolling) => rolling.at_rest(now),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.at_rest(now)
            }
            State::Bucket(bucket) => bucket.at_rest(now),
            State::Day(day) => now >= day.resets_at() || day.tally.at_rest(now),
            State::Concurrency(places) => places.held() == 0,
        }
    }

    /// The request was answered and cost `actual`. `observed`: the server's own
    /// count, just taken over, has settled it already.
    pub(crate) fn answered(&mut self, now: Nanos, slot: &Slot, actual: u64, observed: bool) {
        match &mut self.state {
            State::Rolling(rolling) => rolling.answered(now, slot, actual),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.answered(slot, actual, observed);
            }
            State::Day(day) => day.tally.answered(slot, actual, observed),
            State::Bucket(bucket) => {
                if actual < slot.n {
                    bucket.unreserve(now, slot.n - actual, slot.taking);
                } else {
                    bucket.debit(now, actual - slot.n);
                }
            }
            State::Concurrency(places) => places.give_back(slot.n),
        }
    }

    /// The request was dropped after sending: it keeps its charge.
    pub(crate) fn lost(&mut self, now: Nanos, slot: &Slot) {
        match &mut self.state {
            State::Rolling(_) | State::Bucket(_) => {}
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.lose(now, slot);
            }
            State::Day(day) => day.tally.lose(now, slot),
            State::Concurrency(places) => places.give_back(slot.n),
        }
    }

    /// Takes over what the server says is left. Returns whether that settles
    /// what the request cost.
    pub(crate) fn level(
        &mut self,
        now: Nanos,
        slot: Option<&Slot>,
        limit: Option<u64>,
        remaining: u64,
        reset: Option<Duration>,
    ) -> bool {
        let limit = limit.unwrap_or_else(|| self.limit());
        let counted = limit.saturating_sub(remaining).min(MOST);
        match &mut self.state {
            State::Rolling(rolling) => {
                rolling.level(now, slot, counted);
                false
            }
            State::Fixed(fixed) => {
                fixed.advance(now);
                let settled = fixed.tally.level(slot, counted);
                if let Some(reset) = reset {
                    fixed.align(now, reset);
                }
                settled
            }
            State::Day(day) => day.tally.level(slot, counted),
            State::Bucket(bucket) => {
                bucket.level(now, remaining);
                false
            }
            State::Concurrency(_) => false,
        }
    }

    /// The server says that nothing is left. Returns until when.
    pub(crate) fn exhausted(&mut self, now: Nanos, until: Option<Nanos>) -> Nanos {
        let window = self.window().unwrap_or(0);
        match &mut self.state {
            State::Rolling(rolling) => rolling.fill(now, until),
            State::Fixed(fixed) => {
                fixed.fill(now, until);
                return fixed.ends();
            }
            State::Bucket(bucket) => bucket.level(now, 0),
            State::Day(day) => return day.exhausted(now, until),
            State::Concurrency(_) => {}
        }
        until.unwrap_or_else(|| now.saturating_add(window))
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
        match &mut self.state {
            State::Rolling(rolling) => rolling.set_limit(limit),
            State::Fixed(fixed) => fixed.tally.set_limit(limit),
            State::Bucket(bucket) => bucket.set_limit(limit),
            State::Day(day) => day.tally.set_limit(limit),
            State::Concurrency(places) => places.set_limit(limit),
        }
    }

    /// Spent, spoken for, or held.
    pub(crate) fn used(&mut self, now: Nanos) -> u64 {
        match &mut self.state {
            State::Rolling(rolling) => rolling.seen(now),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.committed()
            }
            State::Bucket(bucket) => bucket.used(now),
            State::Day(day) => day.tally.committed(),
            State::Concurrency(places) => places.held(),
        }
    }

    pub(crate) fn set_used(&mut self, now: Nanos, used: u64) {
        let used = used.min(MOST);
        match &mut self.state {
            State::Rolling(rolling) => rolling.set_used(now, used),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.set_used(used);
            }
            State::Bucket(bucket) => {
                let left = bucket.limit().saturating_sub(used);
                bucket.level(now, left);
            }
            State::Day(day) => day.tally.set_used(used),
            State::Concurrency(_) => {}
        }
    }

    /// What others have spent, as far as the server's counts show it.
    pub(crate) fn foreign(&self) -> u64 {
        match &self.state {
            State::Rolling(rolling) => rolling.foreign(),
            State::Fixed(fixed) => fixed.tally.foreign(),
            State::Day(day) => day.tally.foreign(),
            State::Bucket(_) | State::Concurrency(_) => 0,
        }
    }

    /// By how much the server's newest count changed ours.
    pub(crate) fn drift(&self) -> i64 {
        match &self.state {
            State::Fixed(fixed) => fixed.tally.drift(),
            State::Day(day) => day.tally.drift(),
            State::Rolling(_) | State::Bucket(_) | State::Concurrency(_) => 0,
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

/// The default low-water mark of a lease: a two-hundredth of the limit, at
/// least fifty units.
pub(crate) const fn default_low_water(limit: u64) -> u64 {
    let part = limit / 200;
    if part < 50 { 50 } else { part }
}

/// Used by the gate: how far apart calls lie at this budget's rate, and for how
/// long one window lasts.
pub(crate) fn pace(account: &Account) -> Option<(Duration, Duration)> {
    let window = account.window()?;
    let gap = window / account.limit().max(1);
    Some((Duration::from_nanos(gap), Duration::from_nanos(window)))
}

const _: () = assert!(nanos(Duration::from_secs(1)) == 1_000_000_000);
