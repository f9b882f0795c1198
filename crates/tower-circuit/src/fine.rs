//! Successes counted without the lock.

use std::sync::OnceLock;

use crate::sync::{AtomicU64, Ordering, SPREAD_AT_ONCE, lane};

/// Where successes wait that can change nothing but the number of calls in the window:
/// one atomic step each, until somebody takes the lock for something else and puts them
/// into it. What a success finds here holds for as long as the era lasts: a success is
/// counted in the era it has seen, or not here.
///
/// Threads that get in each other's way are given counts of their own, once for ever.
pub(crate) struct Fine {
    /// Until when they belong to the newest part of the window, in the measure of
    /// [`Stamp`](crate::breaker::Stamp).
    until: AtomicU64,
    one: Count,
    many: OnceLock<Box<[Apart; LANES]>>,
}

/// The era in the upper half, [`SHUT`], and the successes of the era.
struct Count(AtomicU64);

/// In a cache line of its own.
#[repr(align(64))]
struct Apart(Count);

const LANES: usize = 4;

const ERA: u64 = 1 << 32;
/// Somebody is at the window, or it wants to see each success.
const SHUT: u64 = 1 << 31;
const COUNT: u64 = SHUT - 1;

/// For ever: a window that does not go by time.
pub(crate) const ALWAYS: u64 = u64::MAX;

/// An open era, as a success has found it.
#[derive(Clone, Copy)]
pub(crate) struct Era<'a> {
    count: &'a Count,
    seen: u64,
}

/// Whether one more may be added. Before the count could run over into the flag, the lock is asked for.
const fn takes(word: u64) -> bool {
    word & SHUT == 0 && word & COUNT < COUNT
}

impl Count {
    fn shut() -> Self {
        Self(AtomicU64::new(SHUT))
    }
}

impl Fine {
    /// Shut.
    pub(crate) fn new() -> Self {
        let fine = Self { until: AtomicU64::new(0), one: Count::shut(), many: OnceLock::new() };
        if SPREAD_AT_ONCE {
            fine.spread();
        }
        fine
    }

    /// The era, unless it is shut, and until when it takes successes.
    #[inline]
    pub(crate) fn era(&self) -> Option<(Era<'_>, u64)> {
        let count = match self.many.get() {
            None => &self.one,
            Some(many) => &many[lane() % LANES].0,
        };
        let seen = count.0.load(Ordering::Acquire);
        takes(seen).then(|| (Era { count, seen }, self.until.load(Ordering::Acquire)))
    }

    /// Counts one. `false` if the era is over: nothing was counted.
    #[inline]
    pub(crate) fn count(&self, Era { count, seen }: Era<'_>) -> bool {
        let mut word = seen;
        loop {
            let counted =
                count.0.compare_exchange(word, word + 1, Ordering::AcqRel, Ordering::Acquire);
            match counted {
                Ok(_) => return true,
                Err(now) if now / ERA == seen / ERA && takes(now) => {
                    // Another thread has counted since the look.
                    self.spread();
                    word = now;
                }
                Err(_) => return false,
            }
        }
    }

    /// Gives threads counts of their own. They are shut until the next era.
    #[cold]
    fn spread(&self) {
        self.many.get_or_init(|| Box::new(std::array::from_fn(|_| Apart(Count::shut()))));
    }

    fn counts(&self) -> impl Iterator<Item = &Count> {
        let many = self.many.get().into_iter().flat_map(|many| many.iter());
        std::iter::once(&self.one).chain(many.map(|Apart(count)| count))
    }

    /// Ends the era and gives its successes. Only for the holder of the lock.
    pub(crate) fn shut(&self) -> u32 {
        let mut successes = 0;
        for Count(word) in self.counts() {
            // Shut, it is written by nobody but the holder of the lock.
            if word.load(Ordering::Acquire) & SHUT == 0 {
                successes += word.fetch_or(SHUT, Ordering::AcqRel) & COUNT;
            }
        }
        // No window tells more of them from that many.
        u32::try_from(successes).unwrap_or(u32::MAX)
    }

    /// Begins an era. Only for the holder of the lock, who has shut the last one.
    pub(crate) fn open(&self, until: u64) {
        self.until.store(until, Ordering::Release);
        for Count(word) in self.counts() {
            let last = word.load(Ordering::Relaxed) / ERA;
            word.store((last + 1) << 32, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_that_is_over_takes_no_success() {
        let fine = Fine::new();
        assert!(fine.era().is_none());
        fine.open(7);
        let (era, until) = fine.era().unwrap();
        assert_eq!(until, 7);
        assert!(fine.count(era));
        // Another thread has counted since the look: still the same era.
        assert!(fine.count(era));
        assert_eq!(fine.shut(), 2);
        assert!(!fine.count(era));
        assert_eq!(fine.shut(), 0);
        fine.open(9);
        assert!(!fine.count(era), "the next era is not the one that was seen");
        assert_eq!(fine.shut(), 0);
    }

    #[test]
    fn a_full_count_goes_to_the_lock() {
        let fine = Fine::new();
        fine.open(ALWAYS);
        fine.one.0.fetch_or(COUNT - 1, Ordering::Relaxed);
        let (era, _) = fine.era().unwrap();
        assert!(fine.count(era));
        assert!(fine.era().is_none());
        assert!(!fine.count(era));
        assert_eq!(u64::from(fine.shut()), COUNT);
    }

    #[test]
    fn eras_are_told_apart_when_their_number_runs_over() {
        let fine = Fine::new();
        fine.one.0.store(!COUNT, Ordering::Relaxed);
        fine.open(ALWAYS);
        assert_eq!(fine.one.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn counts_of_their_own_are_shut_and_opened_with_all() {
        let fine = Fine::new();
        fine.open(ALWAYS);
        let (one, _) = fine.era().unwrap();
        assert!(fine.count(one));
        assert!(fine.count(one), "the second sees that somebody else was there");
        assert!(fine.era().is_none(), "the counts of their own wait for the lock");
        assert_eq!(fine.shut(), 2);
        fine.open(ALWAYS);
        let lanes: Vec<_> = fine.many.get().unwrap().iter().collect();
        for (at, Apart(count)) in lanes.iter().enumerate() {
            let era = Era { count, seen: count.0.load(Ordering::Relaxed) };
            for _ in 0..=at {
                assert!(fine.count(Era { seen: count.0.load(Ordering::Relaxed), ..era }));
            }
        }
        assert_eq!(fine.shut(), 1 + 2 + 3 + 4);
        assert!(fine.era().is_none());
        assert_eq!(fine.shut(), 0);
    }
}
