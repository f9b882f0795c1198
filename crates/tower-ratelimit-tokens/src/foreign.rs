//! Pure: what others spend of a rolling window, and what they will.
//!
//! Others' units are seen only after the fact, in the server's counts. Filling
//! the window up to what is known leaves no room for those that come next, so as
//! much is kept free as they used at most in any of the last windows.

use crate::{moment::Nanos, ring::Ring};

/// How many windows are remembered.
const REMEMBERED: usize = 8;

#[derive(Debug)]
pub(crate) struct Foreign {
    ring: Ring,
    passed: u64,
    /// In the window now.
    held: u64,
    /// The most that was in the window at once, for each of the last windows.
    peaks: [u64; REMEMBERED],
    turn: Nanos,
}

impl Foreign {
    pub(crate) fn new(longest: u64, passed: u64, now: Nanos) -> Self {
        let ring = Ring::new(longest, true);
        Self { ring, passed, held: 0, peaks: [0; REMEMBERED], turn: now }
    }

    /// The ticks up to `target` have passed.
    pub(crate) fn advance(&mut self, now: Nanos, window: Nanos, target: u64) {
        if target > self.passed {
            self.held -= self.ring.expire(self.passed, target, self.held);
            self.passed = target;
        }
        let turns = (now.saturating_sub(self.turn) / window.max(1)).min(REMEMBERED as u64);
        if turns > 0 {
            self.peaks.rotate_right(turns as usize);
            self.peaks[..turns as usize].fill(self.held);
            self.turn = now;
        }
    }

    pub(crate) fn put(&mut self, tick: u64, n: u64) {
        self.ring.put(tick, n);
        self.held += n;
        self.peaks[0] = self.peaks[0].max(self.held);
    }

    /// In the window now.
    pub(crate) const fn held(&self) -> u64 {
        self.held
    }

    /// How many more units of others are to be expected in a window that holds so many of
    /// theirs.
    pub(crate) fn expected(&self, held: u64) -> u64 {
        let peak = self.peaks.iter().copied().max().unwrap_or(0);
        if peak == 0 { 0 } else { (peak + peak / 16 + 1).saturating_sub(held) }
    }

    /// Of what stops counting at `tick`, how much is others'.
    pub(crate) fn at(&self, tick: u64) -> u64 {
        match &self.ring {
            Ring::Sparse { ticks, .. } => {
                ticks.binary_search_by_key(&tick, |&(tick, _)| tick).map_or(0, |at| ticks[at].1)
            }
            Ring::Dense { .. } => 0,
        }
    }

    /// When the expectation may change by itself.
    pub(crate) const fn next_turn(&self, window: Nanos) -> Nanos {
        self.turn.saturating_add(window)
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&self) -> bool {
        self.held == 0 && self.expected(0) == 0
    }
}
