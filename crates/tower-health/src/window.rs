//! Outcomes and latencies of the last while, in ten slots. Free of clocks and locks.

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::{config::DAY, latencies::Latencies};

/// How many slots share the window. The oldest tenth leaves at once.
pub(crate) const SLOTS: usize = 10;

/// What was counted in one slot, half the window, or all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) calls: u64,
    pub(crate) bad: u64,
    pub(crate) nanos: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bad += other.bad;
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    fn subtract(&mut self, other: Self) {
        self.calls -= other.calls;
        self.bad -= other.bad;
        self.nanos = self.nanos.saturating_sub(other.nanos);
    }

    pub(crate) fn error_rate(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.bad as f64 / self.calls as f64 }
    }

    pub(crate) fn average(&self) -> Duration {
        Duration::from_nanos(self.nanos.checked_div(self.calls).unwrap_or(0))
    }
}

/// A day at most, so that a few absurd ones do not fill the sum for good.
pub(crate) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.min(DAY).as_nanos()).unwrap_or(u64::MAX)
}

/// The quantiles of a window that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

#[derive(Debug)]
struct Slot {
    sum: Sum,
    latencies: Latencies,
}

/// A ring of ten slots. A record touches one slot and the sum; only when a
/// slot ends is anything added up, so that quantiles merge two histograms and not ten.
#[derive(Debug)]
pub(crate) struct Window {
    width: Duration,
    slots: Vec<Slot>,
    current: usize,
    /// When the current slot ends; `None` until the first record.
    ends: Option<Instant>,
    sum: Sum,
    /// All slots but the current one.
    past: Latencies,
}

impl Window {
    /// `length` is the whole window, at least ten nanoseconds.
    pub(crate) fn new(length: Duration) -> Self {
        let slot = || Slot { sum: Sum::default(), latencies: Latencies::new() };
        Self {
            width: (length / SLOTS as u32).max(Duration::from_nanos(1)),
            slots: (0..SLOTS).map(|_| slot()).collect(),
            current: 0,
            ends: None,
            sum: Sum::default(),
            past: Latencies::new(),
        }
    }

    /// Adds one outcome. A `now` that lies before the current slot, as when two
    /// threads race for the lock, is counted in the current slot.
    pub(crate) fn add(&mut self, now: Instant, took: Duration, bad: bool) {
        self.turn(now);
        let one = Sum { calls: 1, bad: u64::from(bad), nanos: nanos(took) };
        let slot = &mut self.slots[self.current];
        slot.sum.add(one);
        slot.latencies.record(took);
        self.sum.add(one);
    }

    /// What was counted up to `now`.
    pub(crate) fn sum(&mut self, now: Instant) -> Sum {
        self.turn(now);
        self.sum
    }

    /// What the older and the newer half of the window hold.
    pub(crate) fn halves(&mut self, now: Instant) -> (Sum, Sum) {
        self.turn(now);
        let (mut older, mut newer) = (Sum::default(), Sum::default());
        for age in 0..SLOTS {
            let slot = &self.slots[(self.current + SLOTS - age) % SLOTS];
            if age < SLOTS / 2 { newer.add(slot.sum) } else { older.add(slot.sum) }
        }
        (older, newer)
    }

    /// `None` if the window is empty.
    pub(crate) fn quantiles(&mut self, now: Instant) -> Option<Quantiles> {
        self.turn(now);
        if self.sum.calls == 0 {
            return None;
        }
        let mut all = self.past.clone();
        all.add(&self.slots[self.current].latencies);
        let [p50, p95, p99] = [50, 95, 99].map(|percent| all.percentile(percent));
        Some(Quantiles { p50, p95, p99 })
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.sum = Sum::default();
            slot.latencies.clear();
        }
        self.past.clear();
        self.sum = Sum::default();
        self.ends = None;
    }

    fn turn(&mut self, now: Instant) {
        match self.ends {
            Some(ends) if now < ends => {}
            Some(ends) => self.advance(now, ends),
            None => self.ends = now.checked_add(self.width),
        }
    }

    #[cold]
    fn advance(&mut self, now: Instant, ends: Instant) {
        let late = now.duration_since(ends).as_nanos();
        let width = self.width.as_nanos();
        // The current slot ended `whole` widths and a bit ago.
        let (whole, past) = (late / width, late % width);
        if whole + 1 >= SLOTS as u128 {
            self.clear();
        } else {
            for _ in 0..=whole {
                self.step();
            }
        }
        // `past` is less than a width, and a width is at most a tenth of a day.
        let left = self.width - Duration::from_nanos(u64::try_from(past).unwrap_or(0));
        self.ends = now.checked_add(left);
    }

    fn step(&mut self) {
        self.past.add(&self.slots[self.current].latencies);
        self.current = (self.current + 1) % SLOTS;
        let slot = &mut self.slots[self.current];
        self.sum.subtract(mem::take(&mut slot.sum));
        self.past.subtract(&slot.latencies);
        slot.latencies.clear();
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
