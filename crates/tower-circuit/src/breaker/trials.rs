//! The places of the half-open state.

use std::time::Duration;

use tokio::time::Instant;

/// The trials on their way, oldest first. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    running: Vec<(u64, Instant)>,
    numbers: u64,
}

impl Trials {
    pub(crate) fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn begin(&mut self, now: Instant) -> u64 {
        self.numbers += 1;
        self.running.push((self.numbers, now));
        self.numbers
    }

    /// Frees the place of a trial; false if it has lost it already.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let place = self.running.iter().position(|(running, _)| *running == number);
        place.map(|place| self.running.remove(place)).is_some()
    }

    /// Frees the place of one trial that has run for `after`; false if there is none.
    pub(crate) fn give_up(&mut self, now: Instant, after: Duration) -> bool {
        let hung = |(_, began): &(u64, Instant)| now.saturating_duration_since(*began) >= after;
        let place = self.running.iter().position(hung);
        place.map(|place| self.running.remove(place)).is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }
}
