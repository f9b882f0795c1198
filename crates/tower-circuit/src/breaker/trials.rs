//! The places of the half-open state.

use std::time::Duration;

use tokio::time::Instant;

/// The trials on their way, oldest first. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    running: Vec<Trial>,
    numbers: u64,
}

#[derive(Debug)]
struct Trial {
    number: u64,
    began: Instant,
    /// Not if the place is only reserved.
    sent: bool,
}

impl Trials {
    pub(crate) fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn begin(&mut self, now: Instant, sent: bool) -> u64 {
        self.numbers += 1;
        self.running.push(Trial { number: self.numbers, began: now, sent });
        self.numbers
    }

    /// What was reserved is sent; false if the place was lost.
    pub(crate) fn send(&mut self, number: u64, now: Instant) -> bool {
        let trial = self.running.iter_mut().find(|trial| trial.number == number);
        trial.map(|trial| (trial.began, trial.sent) = (now, true)).is_some()
    }

    /// Frees the place of a trial; false if it has lost it already.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let place = self.running.iter().position(|trial| trial.number == number);
        place.map(|place| self.running.remove(place)).is_some()
    }

    /// Frees the place of one that has run, or was reserved, for `after`, and says whether it was sent.
    pub(crate) fn give_up(&mut self, now: Instant, after: Duration) -> Option<bool> {
        let hung = |trial: &Trial| now.saturating_duration_since(trial.began) >= after;
        let place = self.running.iter().position(hung)?;
        Some(self.running.remove(place).sent)
    }

    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }
}
