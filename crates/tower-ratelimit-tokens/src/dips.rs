//! Pure: how full a bucket has been since.
//!
//! A unit that is given back fills its bucket only as far as it was missing: had
//! it never been taken, a bucket that was full in the meantime would have spilled
//! it. So for each taking one must know the least room that there was above the
//! level at any later taking. Kept are the last few minima of the suffixes;
//! older ones are taken together, which gives back too little and never too much.

const KEPT: usize = 4;

#[derive(Debug)]
pub(crate) struct Dips {
    /// The number of the last taking.
    last: u32,
    /// Takings before which there was less room than before any later one: their
    /// numbers, and that room, which grows.
    numbers: [u32; KEPT],
    rooms: [u64; KEPT],
    len: usize,
    /// The last of those that were let go, and the least room of them.
    dropped: u32,
    least: u64,
}

impl Dips {
    pub(crate) const fn new() -> Self {
        Self { last: 0, numbers: [0; KEPT], rooms: [0; KEPT], len: 0, dropped: 0, least: u64::MAX }
    }

    /// Something is taken while there is `room` above the level. Returns the number
    /// of the taking.
    #[inline]
    pub(crate) fn take(&mut self, room: u64) -> u32 {
        self.last = self.last.wrapping_add(1);
        while self.len > 0 && self.rooms[self.len - 1] >= room {
            self.len -= 1;
        }
        if self.len == KEPT {
            (self.dropped, self.least) = (self.numbers[0], self.least.min(self.rooms[0]));
            self.numbers.rotate_left(1);
            self.rooms.rotate_left(1);
            self.len -= 1;
        }
        (self.numbers[self.len], self.rooms[self.len]) = (self.last, room);
        self.len += 1;
        self.last
    }

    /// Gives back `most` at the most of the taking of `number`: as much as there
    /// was room for at every later taking, and is now.
    pub(crate) fn give_back(&mut self, number: u32, most: u64, now: u64) -> u64 {
        let is_later = |other: u32| other.wrapping_sub(number) as i32 > 0;
        let mut worth = most.min(now);
        if self.least < u64::MAX && is_later(self.dropped) {
            worth = worth.min(self.least);
        }
        let later = (0..self.len).filter(|&at| is_later(self.numbers[at]));
        worth = later.clone().map(|at| self.rooms[at]).fold(worth, u64::min);
        // Had it not been taken, there would have been less room ever since.
        later.for_each(|at| self.rooms[at] -= worth);
        if self.least < u64::MAX && is_later(self.dropped) {
            self.least -= worth;
        }
        worth
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bucket of `FULL` that gets one unit per tick, replayed without what was
    /// given back.
    const FULL: u64 = 10;

    fn replay(takings: &[(u64, u64, bool)], now: u64) -> u64 {
        let (mut level, mut last) = (FULL, 0);
        for &(at, n, returned) in takings {
            level = (level + at - last).min(FULL);
            last = at;
            level -= if returned { 0 } else { n.min(level) };
        }
        (level + now - last).min(FULL)
    }

    proptest! {
        /// Never more than a replay of the takings that were not given back would
        /// have; exactly that while few are under way.
        #[test]
        fn a_unit_that_comes_back_fills_only_what_it_had_left(
            steps in prop::collection::vec((0..4_u64, 1..6_u64, prop::option::of(0..40_usize)), 1..60),
        ) {
            let (mut dips, mut takings, mut numbers) = (Dips::new(), vec![], vec![]);
            let (mut level, mut now) = (FULL, 0);
            for (wait, n, back) in steps {
                now += wait;
                level = (level + wait).min(FULL);
                if let Some(at) = back.filter(|&at| at < numbers.len()) {
                    let (_, n, returned) = &mut takings[at];
                    if !std::mem::replace(returned, true) {
                        level += dips.give_back(numbers[at], *n, FULL - level);
                    }
                } else if n <= level {
                    numbers.push(dips.take(FULL - level));
                    takings.push((now, n, false));
                    level -= n;
                }
                let truth = replay(&takings, now);
                prop_assert!(level <= truth);
                prop_assert!(level == truth || takings.len() > KEPT);
            }
        }
    }
}
