//! A rolling window that counts exactly. Pure; `now` is given.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A rolling window that counts exactly: it holds the instant of every request in it.
///
/// A request counted at `t` is in the window until just before `t + length`.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    times: VecDeque<Instant>,
    peak: usize,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, times: VecDeque::new(), peak: 0 }
    }

    /// How many requests are in the window.
    pub(super) fn used(&mut self, now: Instant) -> usize {
        while self.times.front().is_some_and(|&oldest| oldest + self.length <= now) {
            self.times.pop_front();
        }
        self.times.len()
    }

    pub(super) fn count(&mut self, now: Instant) {
        let used = self.used(now) + 1;
        self.times.push_back(now);
        self.peak = self.peak.max(used);
    }

    /// Time until the oldest request leaves; zero when there is none.
    pub(super) fn until_oldest_leaves(&self, now: Instant) -> Duration {
        self.times
            .front()
            .map_or(Duration::ZERO, |&oldest| (oldest + self.length).saturating_duration_since(now))
    }

    /// The most requests that were ever in the window at once.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }
}
