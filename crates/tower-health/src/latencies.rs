//! A histogram of latencies in bounded memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Ten minutes in microseconds. What took longer counts as ten minutes.
const LONGEST: u64 = 600_000_000;

/// The first so many are counted, so that no sum of ten runs over.
const MOST: u64 = 1 << 28;

/// Counts by latency, right to one part in a hundred. It knows microseconds up to ten minutes.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Histogram<u32>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let counts = Histogram::new_with_bounds(1, LONGEST, 2);
        Self { counts: counts.expect("the bounds are in order") }
    }

    #[inline]
    pub(crate) fn record(&mut self, took: Duration) {
        if self.counts.len() < MOST {
            let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).min(LONGEST);
            self.counts.saturating_record(micros);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Cannot fail: the bounds of all are the same.
        let _ = self.counts.add(&other.counts);
    }

    /// Takes away what was once added.
    pub(crate) fn subtract(&mut self, other: &Self) {
        // Cannot fail: it was added, and nothing has run over.
        let _ = self.counts.subtract(&other.counts);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.reset();
    }

    /// The least latency that this part of all counted, in percent, did not exceed.
    pub(crate) fn percentile(&self, percent: u32) -> Duration {
        let highest = self.counts.value_at_percentile(percent.into());
        Duration::from_micros(self.counts.median_equivalent(highest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_count_there_is_no_latency() {
        assert_eq!(Latencies::new().percentile(99), Duration::ZERO);
    }

    #[test]
    fn the_longest_stands_for_all_that_is_longer() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::MAX);
        let longest = latencies.percentile(50).as_micros();
        assert!(longest.abs_diff(LONGEST.into()) * 100 <= LONGEST.into(), "{longest}");
    }

    #[test]
    fn no_sum_of_ten_runs_over() {
        let mut one = Latencies::new();
        one.counts.saturating_record_n(7, MOST as u32 - 1);
        for _ in 0..3 {
            one.record(Duration::from_micros(7));
        }
        assert_eq!(one.counts.len(), MOST);
        let mut all = one.clone();
        (1..10).for_each(|_| all.add(&one));
        assert_eq!(all.counts.count_at(7), 10 * MOST as u32);
        (0..9).for_each(|_| all.subtract(&one));
        assert_eq!((all.counts.len(), all.percentile(99)), (MOST, Duration::from_micros(7)));
    }

    proptest! {
        #[test]
        fn a_latency_is_right_to_a_part_in_a_hundred(micros in 0..=LONGEST) {
            let mut latencies = Latencies::new();
            latencies.record(Duration::from_micros(micros));
            let told = u64::try_from(latencies.percentile(50).as_micros()).unwrap();
            prop_assert!(told.abs_diff(micros) * 100 <= micros, "{} {}", told, micros);
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
