//! Pure: dated send slots.

use std::collections::VecDeque;

use super::Level;
use crate::{moment::Nanos, rolling::Rolling};

/// Units that may be sent from `from` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) from: Nanos,
    pub(crate) until: Nanos,
    pub(crate) units: u64,
    /// What the ledger calls `from`; given back to it as it is.
    pub(crate) dated: u64,
}

#[derive(Debug)]
pub(crate) struct Slots {
    /// In the order of `until`.
    pub(super) free: VecDeque<Slice>,
    /// Admitted and not yet sent: by the moment until which they may be.
    pub(super) reserved: Vec<(Nanos, u64)>,
    /// What was sent, by the moment at which it stops counting.
    pub(super) sent: Rolling,
    pub(super) transit: Nanos,
    pub(super) window: Nanos,
    pub(super) level: Option<Level>,
}

impl Slots {
    #[inline]
    pub(super) fn advance(&mut self, now: Nanos) {
        while self.free.front().is_some_and(|slice| slice.until <= now) {
            self.free.pop_front();
        }
    }

    #[inline]
    pub(super) fn room(&mut self, now: Nanos, n: u64) -> bool {
        self.advance(now);
        let mut found = 0;
        // A slice that begins later ends the search: nothing is skipped, so that
        // `take` can go from the front.
        for slice in self.free.iter().take_while(|slice| slice.from <= now) {
            found += slice.units;
            if found >= n {
                return true;
            }
        }
        found >= n
    }

    pub(super) fn when(&mut self, now: Nanos, n: u64) -> Option<Nanos> {
        self.advance(now);
        let (mut found, mut at) = (0_u64, now);
        for slice in &self.free {
            at = at.max(slice.from);
            found = found.saturating_add(slice.units);
            if found >= n {
                return Some(at);
            }
        }
        None
    }

    #[inline]
    pub(super) fn take(&mut self, mut n: u64) -> Nanos {
        let until = self.free.front().map_or(Nanos::MAX, |slice| slice.until);
        while n > 0 {
            let Some(slice) = self.free.front_mut() else { break };
            let taken = slice.units.min(n);
            slice.units -= taken;
            n -= taken;
            if slice.units == 0 {
                self.free.pop_front();
            }
        }
        until
    }

    pub(super) fn put(&mut self, slice: Slice) {
        let at = self.free.partition_point(|known| known.until <= slice.until);
        self.free.insert(at, slice);
    }

    #[inline]
    pub(super) fn release(&mut self, until: Nanos, n: u64) {
        if let Some(at) = self.reserved.iter().position(|&(known, _)| known == until) {
            self.reserved[at].1 = self.reserved[at].1.saturating_sub(n);
            if self.reserved[at].1 == 0 {
                self.reserved.swap_remove(at);
            }
        }
    }

    pub(crate) const fn window(&self) -> Nanos {
        self.window
    }

    pub(crate) const fn transit(&self) -> Nanos {
        self.transit
    }

    pub(crate) const fn level(&self) -> Option<Level> {
        self.level
    }

    /// Units that can still be sent.
    pub(crate) fn unsent(&self) -> u64 {
        let free: u64 = self.free.iter().map(|slice| slice.units).sum();
        free + self.reserved.iter().map(|&(_, units)| units).sum::<u64>()
    }

    /// Everything that counts or may come to count: `(dated, ends, units)`.
    pub(crate) fn counting(&mut self, now: Nanos, mut each: impl FnMut(u64, Nanos, u64)) {
        self.advance(now);
        let over = self.window.saturating_add(self.transit);
        for slice in &self.free {
            let dated = if slice.from > now { slice.dated } else { 0 };
            each(dated, slice.until.saturating_add(over), slice.units);
        }
        for &(until, units) in &self.reserved {
            each(0, until.saturating_add(over), units);
        }
        self.sent.entries(now, |ends, units| each(0, ends, units));
    }
}
