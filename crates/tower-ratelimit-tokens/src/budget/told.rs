//! Pure: what the server, or somebody by hand, says of an account.

use std::time::Duration;

use super::{Account, MOST, Slot, State};
use crate::moment::Nanos;

impl Account {
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
        let later = match &self.state {
            State::Day(day) => day.tally.later(slot),
            _ => 0,
        };
        if let Some(book) = self.book_at(now) {
            book.level(now, slot, counted, later);
            // In a window that is shared most of what the server counts is the
            // other members', and the ledger knows of it.
            if matches!(self.state, State::Rolling(_)) {
                return false;
            }
        }
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
            State::Bucket(bucket) => bucket.observe(now, slot, remaining),
            State::Concurrency(_) => false,
        }
    }

    /// What the level just taken over shows its request to have cost.
    pub(crate) fn take_shown(&mut self) -> Option<u64> {
        match &mut self.state {
            State::Fixed(fixed) => fixed.tally.take_shown(),
            State::Day(day) => day.tally.take_shown(),
            State::Rolling(_) | State::Bucket(_) | State::Concurrency(_) => None,
        }
    }

    /// The server says that nothing is left. Returns until when.
    pub(crate) fn exhausted(&mut self, now: Nanos, until: Option<Nanos>) -> Nanos {
        let window = self.window().unwrap_or(0);
        let limit = self.limit();
        if let Some(book) = self.book_at(now) {
            book.exhausted(now, limit, until);
        }
        if let (Some(until), None) = (until, self.day()) {
            self.shut_until = self.shut_until.max(until);
        }
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
}
