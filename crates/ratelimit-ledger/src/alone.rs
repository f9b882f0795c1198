//! Pure: what a member allows itself while the ledger cannot be reached.

use std::collections::VecDeque;

use jiff::civil::Date;
use tokio::time::Instant;

use std::time::Duration;

/// What was allowed of one budget.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    recent: VecDeque<(Instant, u64)>,
    day: Option<(Date, u64)>,
}

impl Alone {
    /// Of `want` units of a window, those that may still go; `span` is how long
    /// after its grant a unit can be in a window.
    pub(crate) fn slots(&mut self, now: Instant, span: Duration, most: u64, want: u64) -> u64 {
        while self.recent.front().is_some_and(|&(at, _)| at + span <= now) {
            self.recent.pop_front();
        }
        let taken: u64 = self.recent.iter().map(|&(_, units)| units).sum();
        let units = want.min(most.saturating_sub(taken));
        if units > 0 {
            self.recent.push_back((now, units));
        }
        units
    }

    /// Of `want` units of a day, those that may still go.
    pub(crate) fn counts(&mut self, day: Date, most: u64, want: u64) -> u64 {
        let taken = match &mut self.day {
            Some((known, taken)) if *known == day => taken,
            day_of => &mut day_of.insert((day, 0)).1,
        };
        let units = want.min(most.saturating_sub(*taken));
        *taken += units;
        units
    }
}
