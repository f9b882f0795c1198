//! The decision, free of clocks, randomness, locks and futures.

mod asking;
mod counting;
mod manual;
mod trials;

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use self::trials::Trials;
use crate::{
    Figures, Mode, Reason, State, Transition, Verdict, View,
    error::Opened,
    rules::Rules,
    window::{Mark, Tally},
};

/// What a decision may know of the world: the time, and a number from 0 up to but not including 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) random: fn() -> f64,
}

/// Leave to make one call. It belongs to one generation, the time between two
/// transitions: what a call from an earlier one has to say is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    /// The trial's own number, if it is one.
    pub(crate) trial: Option<NonZeroU32>,
    /// When the call began, if anybody asks how long it took.
    pub(crate) began: Option<Stamp>,
    /// Whether it matters when it ends.
    pub(crate) timed: bool,
}

impl Pass {
    /// How long the call took, if it was timed.
    pub(crate) fn took(self, now: Stamp) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.until(now))
    }
}

/// An instant in one word: nanoseconds since the epoch of its rules, and one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(NonZeroU64);

impl Stamp {
    pub(crate) fn new(epoch: Instant, now: Instant) -> Self {
        // Enough for five hundred years.
        let since = now.saturating_duration_since(epoch);
        let nanos = since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos());
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    fn until(self, now: Self) -> Duration {
        Duration::from_nanos(now.0.get().saturating_sub(self.0.get()))
    }

    pub(crate) const fn as_word(self) -> u64 {
        self.0.get()
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    /// Refuses until the instant; for ever without one.
    Open {
        until: Option<Instant>,
    },
    HalfOpen {
        successes: u32,
    },
}

#[derive(Debug)]
struct Past {
    /// Why it opened last, for refusals in the half-open state.
    opened: Arc<Opened>,
    last: Transition,
}

/// The state machine. Its generation is the number of its transitions.
#[derive(Debug)]
pub(crate) struct Breaker {
    name: Arc<str>,
    rules: Arc<Rules>,
    phase: Phase,
    mode: Mode,
    /// Who decides when nobody holds the circuit: automatic or observing.
    base: Mode,
    streak: u32,
    tally: Option<Tally>,
    trials: Trials,
    /// Openings since it last stayed closed for long, and the time of the newest.
    openings: u32,
    open_time: Duration,
    built: Instant,
    /// None before the first transition, so that the many that never open stay small.
    past: Option<Box<Past>>,
    generation: u64,
    refused: u64,
    let_pass: u64,
}

impl Breaker {
    pub(crate) fn new(name: Arc<str>, rules: Arc<Rules>, base: Mode, now: Instant) -> Self {
        Self {
            name,
            phase: Phase::Closed,
            mode: base,
            base,
            streak: 0,
            tally: rules.keeps_window().then(|| Tally::new(rules.window)),
            trials: Trials::default(),
            openings: 0,
            open_time: Duration::ZERO,
            built: now,
            past: None,
            generation: 0,
            refused: 0,
            let_pass: 0,
            rules,
        }
    }

    /// Records the outcome of a call.
    pub(crate) fn record(&mut self, pass: Pass, verdict: Verdict, at: Moment) {
        let current = pass.generation == self.generation;
        // Who was let through only because nobody enforces, and a trial that was given up, say nothing.
        let counts = current
            && match (self.phase, pass.trial) {
                (Phase::Closed, _) => true,
                (Phase::HalfOpen { .. }, Some(trial)) => self.trials.end(trial),
                (Phase::HalfOpen { .. } | Phase::Open { .. }, _) => false,
            };
        if let Verdict::Down(time) = verdict {
            // While open, anybody's word may say that it is down for longer.
            let heard = counts || self.state() == State::Open;
            if !time.is_zero() && heard && self.mode == self.base {
                return self.down(counts, time, at);
            }
        }
        if !counts || self.mode == Mode::Disabled {
            return;
        }
        let took = pass.took(Stamp::new(self.rules.epoch, at.now));
        match self.phase {
            Phase::Closed => self.count(verdict, took, at),
            Phase::HalfOpen { .. } => self.tried(verdict, took, at),
            Phase::Open { .. } => {}
        }
    }

    /// A success when no clock is needed: no window is kept, and the call was no trial.
    pub(crate) fn end_streak(&mut self, pass: Pass) {
        if pass.generation == self.generation && self.state() == State::Closed {
            self.streak = 0;
        }
    }

    fn down(&mut self, counts: bool, time: Duration, at: Moment) {
        if counts && self.state() == State::Closed {
            self.add(at.now, Mark { failed: true, slow: false });
            self.streak = self.streak.saturating_add(1);
        }
        let wait = time.min(self.rules.longest_named);
        let until = at.now.checked_add(wait + self.rules.open_for.spread((at.random)()));
        if let Some(until) = until.filter(|until| !self.held_until(*until)) {
            let phase = Phase::Open { until: Some(until) };
            self.turn(at.now, phase, self.base, Reason::Named { wait });
        }
    }

    fn tried(&mut self, verdict: Verdict, took: Duration, at: Moment) {
        let Phase::HalfOpen { successes } = &mut self.phase else { return };
        match verdict {
            Verdict::Ignore | Verdict::Throttled => {}
            Verdict::Failure | Verdict::Down(_) => self.open(at, Reason::TrialFailed),
            Verdict::Success if self.rules.is_slow(took) => {
                self.open(at, Reason::TrialSlow { took });
            }
            Verdict::Success => {
                *successes += 1;
                let successes = *successes;
                if successes >= self.rules.successes {
                    self.close(at.now, self.base, Reason::TrialsSucceeded { successes });
                }
            }
        }
    }

