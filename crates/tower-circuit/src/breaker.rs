//! The decision, free of clocks, locks and futures.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use crate::{Mode, Reason, State, Transition, Verdict, WindowCounts, window::Window};

/// When to open by ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) window: Duration,
    pub(crate) min_calls: u64,
}

/// What the builder has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) consecutive: Option<u32>,
    pub(crate) ratio: Option<Ratio>,
    pub(crate) open_for: Duration,
    pub(crate) trials: u32,
    pub(crate) successes: u32,
}

/// Leave to make one call. It belongs to one generation, the time between two
/// transitions: what a call from an earlier one has to say is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    pub(crate) trial: bool,
}

/// A refusal: why it is open, and when to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) state: State,
    pub(crate) reason: Reason,
    pub(crate) retry_at: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// Refuses until the instant; for ever without one.
    Open {
        until: Option<Instant>,
    },
    /// At most `rules.trials` are `running`.
    HalfOpen {
        running: u32,
        successes: u32,
    },
}

/// The state machine. Its generation is the number of its transitions.
#[derive(Debug)]
pub(crate) struct Breaker {
    rules: Rules,
    phase: Phase,
    mode: Mode,
    streak: u32,
    window: Option<Window>,
    /// Why it opened last, for refusals in the half-open state.
    opened_by: Reason,
    last: Transition,
    generation: u64,
    refused: u64,
}

impl Breaker {
    pub(crate) fn new(rules: Rules, now: Instant) -> Self {
        let last = Transition {
            number: 0,
            from: State::Closed,
            to: State::Closed,
            mode: Mode::Automatic,
            reason: Reason::Started,
            at: now,
            until: None,
        };
        Self {
            phase: Phase::Closed,
            mode: Mode::Automatic,
            streak: 0,
            window: rules.ratio.map(|ratio| Window::new(ratio.window)),
            opened_by: Reason::Started,
            last,
            generation: 0,
            refused: 0,
            rules,
        }
    }

