//! Pure: at most `limit` units in any window of a given length.
//!
//! Spent units sit in a ring of time buckets by the moment at which they stop
//! counting. That moment is rounded up to the end of a bucket, so rounding
//! costs up to one bucket of time and never lets one unit too many through.

use std::time::Duration;

use crate::{
    budget::{Fit, Slot},
    moment::{Nanos, nanos},
};

/// Admissions one `gap` apart, with a small credit for late timers.
#[derive(Debug)]
struct Even {
    gap: Nanos,
    tolerance: Nanos,
    /// When the next unit is due; the theoretical arrival time of GCRA.
    due: Nanos,
}

impl Even {
    /// A twentieth of the limit may go out at once, at least one unit.
    fn new(limit: u64, window: Nanos, due: Nanos) -> Self {
        let gap = window / limit.max(1);
        Self { gap, tolerance: gap * (limit / 20).max(1), due }
    }
}

#[derive(Debug)]
pub(crate) struct Rolling {
    limit: u64,
    window: Nanos,
    /// Set if an answer frees a slot: how long a request is on its way at most.
    transit: Option<Nanos>,
    even: Option<Even>,
    /// `ring[tick & mask]`: units that stop counting at `tick << shift`.
    ring: Box<[u64]>,
    mask: u64,
    shift: u32,
    /// Every tick up to this one has been taken out of the ring.
    passed: u64,
    in_ring: u64,
    /// Admitted, not yet sent: holds a slot until it is.
    reserved: u64,
    /// All that was ever put into the ring.
    total: u64,
    /// The newest request whose answer was compared with the server's count.
    newest: u64,
    foreign: u64,
}

impl Rolling {
    pub(crate) fn new(
        limit: u64,
        window: Duration,
        transit: Option<Duration>,
        even: bool,
        resolution: Duration,
    ) -> Self {
        let (window, transit) = (nanos(window), transit.map(nanos));
        // The greatest power of two of nanoseconds within the resolution, so
        // that a division becomes a shift.
        let shift = nanos(resolution).max(1).ilog2();
        let longest = window.saturating_add(transit.unwrap_or(0));
        let len = ((longest >> shift) + 4).next_power_of_two();
        Self {
            limit,
            window,
            transit,
            even: even.then(|| Even::new(limit, window, 0)),
            ring: vec![0; len as usize].into_boxed_slice(),
            mask: len - 1,
            shift,
            passed: 0,
            in_ring: 0,
            reserved: 0,
            total: 0,
            newest: 0,
            foreign: 0,
        }
    }

    /// Takes out of the ring what has stopped counting by `now`.
    #[inline]
    fn advance(&mut self, now: Nanos) {
        let target = now >> self.shift;
        if target > self.passed {
            self.expire(target);
        }
    }

    fn expire(&mut self, target: u64) {
        let last = target.min(self.passed + self.ring.len() as u64);
        let mut tick = self.passed;
        while tick < last && self.in_ring > 0 {
            tick += 1;
            self.in_ring -= std::mem::take(self.bucket(tick));
        }
        self.passed = target;
    }

    fn bucket(&mut self, tick: u64) -> &mut u64 {
        &mut self.ring[(tick & self.mask) as usize]
    }

    /// The first tick at which something that counts until `until` is over.
    fn tick(&self, until: Nanos) -> u64 {
        (until >> self.shift) + 1
    }

    /// When a request sent at `at` stops counting if no answer comes.
    fn unanswered(&self, at: Nanos) -> Nanos {
        at.saturating_add(self.window).saturating_add(self.transit.unwrap_or(0))
    }

    fn put(&mut self, tick: u64, n: u64) {
        // Ticks beyond the ring cannot come from this type; from a foreign
        // `fill` they are cut to the longest time that it can hold.
        let tick = tick.clamp(self.passed + 1, self.passed + self.mask);
        *self.bucket(tick) += n;
        self.in_ring += n;
    }

    pub(crate) fn occupied(&self) -> u64 {
        self.in_ring + self.reserved
    }

