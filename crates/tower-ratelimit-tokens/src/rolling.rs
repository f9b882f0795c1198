//! Pure: at most `limit` units in any window of a given length.
//!
//! Spent units sit in a ring of time buckets by the moment at which they stop
//! counting. That moment is rounded up to the end of a bucket, so rounding
//! costs up to one bucket of time and never lets one unit too many through.

use std::time::Duration;

use crate::{
    budget::{Fit, Sight, Slot},
    foreign::Foreign,
    moment::{Nanos, nanos},
    ring::Ring,
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
    /// Units that stop counting at `tick << shift`.
    ring: Ring,
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
    /// What others have spent, ever.
    foreign: u64,
    /// What others spend; none until that has been seen.
    others: Option<Box<Foreign>>,
}

impl Rolling {
    pub(crate) fn new(
        limit: u64,
        window: Duration,
        transit: Option<Duration>,
        even: bool,
        resolution: Duration,
        sparse: bool,
    ) -> Self {
        let (window, transit) = (nanos(window), transit.map(nanos));
        // The greatest power of two of nanoseconds within the resolution, so
        // that a division becomes a shift.
        let shift = nanos(resolution).max(1).ilog2();
        let longest = window.saturating_add(transit.unwrap_or(0));
        Self {
            limit,
            window,
            transit,
            even: even.then(|| Even::new(limit, window, 0)),
            ring: Ring::new((longest >> shift) + 3, sparse),
            shift,
            passed: 0,
            in_ring: 0,
            reserved: 0,
            total: 0,
            newest: 0,
            foreign: 0,
            others: None,
        }
    }

    /// Takes out of the ring what has stopped counting by `now`.
    #[inline]
    fn advance(&mut self, now: Nanos) {
        let target = now >> self.shift;
        if target > self.passed || self.others.is_some() {
            self.advance_to(now, target);
        }
    }

    #[inline(never)]
    fn advance_to(&mut self, now: Nanos, target: u64) {
        if target > self.passed {
            self.in_ring -= self.ring.expire(self.passed, target, self.in_ring);
            self.passed = target;
        }
        if let Some(others) = &mut self.others {
            others.advance(now, self.window, target);
        }
    }

    /// The first tick at which something that counts until `until` is over.
    fn tick(&self, until: Nanos) -> u64 {
        (until >> self.shift) + 1
    }

    /// When a request sent at `at` stops counting if no answer comes.
    fn unanswered(&self, at: Nanos) -> Nanos {
        at.saturating_add(self.window).saturating_add(self.transit.unwrap_or(0))
    }

    #[inline(always)]
    fn put(&mut self, tick: u64, n: u64) -> u64 {
        // Ticks beyond the ring cannot come from this type; from a foreign
        // `fill` they are cut to the longest time that it can hold.
        let tick = tick.max(self.passed + 1).min(self.passed + self.ring.longest());
        self.ring.put(tick, n);
        self.in_ring += n;
        tick
    }

    /// What is to be kept free for others besides so many units that they hold.
    fn expected_beside(&self, held: u64) -> u64 {
        // Whatever others do, a slot is left for us.
        let most = self.limit.saturating_sub(1);
        self.others.as_ref().map_or(0, |others| others.expected(held).min(most))
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
        self.occupied() + n <= self.limit && (self.others.is_none() || self.room_beside_others(n))
    }

    /// A call that alone is larger than what others leave is not refused for ever.
    #[cold]
    fn room_beside_others(&self, n: u64) -> bool {
        let held = self.others.as_deref().map_or(0, Foreign::held);
        let expected = self.expected_beside(held).min(self.limit.saturating_sub(n));
        self.occupied() + n + expected <= self.limit
    }

    #[inline]
    pub(crate) fn reserve(&mut self, now: Nanos, n: u64) {
        self.pace(now, n);
        self.reserved += n;
    }

    #[inline]
    fn pace(&mut self, now: Nanos, n: u64) {
        if let Some(even) = &mut self.even {
            even.due = even.due.max(now).saturating_add(n.saturating_mul(even.gap));
        }
    }

    /// `reserve` and `sent` in one, right after `room`.
    #[inline(always)]
    pub(crate) fn spend(&mut self, now: Nanos, n: u64) {
        self.pace(now, n);
        self.put(self.tick(self.unanswered(now)), n);
        self.total += n;
    }