    /// Applies what time alone has changed.
    pub(crate) fn tick(&mut self, at: Moment) {
        match self.phase {
            Phase::Open { until: Some(until) } if until <= at.now => {
                self.turn(
                    at.now,
                    Phase::HalfOpen { successes: 0 },
                    self.base,
                    Reason::OpenTimeOver,
                );
            }
            Phase::HalfOpen { .. } => self.give_up(at),
            Phase::Open { .. } | Phase::Closed => {}
        }
    }

    /// Trials that hang count as if they had been dropped.
    fn give_up(&mut self, at: Moment) {
        let after = self.rules.trial_time;
        while let Some(sent) = self.trials.give_up(at.now, after) {
            match self.rules.cancelled {
                // A place that nobody used says nothing.
                _ if !sent => {}
                Verdict::Failure | Verdict::Down(_) => {
                    return self.open(at, Reason::TrialHung { after });
                }
                verdict => self.tried(verdict, Duration::ZERO, at),
            }
        }
    }

    /// Enough peers see the service down to believe the one failure of our own.
    pub(crate) fn outvote(&mut self, pass: Pass, view: View, at: Moment) {
        let View { voters, down } = view;
        if pass.generation == self.generation && self.mode == self.base {
            self.open(at, Reason::Quorum { down, voters });
        }
    }

    fn open(&mut self, at: Moment, reason: Reason) {
        let flaps = match self.phase {
            Phase::Closed => at.now.saturating_duration_since(self.since()) < self.open_time,
            Phase::HalfOpen { .. } | Phase::Open { .. } => true,
        };
        self.openings = if flaps { self.openings.saturating_add(1) } else { 1 };
        self.open_time = self.rules.open_for.nth(self.openings, (at.random)());
        let until = at.now.checked_add(self.open_time);
        self.turn(at.now, Phase::Open { until }, self.base, reason);
    }

    /// Whether the circuit refuses until then as it is.
    fn held_until(&self, until: Instant) -> bool {
        match self.phase {
            Phase::Open { until: None } => true,
            Phase::Open { until: Some(held) } => held >= until,
            Phase::Closed => matches!(self.mode, Mode::ForcedClosed | Mode::Disabled),
            Phase::HalfOpen { .. } => false,
        }
    }

    /// Closes with a clean slate.
    fn close(&mut self, now: Instant, mode: Mode, reason: Reason) {
        self.turn(now, Phase::Closed, mode, reason);
        self.streak = 0;
        if let Some(tally) = &mut self.tally {
            tally.clear();
        }
    }

    fn turn(&mut self, now: Instant, phase: Phase, mode: Mode, reason: Reason) {
        let from = self.state();
        let until = match phase {
            Phase::Open { until } => until,
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        let figures = self.figures(now);
        self.trials.clear();
        self.phase = phase;
        self.mode = mode;
        self.generation += 1;
        let to = self.state();
        let opened = match self.past.take() {
            Some(past) if to != State::Open => past.opened,
            _ => self.opened(reason.clone()),
        };
        let number = self.generation;
        let last = Transition { number, from, to, mode, reason, figures, at: now, until };
        self.past = Some(Box::new(Past { opened, last }));
    }

    fn opened(&self, reason: Reason) -> Arc<Opened> {
        Arc::new(Opened { name: Arc::clone(&self.name), reason })
    }

    /// The instant of the newest transition.
    fn since(&self) -> Instant {
        self.past.as_ref().map_or(self.built, |past| past.last.at)
    }

    pub(crate) fn figures(&mut self, now: Instant) -> Figures {
        Figures {
            consecutive_failures: self.streak,
            window: self.tally.as_mut().map(|tally| tally.counts(now)),
            openings: self.openings,
            refused: self.refused,
            let_pass: self.let_pass,
        }
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

    pub(crate) const fn streak(&self) -> u32 {
        self.streak
    }

    /// Whether a trial place became free since the last question.
    pub(crate) fn take_freed(&mut self) -> bool {
        self.trials.take_freed()
    }

    /// Trials running, and trials that succeeded.
    pub(crate) fn trials(&self) -> (u32, u32) {
        match self.phase {
            Phase::HalfOpen { successes } => (self.trials.running(), successes),
            Phase::Closed | Phase::Open { .. } => (0, 0),
        }
    }

    /// The newest transition; number 0 if there was none.
    pub(crate) fn last(&self) -> Transition {
        let started = || Transition {
            number: 0,
            from: State::Closed,
            to: State::Closed,
            mode: self.base,
            reason: Reason::Started,
            figures: Figures::default(),
            at: self.built,
            until: None,
        };
        self.past.as_ref().map_or_else(started, |past| past.last.clone())
    }

    /// Whether forgetting the circuit would lose more than counts: it refuses, or an operator holds it.
    pub(crate) fn holds(&self, now: Instant, enabled: bool) -> bool {
        let refuses = match self.phase {
            Phase::Closed | Phase::HalfOpen { .. } => false,
            Phase::Open { until } => until.is_none_or(|until| until > now),
        };
        let by_default = self.mode == self.base || self.mode == Mode::Disabled && !enabled;
        refuses || !by_default
    }
}
