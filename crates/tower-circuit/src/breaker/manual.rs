//! What an operator does to a circuit.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::{Breaker, Phase};
use crate::{Mode, Reason, State};

impl Breaker {
    /// Opens until `until` if that is later than now and than what holds already.
    pub(crate) fn open_until(&mut self, now: Instant, until: Instant, words: Cow<'static, str>) {
        if until > now && !self.held_until(until) {
            let mode = if self.state() == State::Open { self.mode } else { self.base };
            self.turn(now, Phase::Open { until: Some(until) }, mode, Reason::Told(words));
        }
    }

    pub(crate) fn force_open(&mut self, now: Instant, time: Option<Duration>) {
        let until = time.and_then(|time| now.checked_add(time));
        self.turn(now, Phase::Open { until }, Mode::ForcedOpen, Reason::Forced);
    }

    pub(crate) fn force_closed(&mut self, now: Instant) {
        self.start_over(now, Mode::ForcedClosed, Reason::Forced);
    }

    pub(crate) fn disable(&mut self, now: Instant) {
        self.start_over(now, Mode::Disabled, Reason::Disabled);
    }

    pub(crate) fn reset(&mut self, now: Instant) {
        self.start_over(now, self.base, Reason::Reset);
    }

    /// From now on only looks on, or enforces.
    pub(crate) fn rebase(&mut self, now: Instant, base: Mode) {
        if self.base != base {
            self.base = base;
            self.start_over(now, base, Reason::Reset);
        }
    }

    fn start_over(&mut self, now: Instant, mode: Mode, reason: Reason) {
        self.openings = 0;
        self.open_time = Duration::ZERO;
        self.close(now, mode, reason);
    }
}
