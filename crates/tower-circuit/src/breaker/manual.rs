//! What an operator does to a circuit.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::{Breaker, Phase};
use crate::{Mode, Reason, Snapshot, State};

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

    pub(crate) fn snapshot(&self, name: &str, now: Instant, taken_at_ms: u64) -> Snapshot {
        let open_left = match self.phase {
            Phase::Open { until } => until.map(|until| until.saturating_duration_since(now)),
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        Snapshot {
            version: Snapshot::VERSION,
            name: name.to_owned(),
            taken_at_ms,
            state: self.state(),
            mode: self.mode,
            open_left,
            opened_by: self.opened_by().map_or(Reason::Started, |opened| opened.reason.clone()),
            consecutive_failures: self.streak,
            openings: self.openings,
            open_time: self.open_time,
            refused: self.refused,
            let_pass: self.let_pass,
            transitions: self.generation,
        }
    }

    pub(crate) fn restore(&mut self, snapshot: &Snapshot, now: Instant, left: Option<Duration>) {
        let phase = match snapshot.state {
            State::Closed => Phase::Closed,
            State::HalfOpen => Phase::HalfOpen { successes: 0 },
            State::Open => {
                let until = left.and_then(|left| now.checked_add(left));
                // Only an operator holds it open without end, whatever a file says.
                let endless = until.is_none() && snapshot.mode != Mode::ForcedOpen;
                Phase::Open { until: if endless { Some(now) } else { until } }
            }
        };
        let mode = match snapshot.mode {
            Mode::Automatic | Mode::Observing => self.base,
            held => held,
        };
        // Numbers go on from the greater of the two, so that none comes twice.
        self.generation = self.generation.max(snapshot.transitions);
        self.streak = snapshot.consecutive_failures;
        self.openings = snapshot.openings;
        self.open_time = snapshot.open_time;
        self.refused = snapshot.refused;
        self.let_pass = snapshot.let_pass;
        self.turn(now, phase, mode, Reason::Restored);
        let opened = self.opened(snapshot.opened_by.clone());
        if let Some(past) = &mut self.past {
            past.opened = opened;
        }
        if let Some(tally) = &mut self.tally {
            tally.clear();
        }
    }
}
