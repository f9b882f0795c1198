//! Pure: a limit that nobody told us, found by refusals.
//!
//! A refusal while our own count saw room means that the real limit is lower: a
//! tenth below what was spent (at least half the limit) is tried next. Without refusals it rises again by
//! a twentieth of the configured limit each window, and by one unit in thirty
//! windows once it comes near the place where it failed.

use crate::moment::Nanos;

/// Windows between two tries near the limit that failed.
const PATIENCE: u64 = 30;

#[derive(Debug)]
pub(crate) struct Learnt {
    /// What was configured, or told since.
    full: u64,
    failed: u64,
    next_raise: Nanos,
}

impl Learnt {
    pub(crate) const fn new(full: u64) -> Self {
        Self { full, failed: u64::MAX, next_raise: 0 }
    }

    /// Somebody who knows has said what the limit is.
    pub(crate) const fn told(&mut self, limit: u64) {
        (self.full, self.failed) = (limit, u64::MAX);
    }

    /// The limit to go on with after a refusal that came when `used` units were
    /// spent under `limit`.
    pub(crate) fn refused(&mut self, now: Nanos, used: u64, limit: u64, window: Nanos) -> u64 {
        // A refusal of the first few says more about others than about the limit.
        let reached = used.clamp(limit / 2, limit).max(1);
        self.failed = reached;
        self.next_raise = now.saturating_add(window.saturating_mul(2));
        (reached - reached.div_ceil(10)).max(1)
    }

    /// Whether nothing is left to be raised.
    #[inline]
    pub(crate) const fn is_whole(&self, limit: u64) -> bool {
        limit >= self.full
    }

    /// The limit to go on with after a success, if it is to be raised.
    pub(crate) fn succeeded(&mut self, now: Nanos, limit: u64, window: Nanos) -> Option<u64> {
        if self.is_whole(limit) || now < self.next_raise {
            return None;
        }
        let step = (self.full / 20).max(1);
        let is_near = |limit: u64| limit.saturating_add(step) >= self.failed;
        let raised = limit.saturating_add(if is_near(limit) { 1 } else { step }).min(self.full);
        let windows = if is_near(raised) { PATIENCE } else { 1 };
        self.next_raise = now.saturating_add(window.saturating_mul(windows));
        Some(raised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Nanos = 1_000;

    /// A server that allows 60 where we were told 100.
    #[test]
    fn it_settles_just_below_the_limit_that_nobody_told() {
        let mut learnt = Learnt::new(100);
        let (mut limit, mut refusals, mut spent) = (100, 0, 0);
        for window in 0..1_000 {
            let now = window * WINDOW;
            if limit > 60 {
                refusals += 1;
                limit = learnt.refused(now, limit, limit, WINDOW);
            } else {
                spent += limit;
                limit = learnt.succeeded(now, limit, WINDOW).unwrap_or(limit);
            }
        }
        assert!((50..=60).contains(&limit), "{limit}");
        assert!(refusals < 25, "{refusals} refusals in 1000 windows");
        assert!(spent > 54_000, "{spent} of 60000 used");
    }

    #[test]
    fn it_rises_to_what_was_configured_and_no_further() {
        let mut learnt = Learnt::new(100);
        let mut limit = learnt.refused(0, 20, 100, WINDOW);
        assert_eq!(limit, 45);
        learnt.told(50);
        for window in 0..100 {
            limit = learnt.succeeded(window * WINDOW, limit, WINDOW).unwrap_or(limit);
        }
        assert_eq!(limit, 50);
    }
}
