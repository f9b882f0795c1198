//! The places of the half-open state.

use std::{mem, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// The trials on their way, oldest first. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    running: Vec<Trial>,
    numbers: u32,
    freed: bool,
}

#[derive(Debug)]
struct Trial {
    number: NonZeroU32,
    began: Instant,
    /// Not if the place is only reserved.
    sent: bool,
}

impl Trials {
    pub(crate) fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn begin(&mut self, now: Instant, sent: bool) -> NonZeroU32 {
        // Round again after four billion, when nobody has the old ones any more.
        self.numbers = self.numbers.wrapping_add(1);
        let number = NonZeroU32::new(self.numbers).unwrap_or(NonZeroU32::MIN);
        self.running.push(Trial { number, began: now, sent });
        number
    }

    /// What was reserved is sent; false if the place was lost.
    pub(crate) fn send(&mut self, number: NonZeroU32, now: Instant) -> bool {
        let trial = self.running.iter_mut().find(|trial| trial.number == number);
        trial.map(|trial| (trial.began, trial.sent) = (now, true)).is_some()
    }

    /// Frees the place of a trial; false if it has lost it already.
    pub(crate) fn end(&mut self, number: NonZeroU32) -> bool {
        let place = self.running.iter().position(|trial| trial.number == number);
        self.freed |= place.is_some();
        place.map(|place| self.running.remove(place)).is_some()
    }

    /// Frees the place of one that has run, or was reserved, for `after`, and says whether it was sent.
    pub(crate) fn give_up(&mut self, now: Instant, after: Duration) -> Option<bool> {
        let hung = |trial: &Trial| now.saturating_duration_since(trial.began) >= after;
        let place = self.running.iter().position(hung)?;
        self.freed = true;
        Some(self.running.remove(place).sent)
    }

    /// Whether a place became free since the last question.
    pub(crate) fn take_freed(&mut self) -> bool {
        mem::take(&mut self.freed)
    }

    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }
}
