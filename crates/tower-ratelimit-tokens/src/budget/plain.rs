//! Pure: what most calls do with a budget, for the kinds that most budgets are, so
//! that it stands in one piece where they go through. All else goes the way of all.

use super::{Account, State};
use crate::moment::Nanos;

impl Account {
    /// As `room`, of a budget that is not leased and of which nothing is kept.
    #[inline(always)]
    pub(crate) fn has_room(&mut self, now: Nanos, n: u64) -> bool {
        match &mut self.state {
            _ if now < self.shut_until => false,
            State::Rolling(rolling) => rolling.room(now, n),
            State::Fixed(fixed) => fixed.room(now, n),
            State::Day(day) => day.room(now, n, 0),
            State::Bucket(_) | State::Concurrency(_) => self.room(now, n, 0),
        }
    }

    /// As `take`.
    #[inline(always)]
    pub(crate) fn pay(&mut self, now: Nanos, n: u64, seq: u64, tracked: bool) -> (u32, u64) {
        match &mut self.state {
            State::Rolling(rolling) => (0, rolling.take(now, n)),
            State::Fixed(fixed) => (0, fixed.tally.take(now, n, seq, tracked)),
            State::Day(day) => (0, day.tally.take(now, n, seq, tracked)),
            State::Bucket(_) | State::Concurrency(_) => self.take(now, n, seq, tracked),
        }
    }

    /// As `answered`, of a request that has cost what was paid and of which the server
    /// has said nothing. `false` if this is not for the short way: nothing was done.
    #[inline(always)]
    pub(crate) fn paid(&mut self, now: Nanos, n: u64, sent_at: Nanos, tracked: bool) -> bool {
        if self.book.is_some() {
            return false;
        }
        match &mut self.state {
            State::Rolling(rolling) => rolling.paid(now, n, sent_at),
            State::Fixed(fixed) => {
                fixed.advance(now);
                fixed.tally.paid(n, tracked);
            }
            State::Day(day) => day.tally.paid(n, tracked),
            State::Bucket(_) | State::Concurrency(_) => return false,
        }
        true
    }

    /// As `used`, and the limit.
    #[inline(always)]
    pub(crate) fn used_of(&mut self, now: Nanos) -> (u64, u64) {
        match &mut self.state {
            State::Day(day) => (day.tally.committed(), day.tally.limit()),
            _ => (self.used(now), self.limit()),
        }
    }
}
