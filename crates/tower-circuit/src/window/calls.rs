//! The last so many calls.

use super::Mark;
use crate::WindowCounts;

/// Two bits for each call, in a ring: the newest takes the place of the oldest.
#[derive(Debug)]
pub(crate) struct LastCalls {
    bits: Box<[u64]>,
    size: u32,
    next: u32,
    sum: WindowCounts,
}

const CALLS_PER_WORD: u32 = 32;
const FAILED: u64 = 1;
const SLOW: u64 = 2;
const ALL_FAILED: u64 = 0x5555_5555_5555_5555;

impl LastCalls {
    pub(crate) fn new(size: u32) -> Self {
        let size = size.max(1);
        let bits = vec![0; size.div_ceil(CALLS_PER_WORD) as usize].into_boxed_slice();
        Self { bits, size, next: 0, sum: WindowCounts::default() }
    }

    pub(crate) fn add(&mut self, mark: Mark) -> WindowCounts {
        let word = &mut self.bits[(self.next / CALLS_PER_WORD) as usize];
        let shift = self.next % CALLS_PER_WORD * 2;
        let old = *word >> shift;
        let new = (u64::from(mark.failed) * FAILED) | (u64::from(mark.slow) * SLOW);
        *word = (*word & !((FAILED | SLOW) << shift)) | (new << shift);
        // A place that was never taken holds zeros, so there is nothing to take off.
        self.sum.failures += u64::from(mark.failed);
        self.sum.failures -= u64::from(old & FAILED != 0);
        self.sum.slow += u64::from(mark.slow);
        self.sum.slow -= u64::from(old & SLOW != 0);
        self.sum.calls = (self.sum.calls + 1).min(u64::from(self.size));
        self.next = if self.next + 1 == self.size { 0 } else { self.next + 1 };
        self.sum
    }

    /// Adds so many that were neither failures nor slow: 32 of them in one step.
    pub(crate) fn add_fine(&mut self, calls: u32) {
        self.sum.calls = (self.sum.calls + u64::from(calls)).min(u64::from(self.size));
        let mut left = calls.min(self.size);
        while left > 0 && self.sum.failures + self.sum.slow > 0 {
            let shift = self.next % CALLS_PER_WORD;
            let step = left.min(CALLS_PER_WORD - shift).min(self.size - self.next);
            let mask = u64::MAX >> (64 - step * 2) << (shift * 2);
            let word = &mut self.bits[(self.next / CALLS_PER_WORD) as usize];
            let old = std::mem::replace(word, *word & !mask) & mask;
            self.sum.failures -= u64::from((old & ALL_FAILED).count_ones());
            self.sum.slow -= u64::from((old & ALL_FAILED << 1).count_ones());
            self.next = (self.next + step) % self.size;
            left -= step;
        }
        // What is left would take the places of others like it.
        self.next = ((u64::from(self.next) + u64::from(left)) % u64::from(self.size)) as u32;
    }

    pub(crate) const fn counts(&self) -> WindowCounts {
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        self.bits.fill(0);
        self.next = 0;
        self.sum = WindowCounts::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const FAILED: Mark = Mark { failed: true, slow: false };
    const FINE: Mark = Mark { failed: false, slow: false };

    #[test]
    fn a_hundred_thousand_successes_leave_after_as_many_calls_as_the_window_holds() {
        let mut window = LastCalls::new(100);
        for _ in 0..100_000 {
            window.add(FINE);
        }
        for failures in 1..=100 {
            window.add(FAILED);
            assert_eq!(window.counts(), WindowCounts { calls: 100, failures, slow: 0 });
        }
        window.add(FAILED);
        assert_eq!(window.counts().failures, 100);
    }

    #[test]
    fn nothing_is_left_after_clearing() {
        let mut window = LastCalls::new(3);
        for _ in 0..5 {
            window.add(Mark { failed: true, slow: true });
        }
        window.clear();
        assert_eq!(window.counts(), WindowCounts::default());
        window.add(FINE);
        assert_eq!(window.counts(), WindowCounts { calls: 1, failures: 0, slow: 0 });
    }

    proptest! {
        #[test]
        fn the_ring_of_bits_counts_what_a_list_counts(
            size in 1_u32..200,
            marks in vec((any::<bool>(), any::<bool>(), 0_u32..250), 1..400),
        ) {
            let mut window = LastCalls::new(size);
            let mut list = VecDeque::new();
            for (failed, slow, calls) in marks {
                // Several at once, if they are fine.
                let calls = if failed || slow { 1 } else { calls };
                if failed || slow {
                    window.add(Mark { failed, slow });
                } else {
                    window.add_fine(calls);
                }
                for _ in 0..calls {
                    list.push_back((failed, slow));
                    if list.len() > size as usize {
                        list.pop_front();
                    }
                }
                let naive = WindowCounts {
                    calls: list.len() as u64,
                    failures: list.iter().filter(|mark| mark.0).count() as u64,
                    slow: list.iter().filter(|mark| mark.1).count() as u64,
                };
                prop_assert_eq!(window.counts(), naive);
            }
        }
    }
}
