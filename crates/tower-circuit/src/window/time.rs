//! Ten slices of time.

use std::time::Duration;

use tokio::time::Instant;

use super::Mark;
use crate::WindowCounts;

/// How many buckets share the window. The oldest tenth leaves at once.
const BUCKETS: usize = 10;

/// One slice. Half a billion calls a second would fill it; then it stops counting.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    calls: u32,
    failures: u32,
    slow: u32,
}

/// Ten buckets in a ring and their sum. Every operation is O(1), and the common
/// one is a comparison and a few additions.
#[derive(Debug)]
pub(crate) struct TenBuckets {
    width: Duration,
    ring: [Bucket; BUCKETS],
    current: usize,
    /// When the current bucket ends; `None` until the first outcome.
    ends: Option<Instant>,
    sum: WindowCounts,
}

impl TenBuckets {
    /// `length` is the whole window. It is at least ten nanoseconds, so that no bucket is empty of time.
    pub(crate) fn new(length: Duration) -> Self {
        let width = (length / BUCKETS as u32).max(Duration::from_nanos(1));
        let (ring, sum) = Default::default();
        Self { width, ring, current: 0, ends: None, sum }
    }

    /// Adds one outcome. A `now` that lies before the current bucket, as when
    /// two threads race for the lock, is counted in the current bucket.
    pub(crate) fn add(&mut self, now: Instant, mark: Mark) -> WindowCounts {
        self.turn(now);
        let bucket = &mut self.ring[self.current];
        if bucket.calls < u32::MAX {
            bucket.calls += 1;
            bucket.failures += u32::from(mark.failed);
            bucket.slow += u32::from(mark.slow);
            self.sum.calls += 1;
            self.sum.failures += u64::from(mark.failed);
            self.sum.slow += u64::from(mark.slow);
        }
        self.sum
    }

    /// Adds so many calls to the current bucket that were neither failures nor slow.
    pub(crate) fn add_fine(&mut self, calls: u32) {
        let bucket = &mut self.ring[self.current];
        let room = calls.min(u32::MAX - bucket.calls);
        bucket.calls += room;
        self.sum.calls += u64::from(room);
    }

    /// What the window holds, and when its current bucket ends, if it has one.
    pub(crate) fn newest(&self) -> Option<(WindowCounts, Instant)> {
        self.ends.map(|ends| (self.sum, ends))
    }

    /// What the window holds at `now`.
    pub(crate) fn counts(&mut self, now: Instant) -> WindowCounts {
        // A look starts no bucket: the first outcome does.
        if self.ends.is_some() {
            self.turn(now);
        }
        self.sum
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.ring, self.sum) = Default::default();
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
        let late = now.duration_since(ends);
        let whole = late.as_nanos() / self.width.as_nanos();
        let past = late.as_nanos() % self.width.as_nanos();
        // The current bucket ended `whole` widths and a bit ago.
        if whole + 1 >= BUCKETS as u128 {
            (self.ring, self.sum) = Default::default();
        } else {
            for _ in 0..=whole {
                self.current = (self.current + 1) % BUCKETS;
                let old = std::mem::take(&mut self.ring[self.current]);
                self.sum.calls -= u64::from(old.calls);
                self.sum.failures -= u64::from(old.failures);
                self.sum.slow -= u64::from(old.slow);
            }
        }
        // `past` is less than a width, and a width is at most a tenth of a day.
        let left = self.width - Duration::from_nanos(u64::try_from(past).unwrap_or(0));
        self.ends = now.checked_add(left);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAILED: Mark = Mark { failed: true, slow: false };
    const FINE: Mark = Mark { failed: false, slow: false };

    fn counts(calls: u64, failures: u64) -> WindowCounts {
        WindowCounts { calls, failures, slow: 0 }
    }

    #[test]
    fn what_is_older_than_the_window_is_gone() {
        let start = Instant::now();
        let mut window = TenBuckets::new(10 * SECOND);
        window.add(start, FAILED);
        window.add(start + 9 * SECOND, FINE);
        assert_eq!(window.counts(start + 9 * SECOND), counts(2, 1));
        assert_eq!(window.counts(start + 10 * SECOND), counts(1, 0));
        assert_eq!(window.counts(start + 19 * SECOND), WindowCounts::default());
    }

    #[test]
    fn a_hundred_thousand_successes_weigh_nothing_a_window_later() {
        let start = Instant::now();
        let mut window = TenBuckets::new(10 * SECOND);
        for _ in 0..100_000 {
            window.add(start, FINE);
        }
        window.add(start + 11 * SECOND, FAILED);
        assert_eq!(window.counts(start + 11 * SECOND), counts(1, 1));
    }

    #[test]
    fn a_clock_reading_from_before_the_bucket_counts_in_it() {
        let start = Instant::now();
        let mut window = TenBuckets::new(10 * SECOND);
        window.add(start + 5 * SECOND, FINE);
        window.add(start + 4 * SECOND, FAILED);
        assert_eq!(window.counts(start + 5 * SECOND), counts(2, 1));
    }

    proptest! {
        #[test]
        fn the_ring_counts_what_a_list_counts(
            length in 10_u64..100_000,
            steps in vec((0_u64..60_000, any::<bool>(), any::<bool>(), 0_u32..9), 1..200),
        ) {
            let start = Instant::now();
            let mut window = TenBuckets::new(Duration::from_micros(length));
            let width = (length * 1_000) / 10;
            let mut at = 0;
            let mut list: Vec<(u64, Mark)> = Vec::new();
            for (step, failed, slow, fine) in steps {
                at += step * 1_000;
                let now = start + Duration::from_nanos(at);
                // The first outcome starts the first bucket.
                let origin = list.first().map_or(at, |first| first.0);
                let mark = Mark { failed, slow };
                window.add(now, mark);
                list.push((at, mark));
                window.add_fine(fine);
                list.extend((0..fine).map(|_| (at, FINE)));
                let current = (at - origin) / width;
                let live = list.iter().filter(|(t, _)| (t - origin) / width + 10 > current);
                let mut naive = WindowCounts::default();
                for (_, mark) in live {
                    naive.calls += 1;
                    naive.failures += u64::from(mark.failed);
                    naive.slow += u64::from(mark.slow);
                }
                prop_assert_eq!(window.counts(now), naive);
            }
        }
    }
}
