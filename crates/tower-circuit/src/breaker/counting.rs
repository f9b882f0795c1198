//! What outcomes do to a closed circuit.

use std::time::Duration;

use tokio::time::Instant;

use super::{Breaker, Moment, Phase, Stamp};
use crate::{Mode, Reason, Throttled, Verdict, WindowCounts, fine::ALWAYS, window::Mark};

impl Breaker {
    pub(super) fn count(&mut self, verdict: Verdict, took: Duration, at: Moment) {
        let mut mark = Mark::default();
        match verdict {
            Verdict::Ignore => return,
            Verdict::Throttled if self.rules.throttled == Throttled::Ignore => return,
            Verdict::Throttled => mark.failed = true,
            Verdict::Success => self.streak = 0,
            Verdict::Failure | Verdict::Down(_) => {
                mark.failed = true;
                self.streak = self.streak.saturating_add(1);
            }
        }
        mark.slow = self.rules.is_slow(took);
        let counts = self.add(at.now, mark);
        if matches!(self.mode, Mode::Automatic | Mode::Observing) {
            if let Some(reason) = self.trips(counts) {
                self.open(at, reason);
            }
        }
    }

    /// Adds it to the window, and gives what that holds then.
    pub(super) fn add(&mut self, now: Instant, mark: Mark) -> Option<WindowCounts> {
        self.tally.as_mut().map(|tally| tally.add(now, mark))
    }

    /// Adds successes that [`leaves_fine_ones_alone`](Self::leaves_fine_ones_alone) allowed.
    pub(crate) fn add_fine(&mut self, successes: u32) {
        if let (Some(tally), 1..) = (&mut self.tally, successes) {
            tally.add_fine(successes);
        }
    }

    /// Until when quick successes of this generation change nothing but the number of
    /// calls in the window: they end no row of failures, and no ratio is reached that
    /// the next outcome would have to see, be it because others have left the window
    /// since the last one, or because there are enough calls only with it.
    pub(crate) fn leaves_fine_ones_alone(&self) -> Option<u64> {
        let closed = matches!(self.phase, Phase::Closed) && self.mode != Mode::Disabled;
        let (counts, until) = self.tally.as_ref()?.newest()?;
        let judged = counts.failures + counts.slow == 0
            || counts.calls >= self.rules.min_calls && self.trips(Some(counts)).is_none();
        let until = until.map_or(ALWAYS, |until| Stamp::new(self.rules.epoch, until).as_word());
        (closed && self.streak == 0 && judged).then_some(until)
    }

    fn trips(&self, counts: Option<WindowCounts>) -> Option<Reason> {
        let rules = &self.rules;
        if rules.consecutive.is_some_and(|most| self.streak >= most) {
            return Some(Reason::Consecutive { failures: self.streak });
        }
        let WindowCounts { calls, failures, slow } = counts?;
        if calls < rules.min_calls {
            return None;
        }
        // Seven of a hundred are 0.07, whatever the last bit of the product says.
        let reached =
            |part: u64, ratio: f64| part > 0 && part as f64 >= ratio * calls as f64 - 1e-9;
        let window = rules.window;
        if rules.failure_ratio.is_some_and(|ratio| reached(failures, ratio)) {
            return Some(Reason::FailureRatio { failures, calls, window });
        }
        let limit = rules.slow.filter(|limit| reached(slow, limit.ratio))?;
        Some(Reason::SlowRatio { slow, calls, window, from: limit.from })
    }
}
