//! Pure: at most `limit` units under way at once.

use crate::budget::Fit;

#[derive(Debug)]
pub(crate) struct Concurrency {
    limit: u64,
    held: u64,
}

impl Concurrency {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, held: 0 }
    }

    #[inline]
    pub(crate) const fn room(&self, n: u64) -> bool {
        self.held + n <= self.limit
    }

    #[inline]
    pub(crate) fn take(&mut self, n: u64) {
        self.held += n;
    }

    pub(crate) fn give_back(&mut self, n: u64) {
        self.held = self.held.saturating_sub(n);
    }

    pub(crate) const fn when(&self, n: u64, ahead: u64) -> Fit {
        if n > self.limit {
            Fit::Never
        } else if self.room(ahead + n) {
            Fit::Now
        } else {
            Fit::Event
        }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) const fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }
}
