//! Counts of the last while, in ten slots. Free of clocks and locks.

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::config::DAY;

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

/// A ring of ten slots, and their sum.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    width: Duration,
    slots: [Sum; SLOTS],
    current: usize,
    /// When the current slot ends; `None` until the first record.
    ends: Option<Instant>,
    sum: Sum,
}

impl Ring {
    /// `length` is the whole window, at least ten nanoseconds.
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            width: (length / SLOTS as u32).max(Duration::from_nanos(1)),
            slots: [Sum::default(); SLOTS],
            current: 0,
            ends: None,
            sum: Sum::default(),
        }
    }

    /// Adds to the slot that runs; [`turn`](Self::turn) comes first.
    pub(crate) fn add(&mut self, one: Sum) {
        self.slots[self.current].add(one);
        self.sum.add(one);
    }

    /// The slot that runs.
    pub(crate) const fn current(&self) -> usize {
        self.current
    }

    /// What all slots hold, as of the last turn.
    pub(crate) const fn sum(&self) -> Sum {
        self.sum
    }

    /// What the older and the newer half hold, as of the last turn.
    pub(crate) fn halves(&self) -> (Sum, Sum) {
        let (mut older, mut newer) = (Sum::default(), Sum::default());
        for age in 0..SLOTS {
            let slot = self.slots[(self.current + SLOTS - age) % SLOTS];
            if age < SLOTS / 2 { newer.add(slot) } else { older.add(slot) }
        }
        (older, newer)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.slots = [Sum::default(); SLOTS];
        self.sum = Sum::default();
        self.ends = None;
    }

    /// Lets go of what is too old. Returns how many slots ended, or [`SLOTS`] if nothing is left.
    ///
    /// A `now` that lies before the current slot, as when two threads race for the
    /// lock, belongs to the current slot.
    pub(crate) fn turn(&mut self, now: Instant) -> usize {
        match self.ends {
            Some(ends) if now < ends => 0,
            Some(ends) => self.advance(now, ends),
            None => {
                self.ends = now.checked_add(self.width);
                0
            }
        }
    }

    #[cold]
    fn advance(&mut self, now: Instant, ends: Instant) -> usize {
        let late = now.duration_since(ends).as_nanos();
        let width = self.width.as_nanos();
        // The current slot ended `whole` widths and a bit ago.
        let (whole, past) = (late / width, late % width);
        let steps = usize::try_from(whole + 1).unwrap_or(SLOTS).min(SLOTS);
        if steps == SLOTS {
            self.clear();
        } else {
            for _ in 0..steps {
                self.current = (self.current + 1) % SLOTS;
                self.sum.subtract(mem::take(&mut self.slots[self.current]));
            }
        }
        // `past` is less than a width, and a width is at most a tenth of a day.
        let left = self.width - Duration::from_nanos(u64::try_from(past).unwrap_or(0));
        self.ends = now.checked_add(left);
        steps
    }
}
