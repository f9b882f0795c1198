//! How large a page may be for the sake of time; pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::hold::Hold;

/// So many pages of the new size show whether it was of use to shrink.
const PAGES_TO_TELL: u32 = 3;

/// Bounds pages so that one takes no longer than it may.
///
/// It shrinks with the first page that took too long, and at most to `floor`, below which a row
/// would be too dear. If smaller pages take as long all the same, the time is not a matter of
/// size: pages are as large as before, and for long nothing more is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    may_take: Option<Duration>,
    floor: u32,
    max: u32,
    rows: u32,
    hold: Hold,
    trial: Option<Trial>,
}

/// Whether it was of use to shrink.
#[derive(Clone, Copy, Debug)]
struct Trial {
    before: (u32, Duration),
    pages: u32,
    took: Duration,
}

/// What a page changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Same,
    Shrank,
    Grew,
}

impl Pace {
    pub(crate) fn new(may_take: Option<Duration>, floor: u32, max: u32, hold: Hold) -> Self {
        Self { may_take, floor: floor.min(max), max, rows: max, hold, trial: None }
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// The server's maximum, or the price of small pages, is another.
    pub(crate) fn rebound(&mut self, floor: u32, max: u32) {
        let whole = self.rows == self.max;
        (self.floor, self.max) = (floor.min(max), max);
        self.rows = if whole { max } else { self.rows.clamp(self.floor, max) };
    }

    /// A page of so many rows came after so long.
    pub(crate) fn came(&mut self, asked: u32, took: Duration, now: Instant) -> Step {
        let Some(may_take) = self.may_take else { return Step::Same };
        // Asked for before the bound fell: it says nothing new.
        if asked > self.rows {
            return Step::Same;
        }
        if let Some(step) = self.tell(asked, took, now) {
            return step;
        }
        if took > may_take && self.hold_allows_shrinking(now) {
            let share = (may_take.as_secs_f64() / took.as_secs_f64()).max(0.5);
            let rows = ((f64::from(asked) * share) as u32).max(self.floor);
            if rows < self.rows && rows < asked {
                self.trial = Some(Trial { before: (asked, took), pages: 0, took: Duration::ZERO });
                self.rows = rows;
                self.hold.shrank(now);
                return Step::Shrank;
            }
        }
        // Between half of the time and all of it nothing changes, so that it does not swing. A page
        // much smaller than it may be shows nothing.
        let telling = f64::from(asked) >= 0.9 * f64::from(self.rows);
        if took < may_take / 2 && telling {
            if self.rows == self.max {
                self.hold.at_the_top(now);
            } else if self.hold.may_grow(now) {
                self.rows = self.rows.saturating_add(self.rows.div_ceil(10)).min(self.max);
                self.hold.grew(now);
                return Step::Grew;
            }
        }
        Step::Same
    }

    /// At the maximum after a vain trial nothing is tried until the hold is over.
    fn hold_allows_shrinking(&self, now: Instant) -> bool {
        self.rows < self.max || self.hold.may_grow(now)
    }

    /// Counts the pages after a shrinking; undoes it if it was in vain.
    fn tell(&mut self, asked: u32, took: Duration, now: Instant) -> Option<Step> {
        let trial = self.trial.as_mut()?;
        let (rows, long) = trial.before;
        trial.pages += 1;
        trial.took += took;
        if trial.pages < PAGES_TO_TELL {
            return Some(Step::Same);
        }
        let mean = trial.took / PAGES_TO_TELL;
        let smaller = f64::from(asked) <= 0.8 * f64::from(rows);
        self.trial = None;
        if smaller && mean.as_secs_f64() > 0.9 * long.as_secs_f64() {
            self.rows = self.max;
            self.hold.in_vain(now);
            return Some(Step::Grew);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(floor: u32) -> Pace {
        Pace::new(Some(10 * SECOND), floor, 500, Hold::new(5 * SECOND, SECOND))
    }

    #[test]
    fn a_page_that_takes_too_long_shrinks_the_next_at_once_but_not_below_the_floor() {
        let now = Instant::now();
        let mut it = pace(1);
        assert_eq!(it.came(500, 11 * SECOND, now), Step::Shrank);
        assert_eq!(it.rows(), 454);
        let mut it = pace(1);
        it.came(500, 1000 * SECOND, now);
        assert_eq!(it.rows(), 250);
        let mut it = pace(400);
        it.came(500, 1000 * SECOND, now);
        assert_eq!(it.rows(), 400);
    }

    #[test]
    fn pages_asked_for_before_it_shrank_change_nothing() {
        let now = Instant::now();
        let mut it = pace(1);
        it.came(500, 20 * SECOND, now);
        for _ in 0..10 {
            assert_eq!(it.came(500, 20 * SECOND, now), Step::Same);
        }
        assert_eq!(it.rows(), 250);
    }

    #[test]
    fn where_smaller_pages_are_no_faster_they_are_large_again_and_stay() {
        let now = Instant::now();
        let mut it = pace(1);
        it.came(500, 20 * SECOND, now);
        for _ in 0..3 {
            it.came(it.rows(), 20 * SECOND, now);
        }
        assert_eq!(it.rows(), 500);
        for n in 0..60 {
            it.came(500, 20 * SECOND, now + 20 * SECOND * n);
            assert_eq!(it.rows(), 500);
        }
    }

    #[test]
    fn where_they_are_faster_it_settles_within_the_time_and_does_not_swing() {
        for millis in 21..200 {
            let mut now = Instant::now();
            let mut it = pace(1);
            let (mut turns, mut last) = (0, Step::Same);
            for _ in 0..2_000 {
                let took = Duration::from_millis(millis) * it.rows();
                now += took;
                let step = it.came(it.rows(), took, now);
                turns += u32::from(step != Step::Same && last != Step::Same && step != last);
                last = if step == Step::Same { last } else { step };
            }
            let took = millis * u64::from(it.rows());
            assert!((5_000..=10_000).contains(&took), "{millis} ms a row, {} rows", it.rows());
            assert_eq!(turns, 0, "{millis} ms a row");
        }
    }

    #[test]
    fn pages_that_are_quick_again_grow_slowly_to_the_maximum() {
        let mut now = Instant::now();
        let mut it = pace(1);
        it.came(500, 20 * SECOND, now);
        let mut pages = 0;
        while it.rows() < 500 {
            now += SECOND;
            it.came(it.rows(), SECOND, now);
            pages += 1;
        }
        assert!((12..=20).contains(&pages), "{pages}");
    }

    #[test]
    fn without_a_time_that_a_page_may_take_time_changes_nothing() {
        let mut it = Pace::new(None, 1, 500, Hold::new(SECOND, SECOND));
        assert_eq!(it.came(500, 1000 * SECOND, Instant::now()), Step::Same);
    }
}
