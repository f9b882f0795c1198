//! Who may call, and who is refused.

use tokio::time::Instant;

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Breaker, Moment, Pass, Phase, Stamp};
use crate::{Mode, Open, Reason, State, error::Opened};

impl Breaker {
    /// Lets a call through, as a trial if half-open, or refuses it.
    pub(crate) fn admit(&mut self, at: Moment) -> Result<Pass, Open> {
        self.tick(at);
        let trial = match self.closed_to_all() {
            None if self.state() == State::HalfOpen => Some(self.trials.begin(at.now, true)),
            None => None,
            Some(retry_at) => self.refuse(at.now, retry_at).map(|()| None)?,
        };
        Ok(self.pass(trial, self.stamp(at.now)))
    }

    /// As `look` for who waits and is not refused: when to look again, if that is known.
    pub(crate) fn glance(&mut self, at: Moment) -> Result<(), Option<Instant>> {
        self.tick(at);
        match self.closed_to_all() {
            Some(retry_at) if self.mode != Mode::Observing => Err(retry_at),
            _ => Ok(()),
        }
    }

    /// As `glance`, and takes a trial place if half-open.
    pub(crate) fn reserve(&mut self, at: Moment) -> Result<Option<Pass>, Option<Instant>> {
        self.glance(at)?;
        let free = self.state() == State::HalfOpen && self.trials.running() < self.rules.trials;
        let trial = free.then(|| self.trials.begin(at.now, false));
        Ok(trial.map(|trial| self.pass(Some(trial), None)))
    }

    /// Turns what was reserved into leave to make the call; asks anew if it was lost.
    pub(crate) fn send(&mut self, pass: Pass, at: Moment) -> Result<Pass, Open> {
        let current = pass.generation == self.generation;
        match pass.trial {
            Some(trial) if current && self.trials.send(trial, at.now) => {
                Ok(Pass { began: self.stamp(at.now), ..pass })
            }
            _ => self.admit(at),
        }
    }

    /// Lets a trial through although the open time is not over, unless an operator holds the circuit open.
    pub(crate) fn probe(&mut self, at: Moment) -> Result<Pass, Open> {
        self.tick(at);
        if self.state() == State::Open && self.mode == self.base {
            self.turn(at.now, Phase::HalfOpen { successes: 0 }, self.base, Reason::Probed);
        }
        self.admit(at)
    }

    /// Says whether a call would be let through now, and takes nothing.
    pub(crate) fn look(&mut self, at: Moment) -> Result<(), Open> {
        self.tick(at);
        match self.closed_to_all() {
            // Whoever looks will ask, and a dry run counts it then.
            Some(retry_at) if self.mode != Mode::Observing => self.refuse(at.now, retry_at),
            _ => Ok(()),
        }
    }

    fn pass(&self, trial: Option<NonZeroU32>, began: Option<Stamp>) -> Pass {
        Pass { generation: self.generation, trial, began, timed: self.rules.times_ends() }
    }

    fn stamp(&self, now: Instant) -> Option<Stamp> {
        self.rules.slow.map(|_| Stamp::new(self.rules.epoch, now))
    }

    /// Whether there is no room for anybody: until when, if that is known.
    fn closed_to_all(&self) -> Option<Option<Instant>> {
        match self.phase {
            Phase::Closed => None,
            Phase::HalfOpen { .. } if self.trials.running() < self.rules.trials => None,
            Phase::HalfOpen { .. } => Some(None),
            Phase::Open { until } => Some(until),
        }
    }

    /// What it opened by last, if it ever did.
    pub(super) fn opened_by(&self) -> Option<&Arc<Opened>> {
        self.past.as_ref().map(|past| &past.opened)
    }

    fn refuse(&mut self, now: Instant, retry_at: Option<Instant>) -> Result<(), Open> {
        if self.mode == Mode::Observing {
            self.let_pass += 1;
            return Ok(());
        }
        self.refused += 1;
        let opened = match self.opened_by() {
            Some(opened) => Arc::clone(opened),
            None => self.opened(Reason::Started),
        };
        Err(Open { opened, state: self.state(), refused_at: now, retry_at })
    }
}
