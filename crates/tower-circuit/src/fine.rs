//! Successes counted without the lock.

use crate::sync::{AtomicU64, Ordering};

/// Where successes wait that can change nothing but the number of calls in the window:
/// one atomic step each, until somebody takes the lock for something else and puts them
/// into it. What a success finds here holds for as long as the era lasts: a success is
/// counted in the era it has seen, or not here.
pub(crate) struct Fine {
    /// The era in the upper half, [`SHUT`], and the successes of the era.
    word: AtomicU64,
    /// Until when they belong to the newest part of the window, in the measure of
    /// [`Stamp`](crate::breaker::Stamp).
    until: AtomicU64,
}

const ERA: u64 = 1 << 32;
/// Somebody is at the window, or it wants to see each success.
const SHUT: u64 = 1 << 31;
const COUNT: u64 = SHUT - 1;

/// For ever: a window that does not go by time.
pub(crate) const ALWAYS: u64 = u64::MAX;

/// An open era, as a success has found it.
#[derive(Clone, Copy)]
pub(crate) struct Era(u64);

/// Whether one more may be added. Before the count could run over into the flag, the lock is asked for.
const fn takes(word: u64) -> bool {
    word & SHUT == 0 && word & COUNT < COUNT
}

impl Fine {
    /// Shut.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(SHUT), until: AtomicU64::new(0) }
    }

    /// The era, unless it is shut, and until when it takes successes.
    #[inline]
    pub(crate) fn era(&self) -> Option<(Era, u64)> {
        let word = self.word.load(Ordering::Acquire);
        takes(word).then(|| (Era(word), self.until.load(Ordering::Acquire)))
    }

    /// Counts one. `false` if the era is over: nothing was counted.
    #[inline]
    pub(crate) fn count(&self, Era(seen): Era) -> bool {
        let next = |now: u64| (now / ERA == seen / ERA && takes(now)).then_some(now + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    /// Ends the era and gives its successes. Only for the holder of the lock.
    pub(crate) fn shut(&self) -> u32 {
        let word = self.word.fetch_or(SHUT, Ordering::AcqRel);
        if word & SHUT == 0 { (word & COUNT) as u32 } else { 0 }
    }

    /// Begins an era. Only for the holder of the lock, who has shut the last one.
    pub(crate) fn open(&self, until: u64) {
        self.until.store(until, Ordering::Release);
        let last = self.word.load(Ordering::Relaxed) / ERA;
        self.word.store((last + 1) << 32, Ordering::Release);
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
        fine.word.fetch_or(COUNT - 1, Ordering::Relaxed);
        let (era, _) = fine.era().unwrap();
        assert!(fine.count(era));
        assert!(fine.era().is_none());
        assert!(!fine.count(era));
        assert_eq!(u64::from(fine.shut()), COUNT);
    }

    #[test]
    fn eras_are_told_apart_when_their_number_runs_over() {
        let fine = Fine::new();
        fine.word.store(!COUNT, Ordering::Relaxed);
        fine.open(ALWAYS);
        assert_eq!(fine.word.load(Ordering::Relaxed), 0);
    }
}