    pub(crate) fn unreserve(&mut self, n: u64) {
        if let Some(even) = &mut self.even {
            // The gap may be another by now.
            even.due = even.due.saturating_sub(n.saturating_mul(even.gap));
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

    /// `reserve` and `sent` in one, right after `room`.
    #[inline]
    pub(crate) fn take(&mut self, now: Nanos, n: u64) -> u64 {
        self.spend(now, n);
        self.total - self.in_ring
    }

    pub(crate) const fn is_even(&self) -> bool {
        self.even.is_some()
    }

    pub(crate) const fn needs_answer(&self) -> bool {
        self.transit.is_some()
    }

    /// As `answered`, of a request that cost what was paid: its slot is free sooner.
    #[inline]
    pub(crate) fn paid(&mut self, now: Nanos, n: u64, sent_at: Nanos) {
        if self.transit.is_some() {
            self.advance(now);
            let old = self.tick(self.unanswered(sent_at));
            let new = self.tick(now.saturating_add(self.window));
            // An old one that is over lies before the new one.
            if new < old {
                self.ring.bring_forward(old, new, n);
            }
        }
    }

    pub(crate) fn answered(&mut self, now: Nanos, slot: &Slot, actual: u64) {
        if self.transit.is_none() && actual == slot.n {
            return; // it counts as it did
        }
        self.advance(now);
        let old = self.tick(self.unanswered(slot.sent_at));
        if old > self.passed {
            self.in_ring -= self.ring.take(old, slot.n);
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
            let tick = self.put(self.tick(now.saturating_add(self.window)), foreign);
            self.total += foreign;
            self.foreign += foreign;
            let (longest, passed) = (self.ring.longest(), self.passed);
            let others =
                self.others.get_or_insert_with(|| Box::new(Foreign::new(longest, passed, now)));
            others.put(tick, foreign);
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
        let others = self.others.as_deref();
        let mut held = others.map_or(0, Foreign::held);
        let mut occupied = self.occupied();
        let fits = |occupied: u64, held: u64| {
            occupied + rest + self.expected_beside(held).min(self.limit - rest) <= self.limit
        };
        if fits(occupied, held) {
            return Some(now);
        }
        // What is expected of others may be less once a window has passed.
        let turn = others.filter(|others| others.expected(held) > 0);
        let turn = turn.map(|others| others.next_turn(self.window).max(now + 1));
        for (tick, n) in self.ring.after(self.passed) {
            // Others' units that go make room for others' units that come, but for what
            // is left to us whatever they do.
            occupied -= n;
            held -= others.map_or(0, |others| others.at(tick)).min(n);
            if fits(occupied, held) {
                let at = (tick << self.shift).max(now);
                return Some(turn.map_or(at, |turn| at.min(turn)));
            }
        }
        turn
    }

    /// When `n` more units fit after `ahead` others have been admitted.
    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64, sight: Sight) -> Fit {
        self.advance(now);
        if n > self.limit {
            return Fit::Never;
        }
        let total = (ahead + n).max(1);
        let rounds = self.rounds(total);
        let mut at = match self.free_at(now, total - rounds * self.limit) {
            // At best, an answer comes now.
            Some(at) if sight == Sight::Soonest && self.transit.is_some() => {
                at.min(now.saturating_add(self.window))
            }
            Some(at) => at,
            None if sight == Sight::Soonest => now,
            None => return Fit::Event,
        };
        let round = match sight {
            Sight::Latest => self.unanswered(0),
            Sight::Soonest | Sight::Likely => self.window,
        };
        at = at.saturating_add(rounds.saturating_mul(round));
        if let Some(even) = &self.even {
            let due = even.due.max(now).saturating_add(ahead.saturating_mul(even.gap));
            at = at.max(due.saturating_sub(even.tolerance));
        }
        if at <= now { Fit::Now } else { Fit::At(at) }
    }

    /// What was sent and still counts: when it stops counting, and how much.
    pub(crate) fn entries(&mut self, now: Nanos, mut each: impl FnMut(Nanos, u64)) {
        self.advance(now);
        for (tick, units) in self.ring.after(self.passed) {
            each(tick << self.shift, units);
        }
    }

    /// How many windows full of others go before the last of `total` units.
    const fn rounds(&self, total: u64) -> u64 {
        total.saturating_sub(1) / self.limit
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

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&mut self, now: Nanos) -> bool {
        self.seen(now) == 0 && self.others.as_ref().is_none_or(|others| others.at_rest())
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
