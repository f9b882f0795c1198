//! Outcomes and latencies of the last while, in ten slots. Free of clocks and locks.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    latencies::Latencies,
    ring::{Ring, SLOTS, Sum, nanos},
};

/// The quantiles of a window that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

/// A ring with a histogram to each slot. A record touches one slot and the sum; only when a
/// slot ends is anything added up, so that quantiles merge two histograms and not ten.
#[derive(Debug)]
pub(crate) struct Window {
    ring: Ring,
    latencies: Vec<Latencies>,
    /// All slots but the current one.
    past: Latencies,
}

impl Window {
    /// `length` is the whole window, at least ten nanoseconds.
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            ring: Ring::new(length),
            latencies: (0..SLOTS).map(|_| Latencies::new()).collect(),
            past: Latencies::new(),
        }
    }

    /// Adds one outcome.
    pub(crate) fn add(&mut self, now: Instant, took: Duration, bad: bool) {
        self.turn(now);
        self.ring.add(Sum { calls: 1, bad: u64::from(bad), nanos: nanos(took) });
        self.latencies[self.ring.current()].record(took);
    }

    /// What was counted up to `now`.
    pub(crate) fn sum(&mut self, now: Instant) -> Sum {
        self.turn(now);
        self.ring.sum()
    }

    /// What the older and the newer half of the window hold.
    pub(crate) fn halves(&mut self, now: Instant) -> (Sum, Sum) {
        self.turn(now);
        self.ring.halves()
    }

    /// `None` if the window is empty.
    pub(crate) fn quantiles(&mut self, now: Instant) -> Option<Quantiles> {
        self.turn(now);
        if self.ring.sum().calls == 0 {
            return None;
        }
        let mut all = self.past.clone();
        all.add(&self.latencies[self.ring.current()]);
        let [p50, p95, p99] = [50, 95, 99].map(|percent| all.percentile(percent));
        Some(Quantiles { p50, p95, p99 })
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.ring.clear();
        self.forget();
    }

    fn forget(&mut self) {
        self.latencies.iter_mut().for_each(Latencies::clear);
        self.past.clear();
    }

    fn turn(&mut self, now: Instant) {
        match self.ring.turn(now) {
            0 => {}
            SLOTS => self.forget(),
            steps => self.follow(steps),
        }
    }

    /// Does with the histograms what the ring did with its sums.
    #[cold]
    fn follow(&mut self, steps: usize) {
        let mut current = (self.ring.current() + SLOTS - steps) % SLOTS;
        for _ in 0..steps {
            self.past.add(&self.latencies[current]);
            current = (current + 1) % SLOTS;
            self.past.subtract(&self.latencies[current]);
            self.latencies[current].clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn quantiles_are_right_to_a_part_in_a_hundred() {
        let start = Instant::now();
        let mut window = Window::new(10 * SECOND);
        for n in 1..=1_000 {
            window.add(start + n * 9 * MILLI, n * MILLI, false);
        }
        let found = window.quantiles(start + 9_000 * MILLI).unwrap();
        for (got, exact) in [(found.p50, 500.0), (found.p95, 950.0), (found.p99, 990.0)] {
            let got = got.as_secs_f64() * 1_000.0;
            assert!((got - exact).abs() <= exact * 0.011, "{got} is not {exact}");
        }
    }

    #[test]
    fn an_hour_long_call_counts_as_ten_minutes_in_the_quantiles_only() {
        let start = Instant::now();
        let mut window = Window::new(10 * SECOND);
        window.add(start, 3_600 * SECOND, true);
        assert!(window.quantiles(start).unwrap().p99 >= 590 * SECOND);
        assert_eq!(window.sum(start).average(), 3_600 * SECOND);
    }

    #[test]
    fn what_is_older_than_the_window_is_gone() {
        let start = Instant::now();
        let mut window = Window::new(10 * SECOND);
        window.add(start, SECOND, true);
        assert_eq!(window.sum(start + 9 * SECOND).calls, 1);
        assert_eq!(window.sum(start + 10 * SECOND), Sum::default());
        assert_eq!(window.quantiles(start + 10 * SECOND), None);
    }

    proptest! {
        // Each turn of a slot is slow without optimisation.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_ring_counts_what_a_list_counts(
            length in 10_u64..100_000,
            steps in vec((0_u64..60_000, any::<bool>(), 0_u64..10_000_000), 1..120),
        ) {
            let start = Instant::now();
            let mut window = Window::new(Duration::from_micros(length));
            let width = length * 1_000 / 10;
            let mut at = 0;
            let mut list: Vec<(u64, bool, u64)> = Vec::new();
            for (step, bad, took) in steps {
                at += step * 1_000;
                let now = start + Duration::from_nanos(at);
                window.add(now, Duration::from_micros(took), bad);
                // The first record starts the first slot.
                let origin = list.first().map_or(at, |first| first.0);
                list.push((at, bad, took));
                let age = |t: u64| (at - origin) / width - (t - origin) / width;
                let mut naive = [Sum::default(); 2];
                let mut took: Vec<u64> = Vec::new();
                for (t, bad, micros) in list.iter().filter(|(t, ..)| age(*t) < 10) {
                    let half = usize::from(age(*t) < 5);
                    naive[half].add(Sum { calls: 1, bad: u64::from(*bad), nanos: micros * 1_000 });
                    took.push(*micros);
                }
                let (older, newer) = window.halves(now);
                prop_assert_eq!([older, newer], naive);
                naive[0].add(naive[1]);
                prop_assert_eq!(window.sum(now), naive[0]);
                // Slow without optimisation, so not at every step.
                if list.len() % 16 != 1 {
                    continue;
                }
                took.sort_unstable();
                let median = took[took.len().div_ceil(2) - 1] as f64;
                let p50 = window.quantiles(now).unwrap().p50.as_micros() as f64;
                prop_assert!((p50 - median).abs() <= median * 0.011 + 1.0, "{} {}", p50, median);
            }
        }
    }
}
