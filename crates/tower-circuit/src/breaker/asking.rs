//! Who may call, and who is refused.

use tokio::time::Instant;

use super::{Breaker, Moment, Pass, Phase, Refusal, Stamp};
use crate::{Mode, Reason, State};

impl Breaker {
    /// Lets a call through, as a trial if half-open, or refuses it.
    pub(crate) fn admit(&mut self, at: Moment) -> Result<Pass, Refusal> {
        self.tick(at);
        let trial = match self.refusal() {
            None if self.state() == State::HalfOpen => Some(self.trials.begin(at.now, true)),
            None => None,
            Some(refusal) => self.refuse(refusal).map(|()| None)?,
        };
        Ok(Pass { generation: self.generation, trial, began: self.stamp(at.now) })
    }

    /// As `look` for who waits and is not refused: when to look again, if that is known.
    pub(crate) fn glance(&mut self, at: Moment) -> Result<(), Option<Instant>> {
        self.tick(at);
        match self.refusal() {
            Some(refusal) if self.mode != Mode::Observing => Err(refusal.retry_at),
            _ => Ok(()),
        }
    }

    /// As `glance`, and takes a trial place if half-open.
    pub(crate) fn reserve(&mut self, at: Moment) -> Result<Option<Pass>, Option<Instant>> {
        self.glance(at)?;
        let free = self.state() == State::HalfOpen && self.trials.running() < self.rules.trials;
        let trial = free.then(|| self.trials.begin(at.now, false));
        Ok(trial.map(|trial| Pass { generation: self.generation, trial: Some(trial), began: None }))
    }

    /// Turns what was reserved into leave to make the call; asks anew if it was lost.
    pub(crate) fn send(&mut self, pass: Pass, at: Moment) -> Result<Pass, Refusal> {
        let current = pass.generation == self.generation;
        match pass.trial {
            Some(trial) if current && self.trials.send(trial, at.now) => {
                Ok(Pass { began: self.stamp(at.now), ..pass })
            }
            _ => self.admit(at),
        }
    }

    /// Lets a trial through although the open time is not over, unless an operator holds the circuit open.
    pub(crate) fn probe(&mut self, at: Moment) -> Result<Pass, Refusal> {
        self.tick(at);
        if self.state() == State::Open && self.mode == self.base {
            self.turn(at.now, Phase::HalfOpen { successes: 0 }, self.base, Reason::Probed);
        }
        self.admit(at)
    }

    /// Says whether a call would be let through now, and takes nothing.
    pub(crate) fn look(&mut self, at: Moment) -> Result<(), Refusal> {
        self.tick(at);
        match self.refusal() {
            // Whoever looks will ask, and a dry run counts it then.
            Some(refusal) if self.mode != Mode::Observing => self.refuse(refusal),
            _ => Ok(()),
        }
    }

    fn stamp(&self, now: Instant) -> Option<Stamp> {
        self.rules.slow.map(|_| Stamp::new(self.rules.epoch, now))
    }

    fn refusal(&self) -> Option<Refusal> {
        let (state, retry_at) = match self.phase {
            Phase::Closed => return None,
            Phase::HalfOpen { .. } if self.trials.running() < self.rules.trials => return None,
            Phase::HalfOpen { .. } => (State::HalfOpen, None),
            Phase::Open { until } => (State::Open, until),
        };
        Some(Refusal { state, reason: self.opened_by(), retry_at })
    }

    pub(super) fn opened_by(&self) -> Reason {
        self.past.as_ref().map_or(Reason::Started, |past| past.opened_by.clone())
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if self.mode == Mode::Observing {
            self.let_pass += 1;
            return Ok(());
        }
        self.refused += 1;
        Err(refusal)
    }
}
