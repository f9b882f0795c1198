//! Pure: at most `limit` units under way at once, each for some time at most.

use std::{collections::VecDeque, time::Duration};

use crate::{
    budget::Fit,
    moment::{Nanos, nanos},
};

/// What one taking holds, and until when at the latest.
#[derive(Clone, Copy, Debug)]
struct Hold {
    number: u32,
    ends: Nanos,
    n: u64,
}

#[derive(Debug)]
pub(crate) struct Concurrency {
    limit: u64,
    held: u64,
    /// `None`: until it is given back.
    max_hold: Option<Nanos>,
    /// In the order of taking, and so of ending; only with a `max_hold`.
    holds: VecDeque<Hold>,
    last: u32,
}

impl Concurrency {
    pub(crate) fn new(limit: u64, max_hold: Option<Duration>) -> Self {
        let max_hold = max_hold.map(nanos);
        Self { limit, held: 0, max_hold, holds: VecDeque::new(), last: 0 }
    }

    /// Gives up what has been held for too long.
    fn advance(&mut self, now: Nanos) {
        while let Some(hold) = self.holds.front() {
            if hold.n > 0 && hold.ends > now {
                return;
            }
            self.held -= hold.n;
            self.holds.pop_front();
        }
    }

    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64) -> bool {
        if !self.holds.is_empty() {
            self.advance(now);
        }
        self.held + n <= self.limit
    }

    /// Returns the number of the taking.
    #[inline]
    pub(crate) fn take(&mut self, now: Nanos, n: u64) -> u32 {
        self.held += n;
        if let Some(max_hold) = self.max_hold {
            self.last = self.last.wrapping_add(1);
            let ends = now.saturating_add(max_hold);
            self.holds.push_back(Hold { number: self.last, ends, n });
        }
        self.last
    }

    pub(crate) fn give_back(&mut self, now: Nanos, n: u64, taking: u32) {
        if self.max_hold.is_none() {
            self.held = self.held.saturating_sub(n);
            return;
        }
        // Numbers follow one another, so the place of one is known.
        let Some(first) = self.holds.front().map(|hold| hold.number) else { return };
        let at = taking.wrapping_sub(first) as usize;
        if let Some(hold) = self.holds.get_mut(at).filter(|hold| hold.number == taking) {
            self.held -= std::mem::take(&mut hold.n);
        }
        self.advance(now);
    }

    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64) -> Fit {
        if n > self.limit {
            return Fit::Never;
        }
        if self.room(now, ahead.saturating_add(n)) {
            return Fit::Now;
        }
        let mut missing = (self.held + ahead.min(self.limit - n) + n).saturating_sub(self.limit);
        for hold in &self.holds {
            missing = missing.saturating_sub(hold.n);
            if missing == 0 {
                return Fit::At(hold.ends);
            }
        }
        Fit::Event
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn held(&mut self, now: Nanos) -> u64 {
        self.advance(now);
        self.held
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_too_long_is_free_and_its_return_frees_nothing_more() {
        let mut places = Concurrency::new(2, Some(Duration::from_nanos(10)));
        let first = places.take(0, 1);
        let second = places.take(5, 1);
        assert_eq!(places.when(6, 1, 0), Fit::At(10));
        assert!(places.room(10, 1) && !places.room(10, 2));
        places.give_back(11, 1, first);
        assert_eq!(places.held(11), 1);
        places.give_back(12, 1, second);
        places.give_back(12, 1, second);
        assert_eq!(places.held(12), 0);
    }
}
