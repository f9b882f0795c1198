//! Pure: what all accounts of one budget have in common.

use std::{sync::Arc, time::Duration};

use jiff::{civil::Time, tz::TimeZone};

use crate::{
    Priority, bucket::Bucket, budget::State, concurrency::Concurrency, day::Day, fixed::Fixed,
    learn::Learnt, pace::Pacer, rolling::Rolling, trend::Trend,
};

/// How to make the state of a budget.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Rolling { window: Duration, transit: Option<Duration>, even: bool, resolution: Duration },
    Fixed { window: Duration },
    Bucket { refill: u64, period: Duration },
    Day { zone: TimeZone, reset: Time, leased: bool },
    Concurrency { max_hold: Option<Duration> },
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
    pub(crate) warnings: Warnings,
    /// Somebody waited for a period that had ended to begin anew.
    pub(crate) ran_dry: bool,
}

/// Who was warned of what, in this period.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Warnings {
    /// How many of the shares have been passed.
    passed: usize,
    /// While that is the limit, and so much is used and less than that, nothing is
    /// to be said.
    limit: u64,
    from: u64,
    below: u64,
}

impl Warnings {
    #[inline]
    pub(crate) const fn is_calm(&self, used: u64, limit: u64) -> bool {
        self.from <= used && used < self.below && self.limit == limit
    }

    /// Whether a share has been passed at which somebody is warned.
    #[cold]
    pub(crate) fn look(&mut self, shares: &[u32], used: u64, limit: u64) -> bool {
        let spent = u128::from(used) * 1_000_000;
        let mark = |share: u32| u128::from(share) * u128::from(limit.max(1));
        // Of the shares, how many have been reached.
        let reached = |less: u32| {
            shares.iter().take_while(|share| spent >= mark(share.saturating_sub(less))).count()
        };
        let passed = reached(0);
        // A new period, or a correction; a flutter around the mark is none.
        let before =
            if passed < self.passed { self.passed.min(reached(50_000)) } else { self.passed };
        self.passed = before.max(passed);
        let units = |share: u32| u64::try_from(mark(share).div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.limit = limit;
        self.from = self.passed.checked_sub(1).map_or(0, |last| units(shares[last]));
        self.below = shares.get(self.passed).map_or(u64::MAX, |&next| units(next));
        passed > before
    }
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
            Template::Concurrency { max_hold } => {
                State::Concurrency(Concurrency::new(limit, *max_hold))
            }
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

/// The default low-water mark of a lease: a two-hundredth of the limit, at
/// least fifty units.
pub(crate) const fn default_low_water(limit: u64) -> u64 {
    let part = limit / 200;
    if part < 50 { 50 } else { part }
}
