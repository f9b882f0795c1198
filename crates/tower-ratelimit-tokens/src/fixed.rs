//! Pure: at most `limit` units in each of a row of windows of equal length.

use std::time::Duration;

use crate::{
    budget::Fit,
    moment::{Nanos, nanos},
    tally::Tally,
};

#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) tally: Tally,
    window: Nanos,
    ends: Nanos,
}

impl Fixed {
    pub(crate) fn new(limit: u64, window: Duration) -> Self {
        let window = nanos(window).max(1);
        Self { tally: Tally::new(limit), window, ends: window }
    }

    #[inline]
    pub(crate) fn advance(&mut self, now: Nanos) {
        if now >= self.ends {
            self.begin(now);
        }
    }

    #[cold]
    fn begin(&mut self, now: Nanos) {
        let passed = (now - self.ends) / self.window;
        self.ends += (passed + 1) * self.window;
        self.tally.start(now);
    }

    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64) -> bool {
        self.advance(now);
        self.tally.room(n, self.tally.limit())
    }

    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64) -> Fit {
        self.advance(now);
        let limit = self.tally.limit();
        if n > limit {
            return Fit::Never;
        }
        if self.tally.room(ahead + n, limit) {
            return Fit::Now;
        }
        let beyond = self.tally.committed().min(limit) + ahead + n - limit;
        let windows = (beyond - 1) / limit;
        Fit::At(self.ends.saturating_add(windows.saturating_mul(self.window)))
    }

    /// The server says when its window ends; ours are laid on top of it.
    pub(crate) fn align(&mut self, now: Nanos, reset: Duration) {
        let reset = nanos(reset);
        if reset > 0 && reset <= self.window {
            self.ends = now.saturating_add(reset);
        }
    }

    /// The server says that nothing is left until `until`.
    pub(crate) fn fill(&mut self, now: Nanos, until: Option<Nanos>) {
        self.advance(now);
        self.tally.fill();
        if let Some(until) = until {
            self.ends = until.max(now + 1);
        }
    }

    pub(crate) const fn window(&self) -> Nanos {
        self.window
    }

    pub(crate) const fn ends(&self) -> Nanos {
        self.ends
    }
}