    /// Lets a call through, as a trial if half-open, or refuses it.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Pass, Refusal> {
        self.look(now)?;
        let mut trial = false;
        if let Phase::HalfOpen { running, .. } = &mut self.phase {
            *running += 1;
            trial = true;
        }
        Ok(Pass { generation: self.generation, trial })
    }

    /// Says whether a call would be let through now, and takes nothing.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), Refusal> {
        self.tick(now);
        let (state, retry_at) = match self.phase {
            Phase::Closed => return Ok(()),
            Phase::HalfOpen { running, .. } if running < self.rules.trials => return Ok(()),
            Phase::HalfOpen { .. } => (State::HalfOpen, None),
            Phase::Open { until } => (State::Open, until),
        };
        self.refused += 1;
        Err(Refusal { state, reason: self.opened_by.clone(), retry_at })
    }

    /// Records the outcome of a call.
    pub(crate) fn record(&mut self, pass: Pass, verdict: Verdict, now: Instant) {
        if pass.generation != self.generation || self.mode == Mode::Disabled {
            return;
        }
        match &mut self.phase {
            Phase::Closed => self.count(verdict, now),
            Phase::Open { .. } => {}
            Phase::HalfOpen { running, successes } => {
                *running -= 1;
                match verdict {
                    Verdict::Ignore => {}
                    Verdict::Failure => self.open(now, Reason::TrialFailed),
                    Verdict::Success => {
                        *successes += 1;
                        let successes = *successes;
                        if successes >= self.rules.successes {
                            self.close(now, Mode::Automatic, Reason::TrialsSucceeded { successes });
                        }
                    }
                }
            }
        }
    }

    /// A success when no clock is needed: no window is kept, and the call was no trial.
    pub(crate) fn end_streak(&mut self, pass: Pass) {
        if pass.generation == self.generation {
            self.streak = 0;
        }
    }

    fn count(&mut self, verdict: Verdict, now: Instant) {
        let failed = match verdict {
            Verdict::Ignore => return,
            Verdict::Success => false,
            Verdict::Failure => true,
        };
        if let Some(window) = &mut self.window {
            window.add(now, failed);
        }
        self.streak = if failed { self.streak.saturating_add(1) } else { 0 };
        if self.mode == Mode::Automatic {
            if let Some(reason) = self.trips(now) {
                self.open(now, reason);
            }
        }
    }

    fn trips(&mut self, now: Instant) -> Option<Reason> {
        if self.rules.consecutive.is_some_and(|most| self.streak >= most) {
            return Some(Reason::Consecutive { failures: self.streak });
        }
        let (rule, window) = (self.rules.ratio?, self.window.as_mut()?);
        let counts = window.counts(now);
        if counts.failures == 0 || counts.calls < rule.min_calls {
            return None;
        }
        // Seven of a hundred are 0.07, whatever the last bit of the product says.
        let limit = rule.ratio * counts.calls as f64 - 1e-9;
        (counts.failures as f64 >= limit).then_some(Reason::Ratio {
            failures: counts.failures,
            calls: counts.calls,
            window: rule.window,
        })
    }

    /// Applies what time alone has changed.
    pub(crate) fn tick(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Open { until: Some(until) } if until <= now) {
            let phase = Phase::HalfOpen { running: 0, successes: 0 };
            self.turn(now, phase, Mode::Automatic, Reason::OpenTimeOver);
        }
    }

    fn open(&mut self, now: Instant, reason: Reason) {
        let until = now.checked_add(self.rules.open_for);
        self.turn(now, Phase::Open { until }, Mode::Automatic, reason);
    }

    /// Opens until `until` if that is later than now and than what holds already.
    pub(crate) fn open_until(&mut self, now: Instant, until: Instant, words: Cow<'static, str>) {
        let held = match self.phase {
            Phase::Open { until: None } => true,
            Phase::Open { until: Some(held) } => held >= until,
            Phase::Closed => self.mode != Mode::Automatic,
            Phase::HalfOpen { .. } => false,
        };
        if until > now && !held {
            let phase = Phase::Open { until: Some(until) };
            self.turn(now, phase, self.mode, Reason::Told(words));
        }
    }

    pub(crate) fn force_open(&mut self, now: Instant, time: Option<Duration>) {
        let until = time.and_then(|time| now.checked_add(time));
        self.turn(now, Phase::Open { until }, Mode::ForcedOpen, Reason::Forced);
    }

    /// Closes with a clean slate.
    pub(crate) fn close(&mut self, now: Instant, mode: Mode, reason: Reason) {
        self.streak = 0;
        if let Some(window) = &mut self.window {
            window.clear();
        }
        self.turn(now, Phase::Closed, mode, reason);
    }

    fn turn(&mut self, now: Instant, phase: Phase, mode: Mode, reason: Reason) {
        let from = self.state();
        let until = match phase {
            Phase::Open { until } => until,
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        self.phase = phase;
        self.mode = mode;
        self.generation += 1;
        let to = self.state();
        if to == State::Open {
            self.opened_by = reason.clone();
        }
        let number = self.generation;
        self.last = Transition { number, from, to, mode, reason, at: now, until };
    }

    pub(crate) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) const fn streak(&self) -> u32 {
        self.streak
    }

    /// Trials running, and trials that succeeded.
    pub(crate) const fn trials(&self) -> (u32, u32) {
        match self.phase {
            Phase::HalfOpen { running, successes } => (running, successes),
            Phase::Closed | Phase::Open { .. } => (0, 0),
        }
    }

    pub(crate) fn window(&mut self, now: Instant) -> Option<WindowCounts> {
        let counts = self.window.as_mut()?.counts(now);
        Some(WindowCounts { calls: counts.calls, failures: counts.failures })
    }

    pub(crate) const fn keeps_window(&self) -> bool {
        self.window.is_some()
    }

    /// The newest transition; number 0 if there was none.
    pub(crate) const fn last(&self) -> &Transition {
        &self.last
    }
}
