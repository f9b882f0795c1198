//! Pure: at most `limit` units in each calendar day of a time zone.
//!
//! The wall clock is read when the known reset has passed, and at most once a
//! minute besides, so that a clock that was set or a machine that slept does
//! not matter for long. Between readings only the monotonic clock counts.

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::{
    budget::Fit,
    moment::{Nanos, nanos},
    tally::Tally,
};

const MINUTE: Nanos = nanos(Duration::from_secs(60));
const HOUR: Nanos = 60 * MINUTE;

/// The day that begins at the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) day: Date,
    pub(crate) ends: Timestamp,
}

/// The day of `zone` that holds `at`, if days begin at `reset`. Where the clock
/// is moved forward over the reset, the day begins at the first moment after the
/// gap; where it is moved back, at the first of the two.
pub(crate) fn period(at: Timestamp, zone: &TimeZone, reset: Time) -> Period {
    let today = zone.to_datetime(at).date();
    let start = |day: Date| {
        let civil = day.to_datetime(reset);
        zone.to_ambiguous_timestamp(civil).compatible().unwrap_or(Timestamp::MAX)
    };
    let next = |day: Date| day.tomorrow().unwrap_or(Date::MAX);
    // A gap can move a day's start past midnight, so look on both sides.
    let mut day = today.yesterday().unwrap_or(Date::MIN);
    while day < Date::MAX && start(next(day)) <= at {
        day = next(day);
    }
    Period { day, ends: start(next(day)) }
}

#[derive(Debug)]
pub(crate) struct Day {
    pub(crate) tally: Tally,
    zone: TimeZone,
    reset: Time,
    /// The day, once the wall clock has been read.
    day: Option<Date>,
    resets_at: Nanos,
    read_again: Nanos,
    /// A reset that the server named; calendar resets shortly after are the same.
    named: Option<Nanos>,
    /// Refused by the server until then.
    closed_until: Nanos,
    /// What the leases allow; `None` if the budget is not leased.
    granted: Option<u64>,
}

impl Day {
    pub(crate) fn new(limit: u64, zone: TimeZone, reset: Time, leased: bool) -> Self {
        Self {
            tally: Tally::new(limit),
            zone,
            reset,
            day: None,
            resets_at: 0,
            read_again: 0,
            named: None,
            closed_until: 0,
            granted: leased.then_some(0),
        }
    }

    /// When the wall clock is wanted next.
    pub(crate) const fn wants_wall(&self) -> Nanos {
        self.read_again
    }

    /// Takes a reading of the wall clock. Returns whether a new day has begun.
    pub(crate) fn wall(&mut self, now: Nanos, wall: Timestamp) -> bool {
        let period = period(wall, &self.zone, self.reset);
        let left = period.ends.as_nanosecond() - wall.as_nanosecond();
        // The last day that can be written down ends nowhere: look again later.
        let left = if left > 0 { u64::try_from(left).unwrap_or(u64::MAX) } else { MINUTE };
        let calendar = now.saturating_add(left);
        // A clock that was set back begins no day twice; one that was set back
        // by more than a day had been wrong, and its day is given up.
        let mut new = false;
        match self.day {
            Some(day) if day >= period.day => {
                if day.yesterday().is_ok_and(|before| before > period.day) {
                    self.day = Some(period.day);
                }
            }
            before => {
                new = before.is_some();
                self.day = Some(period.day);
            }
        }
        self.resets_at = calendar;
        match self.named {
            // The server's word on the reset stands above the calendar's.
            Some(at) if now < at => (new, self.resets_at) = (false, at),
            Some(at) if now < at.saturating_add(HOUR) => new = self.tally.started() < at,
            // The calendar's day may have begun, unheeded, before the named one.
            Some(at) => (new, self.named) = (new || self.tally.started() < at, None),
            None => {}
        }
        self.read_again = self.resets_at.min(now.saturating_add(MINUTE));
        if new {
            self.tally.start(now);
            self.closed_until = 0;
            self.granted = self.granted.map(|_| 0);
        }
        new
    }

    /// One key's day goes by the day of all.
    pub(crate) fn follow(&mut self, now: Nanos, (day, resets_at): (Option<Date>, Nanos)) {
        if self.day != day {
            if self.day.is_some() {
                self.tally.start(now);
                self.closed_until = 0;
            }
            self.day = day;
        }
        self.resets_at = resets_at.max(self.closed_until);
    }

    /// Which day it is and when it ends.
    pub(crate) const fn period(&self) -> (Option<Date>, Nanos) {
        (self.day, self.resets_at)
    }

    fn ceiling(&self) -> u64 {
        self.granted.map_or(self.tally.limit(), |granted| granted.min(self.tally.limit()))
    }

    #[inline]
    pub(crate) fn room(&self, now: Nanos, n: u64, kept: u64) -> bool {
        now >= self.closed_until
            && self.tally.room(n, self.ceiling())
            && (kept == 0 || self.tally.room(n + kept, self.tally.limit()))
    }

    /// What is kept is kept of the limit, not of what has been granted so far: a
    /// grant grows, and none is ever asked for what is kept.
    pub(crate) fn when(&self, now: Nanos, n: u64, kept: u64, ahead: u64) -> Fit {
        if n + kept > self.tally.limit() {
            Fit::Never
        } else if now < self.closed_until {
            Fit::Exhausted(self.closed_until)
        } else if !self.tally.room(ahead + n + kept, self.tally.limit()) {
            Fit::Exhausted(self.resets_at)
        } else if !self.tally.room(ahead + n, self.ceiling()) {
            Fit::Leased(self.resets_at)
        } else {
            Fit::Now
        }
    }

    /// The server refuses for the rest of the day, or until it says.
    pub(crate) fn exhausted(&mut self, now: Nanos, until: Option<Nanos>) -> Nanos {
        self.tally.fill();
        if let Some(until) = until {
            self.named = Some(until);
            self.resets_at = until;
            self.read_again = self.read_again.min(until);
        }
        self.closed_until = self.closed_until.max(self.resets_at).max(now);
        self.closed_until
    }

    pub(crate) fn grant(&mut self, total: u64) {
        if let Some(granted) = &mut self.granted {
            *granted = total;
        }
    }

    pub(crate) const fn granted(&self) -> Option<u64> {
        self.granted
    }

    pub(crate) const fn closed(&self, now: Nanos) -> bool {
        now < self.closed_until
    }

    pub(crate) const fn day(&self) -> Option<Date> {
        self.day
    }

    pub(crate) const fn resets_at(&self) -> Nanos {
        self.resets_at
    }
}
