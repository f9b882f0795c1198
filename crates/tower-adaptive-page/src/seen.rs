//! Which positions a walk has had; pure and bounded.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::Position;

/// So many of the latest positions are known by their hash: 64 KiB and the
/// same again for the set.
const KEPT: usize = 4096;

/// Detects that a walk goes in a circle: at once, before a row comes twice, if
/// the circle has at most [`KEPT`] pages; a longer one after at most three
/// rounds, by Brent's method.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    latest: VecDeque<u64>,
    known: HashSet<u64>,
    /// A position of the past, moved up to the present after 1, 2, 4, 8 ..
    /// pages. A circle leads back to it once it lies on the circle and the
    /// circle is no longer than the time it stays.
    mark: Option<u64>,
    since_mark: u64,
    moves_after: u64,
}

impl Seen {
    /// Notes a position that is asked.
    pub(crate) fn note(&mut self, position: &Position) {
        let hash = hash(position);
        if self.known.insert(hash) {
            self.latest.push_back(hash);
            if self.latest.len() > KEPT {
                if let Some(oldest) = self.latest.pop_front() {
                    self.known.remove(&oldest);
                }
            }
        }
        self.since_mark += 1;
        if self.mark.is_none() || self.since_mark >= self.moves_after {
            self.mark = Some(hash);
            self.since_mark = 0;
            self.moves_after = self.moves_after.saturating_mul(2).max(1);
        }
    }

    /// Whether the walk is known to have been there.
    pub(crate) fn has(&self, position: &Position) -> bool {
        let hash = hash(position);
        self.mark == Some(hash) || self.known.contains(&hash)
    }
}

fn hash(position: &Position) -> u64 {
    let mut hasher = DefaultHasher::new();
    position.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages come before a circle of `length` pages, behind a tail of
    /// `tail` pages, is detected.
    fn detected_after(tail: u64, length: u64) -> u64 {
        let mut seen = Seen::default();
        for n in 0..10 * (tail + length) {
            let at = if n < tail { n } else { tail + (n - tail) % length };
            let position = Position::Offset(at);
            if seen.has(&position) {
                return n;
            }
            seen.note(&position);
        }
        panic!("a circle of {length} pages was not detected");
    }

    #[test]
    fn a_short_circle_is_detected_before_a_page_comes_twice() {
        for (tail, length) in [(0, 1), (0, 2), (3, 5), (1000, 4096), (100_000, 17)] {
            assert_eq!(detected_after(tail, length), tail + length);
        }
    }

    #[test]
    fn a_long_circle_is_detected_within_three_rounds() {
        for (tail, length) in [(0, 4097), (0, 10_000), (5000, 5000), (100, 100_000)] {
            let after = detected_after(tail, length);
            assert!(after <= 3 * (tail + length), "{tail} {length}: {after}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut seen = Seen::default();
        for n in 0..3 * KEPT as u64 {
            seen.note(&Position::Offset(n));
        }
        assert_eq!((seen.latest.len(), seen.known.len()), (KEPT, KEPT));
    }
}
