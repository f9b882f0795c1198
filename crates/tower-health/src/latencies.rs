//! A histogram of latencies in bounded memory.

use std::time::Duration;

/// Values below are counted exactly; above, each power of two is cut into [`CUTS`].
const EXACT: u64 = 128;
const CUTS: u64 = 64;

/// Ten minutes in microseconds. What took longer counts as ten minutes.
const LONGEST: u64 = 600_000_000;

const CELLS: usize = index(LONGEST) + 1;

/// Counts by latency, right to one part in a hundred. It knows microseconds up to ten minutes.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    cells: Box<[u32]>,
}

const fn index(micros: u64) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    // The seven highest bits: the power of two, and the cut within it.
    let shift = (u64::BITS - micros.leading_zeros() - 7) as u64;
    (EXACT + (shift - 1) * CUTS + (micros >> shift) - CUTS) as usize
}

/// The middle of a cell.
const fn value(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index - EXACT) / CUTS + 1;
    let cut = (index - EXACT) % CUTS + CUTS;
    (cut << shift) + (1 << (shift - 1))
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { cells: vec![0; CELLS].into_boxed_slice() }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).min(LONGEST);
        let cell = &mut self.cells[index(micros)];
        *cell = cell.wrapping_add(1);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine = mine.wrapping_add(*theirs);
        }
    }

    /// Takes away what was once added.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine = mine.wrapping_sub(*theirs);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.cells.fill(0);
    }

    /// The least latency that this part of all counted, in percent, did not exceed.
    pub(crate) fn percentile(&self, percent: u64) -> Duration {
        let all: u64 = self.cells.iter().copied().map(u64::from).sum();
        let wanted = (all * percent).div_ceil(100);
        let mut passed = 0;
        for (index, count) in self.cells.iter().enumerate() {
            passed += u64::from(*count);
            if passed >= wanted {
                return Duration::from_micros(value(index));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_follow_each_other_without_gap() {
        for micros in 1..200_000 {
            let step = index(micros) - index(micros - 1);
            assert!(step <= 1, "{micros}");
        }
    }

    proptest! {
        #[test]
        fn a_cell_stands_for_its_values_to_a_part_in_a_hundred(micros in 0..=LONGEST) {
            let stands_for = value(index(micros));
            prop_assert!(stands_for.abs_diff(micros) * 100 <= micros, "{} {}", stands_for, micros);
        }

        #[test]
        fn what_is_added_can_be_taken_away(a in 0..=LONGEST, b in 0..=LONGEST) {
            let (mut one, mut two) = (Latencies::new(), Latencies::new());
            one.record(Duration::from_micros(a));
            two.record(Duration::from_micros(b));
            let before = one.percentile(50);
            one.add(&two);
            one.subtract(&two);
            prop_assert_eq!(one.percentile(50), before);
        }
    }
}
