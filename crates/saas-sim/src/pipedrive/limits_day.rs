//! The day's tokens and when the day ends. Pure; `now` is given.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// The day's tokens of the company.
#[derive(Debug)]
pub(super) struct Day {
    zone: TimeZone,
    reset: Time,
    ends: Timestamp,
    used: u64,
    past: u64,
    resets: u64,
}

impl Day {
    pub(super) fn new(zone: TimeZone, reset: Time, now: Timestamp) -> Self {
        let ends = next_reset(&zone, reset, now);
        Self { zone, reset, ends, used: 0, past: 0, resets: 0 }
    }

    /// Begins a new day if the old one is over.
    pub(super) fn roll(&mut self, now: Timestamp) {
        if now >= self.ends {
            self.past = self.used_ever();
            self.used = 0;
            self.resets += 1;
            self.ends = next_reset(&self.zone, self.reset, now);
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Tokens used since the start, all days together.
    pub(super) fn used_ever(&self) -> u64 {
        self.past.saturating_add(self.used)
    }

    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    pub(super) fn ends(&self) -> Timestamp {
        self.ends
    }

    pub(super) fn charge(&mut self, tokens: u64) {
        self.used = self.used.saturating_add(tokens);
    }
}

/// The first moment after `now` at which the zone's clocks show `reset`.
///
/// Where that time is skipped or comes twice on a day, the zone's usual rule holds: the later
/// reading for a gap, the earlier for a fold.
fn next_reset(zone: &TimeZone, reset: Time, now: Timestamp) -> Timestamp {
    let today = zone.to_datetime(now).date();
    let mut date = today;
    for _ in 0..3 {
        match zone.to_timestamp(date.to_datetime(reset)) {
            Ok(at) if at > now => return at,
            Ok(_) | Err(_) => date = date.saturating_add(1.day()),
        }
    }
    Timestamp::MAX
}