    pub(crate) fn seen(&mut self, now: Nanos) -> u64 {
        self.advance(now);
        self.occupied()
    }

    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64) -> bool {
        self.advance(now);
        if let Some(even) = &self.even {
            if even.due > now + even.tolerance {
                return false;
            }
        }
        self.occupied() + n <= self.limit
    }

    #[inline]
    pub(crate) fn reserve(&mut self, now: Nanos, n: u64) {
        if let Some(even) = &mut self.even {
            even.due = even.due.max(now) + n * even.gap;
        }
        self.reserved += n;
    }

    pub(crate) fn unreserve(&mut self, n: u64) {
        if let Some(even) = &mut self.even {
            even.due = even.due.saturating_sub(n * even.gap);
        }
        self.reserved = self.reserved.saturating_sub(n);
    }

    /// Returns a mark: `total` less what counts now. The server cannot have
    /// counted more of ours at any later moment than `total` then less the mark.
    #[inline]
    pub(crate) fn sent(&mut self, now: Nanos, n: u64) -> u64 {
        self.advance(now);
        self.reserved = self.reserved.saturating_sub(n);
        self.put(self.tick(self.unanswered(now)), n);
        self.total += n;
        self.total - self.in_ring
    }

    pub(crate) const fn is_even(&self) -> bool {
        self.even.is_some()
    }

    pub(crate) const fn needs_answer(&self) -> bool {
        self.transit.is_some()
    }

    pub(crate) fn answered(&mut self, now: Nanos, slot: &Slot, actual: u64) {
        self.advance(now);
        let old = self.tick(self.unanswered(slot.sent_at));
        if old > self.passed {
            let bucket = self.bucket(old);
            let taken = slot.n.min(*bucket);
            *bucket -= taken;
            self.in_ring -= taken;
            let answered = match self.transit {
                Some(_) => self.tick(now.saturating_add(self.window)),
                None => old,
            };
            if actual > 0 {
                self.put(old.min(answered), actual);
            }
        }
        self.total = (self.total + actual).saturating_sub(slot.n);
    }

    /// Others' spending shows as less left than ours explains; it holds slots
    /// for one window.
    pub(crate) fn level(&mut self, now: Nanos, slot: Option<&Slot>, counted: u64) -> u64 {
        self.advance(now);
        let ours = match slot {
            Some(slot) if slot.seq <= self.newest => return 0,
            Some(slot) => {
                self.newest = slot.seq;
                self.total.saturating_sub(slot.mark)
            }
            None => self.in_ring,
        };
        let foreign = counted.saturating_sub(ours);
        if foreign > 0 {
            self.put(self.tick(now.saturating_add(self.window)), foreign);
            self.total += foreign;
            self.foreign += foreign;
        }
        foreign
    }

    /// The server says that nothing is left until `until`.
    pub(crate) fn fill(&mut self, now: Nanos, until: Option<Nanos>) {
        self.advance(now);
        let missing = self.limit.saturating_sub(self.occupied());
        if missing > 0 {
            let until = until.unwrap_or_else(|| now.saturating_add(self.window));
            self.put(self.tick(until), missing);
            self.total += missing;
        }
    }

    /// When `rest` more units fit, as things stand; `None` if that depends on
    /// requests that are not sent yet.
    fn free_at(&self, now: Nanos, rest: u64) -> Option<Nanos> {
        let mut missing = (self.occupied() + rest).saturating_sub(self.limit);
        if missing == 0 {
            return Some(now);
        }
        for tick in self.passed + 1..=self.passed + self.ring.len() as u64 {
            missing = missing.saturating_sub(self.ring[(tick & self.mask) as usize]);
            if missing == 0 {
                return Some((tick << self.shift).max(now));
            }
        }
        None
    }

    /// When `n` more units fit after `ahead` others have been admitted. With
    /// `floor`, no later than it could be at best: an answer may come now.
    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64, floor: bool) -> Fit {
        self.advance(now);
        if n > self.limit {
            return Fit::Never;
        }
        let total = (ahead + n).max(1);
        let rounds = (total - 1) / self.limit;
        let mut at = match self.free_at(now, total - rounds * self.limit) {
            Some(at) if floor && self.transit.is_some() => at.min(now.saturating_add(self.window)),
            Some(at) => at,
            None if floor => now,
            None => return Fit::Event,
        };
        at = at.saturating_add(rounds.saturating_mul(self.window));
        if let Some(even) = &self.even {
            let due = even.due.max(now).saturating_add(ahead.saturating_mul(even.gap));
            at = at.max(due.saturating_sub(even.tolerance));
        }
        if at <= now { Fit::Now } else { Fit::At(at) }
    }

    /// What was sent and still counts: when it stops counting, and how much.
    pub(crate) fn entries(&mut self, now: Nanos, mut each: impl FnMut(Nanos, u64)) {
        self.advance(now);
        let mut left = self.in_ring;
        for tick in self.passed + 1..=self.passed + self.ring.len() as u64 {
            if left == 0 {
                return;
            }
            let units = self.ring[(tick & self.mask) as usize];
            if units > 0 {
                left -= units;
                each(tick << self.shift, units);
            }
        }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) const fn window(&self) -> Nanos {
        self.window
    }

    pub(crate) const fn foreign(&self) -> u64 {
        self.foreign
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
        if let Some(even) = &mut self.even {
            *even = Even::new(limit, self.window, even.due);
        }
    }

    pub(crate) fn set_used(&mut self, now: Nanos, used: u64) {
        self.advance(now);
        let missing = used.saturating_sub(self.in_ring);
        if missing > 0 {
            self.put(self.tick(now.saturating_add(self.window)), missing);
            self.total += missing;
        }
    }
}
