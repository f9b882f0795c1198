//! The circuit as one would tell it: whole lists instead of rings, numbers of
//! milliseconds instead of instants, no generations but lists of who counts.

use tower_circuit::{Mode, State, Throttled, Verdict};

pub(crate) const FOREVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Span {
    Millis(u64),
    Calls(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) consecutive: Option<u32>,
    /// In tenths.
    pub(crate) failures: Option<u64>,
    /// In tenths, and from how many milliseconds on.
    pub(crate) slow: Option<(u64, u64)>,
    pub(crate) span: Span,
    pub(crate) min_calls: u64,
    pub(crate) open_first: u64,
    pub(crate) open_factor: u64,
    pub(crate) open_cap: u64,
    pub(crate) longest_named: u64,
    pub(crate) trials: usize,
    pub(crate) successes: u32,
    pub(crate) trial_time: u64,
    pub(crate) cancelled: Verdict,
    pub(crate) throttled: Throttled,
    pub(crate) observe: bool,
}

/// What a caller holds: its number, whether it is a trial, and when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    number: u64,
    began: u64,
}

#[derive(Debug)]
pub(crate) struct Reference {
    config: Config,
    pub(crate) now: u64,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    observing: bool,
    pub(crate) until: u64,
    pub(crate) streak: u32,
    pub(crate) openings: u32,
    open_time: u64,
    since: u64,
    /// When, failed, slow.
    outcomes: Vec<(u64, bool, bool)>,
    origin: u64,
    pub(crate) successes: u32,
    /// Calls that still count, and trials on their way.
    counted: Vec<u64>,
    pub(crate) trials: Vec<Ticket>,
    numbers: u64,
    pub(crate) refused: u64,
    pub(crate) let_pass: u64,
    pub(crate) transitions: u64,
}

impl Reference {
    pub(crate) fn new(config: Config) -> Self {
        let observing = config.observe;
        Self {
            config,
            now: 0,
            state: State::Closed,
            mode: if observing { Mode::Observing } else { Mode::Automatic },
            observing,
            until: 0,
            streak: 0,
            openings: 0,
            open_time: 0,
            since: 0,
            outcomes: Vec::new(),
            origin: 0,
            successes: 0,
            counted: Vec::new(),
            trials: Vec::new(),
            numbers: 0,
            refused: 0,
            let_pass: 0,
            transitions: 0,
        }
    }

    fn base(&self) -> Mode {
        if self.observing { Mode::Observing } else { Mode::Automatic }
    }

    fn decides(&self) -> bool {
        self.mode == self.base()
    }

    /// Time passes; then what time alone changes.
    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += millis;
        if self.state == State::Open && self.until <= self.now {
            self.change(State::HalfOpen, self.base());
            return;
        }
        let (now, most) = (self.now, self.config.trial_time);
        while let Some(at) = self.trials.iter().position(|trial| trial.began + most <= now) {
            let trial = self.trials.remove(at);
            self.counted.retain(|number| *number != trial.number);
            match self.config.cancelled {
                Verdict::Failure | Verdict::Down(_) => return self.open_own(),
                // The places are empty then, and so ends the loop.
                Verdict::Success => {
                    self.succeed();
                }
                _ => {}
            }
        }
    }

    /// Whether a call goes through, and whether it is a trial.
    pub(crate) fn admit(&mut self) -> Option<(Ticket, bool)> {
        let free = self.state == State::HalfOpen && self.trials.len() < self.config.trials;
        if self.state != State::Closed && !free {
            if self.mode != Mode::Observing {
                self.refused += 1;
                return None;
            }
            self.let_pass += 1;
        }
        self.numbers += 1;
        let ticket = Ticket { number: self.numbers, began: self.now };
        if self.state == State::Closed {
            self.counted.push(ticket.number);
        }
        if free {
            self.counted.push(ticket.number);
            self.trials.push(ticket);
        }
        Some((ticket, free))
    }

    pub(crate) fn look(&mut self) -> bool {
        let free = self.state == State::HalfOpen && self.trials.len() < self.config.trials;
        let passes = self.state == State::Closed || free || self.mode == Mode::Observing;
        self.refused += u64::from(!passes);
        passes
    }

    pub(crate) fn probe(&mut self) -> Option<(Ticket, bool)> {
        if self.state == State::Open && self.decides() {
            self.change(State::HalfOpen, self.base());
        }
        self.admit()
    }

    pub(crate) fn end(&mut self, ticket: Ticket, verdict: Verdict) {
        let counts = self.counted.contains(&ticket.number);
        self.counted.retain(|number| *number != ticket.number);
        let was_trial = self.trials.iter().any(|trial| trial.number == ticket.number);
        if let Verdict::Down(time) = verdict {
            let time = u64::try_from(time.as_millis()).unwrap();
            // An open circuit believes whoever names a longer time.
            let heard = (counts || self.state == State::Open) && time > 0;
            if heard && self.decides() {
                if counts && self.state == State::Closed {
                    self.outcome(true, false);
                    self.streak += 1;
                }
                let until = self.now + time.min(self.config.longest_named);
                if self.state != State::Open || until > self.until {
                    self.until = until;
                    self.change(State::Open, self.base());
                }
                return;
            }
        }
        if !counts || self.mode == Mode::Disabled {
            return;
        }
        let slow = self.config.slow.is_some_and(|(_, from)| self.now - ticket.began >= from);
        if was_trial {
            self.trials.retain(|trial| trial.number != ticket.number);
            match verdict {
                Verdict::Failure | Verdict::Down(_) => self.open_own(),
                Verdict::Success if slow => self.open_own(),
                Verdict::Success => {
                    self.succeed();
                }
                _ => {}
            }
            return;
        }
        match verdict {
            Verdict::Success => {
                self.streak = 0;
                self.outcome(false, slow);
            }
            Verdict::Failure | Verdict::Down(_) => {
                self.streak += 1;
                self.outcome(true, slow);
            }
            Verdict::Throttled if self.config.throttled == Throttled::RatioOnly => {
                self.outcome(true, slow);
            }
            _ => return,
        }
        if self.decides() && self.trips() {
            self.open_own();
        }
    }

    fn succeed(&mut self) -> bool {
        self.successes += 1;
        let enough = self.successes >= self.config.successes;
        if enough {
            self.close(self.base());
        }
        enough
    }

    fn outcome(&mut self, failed: bool, slow: bool) {
        if self.outcomes.is_empty() {
            self.origin = self.now;
        }
        self.outcomes.push((self.now, failed, slow));
    }

    /// Calls, failures, slow ones.
    pub(crate) fn window(&self) -> Option<(u64, u64, u64)> {
        if self.config.failures.is_none() && self.config.slow.is_none() {
            return None;
        }
        let live: Vec<_> = match self.config.span {
            Span::Calls(size) => self.outcomes[self.outcomes.len().saturating_sub(size)..].to_vec(),
            Span::Millis(length) => {
                let bucket = |at: u64| (at - self.origin) / (length / 10);
                let fits = |at: u64| bucket(at) + 10 > bucket(self.now);
                self.outcomes.iter().filter(|outcome| fits(outcome.0)).copied().collect()
            }
        };
        let failures = live.iter().filter(|outcome| outcome.1).count() as u64;
        let slow = live.iter().filter(|outcome| outcome.2).count() as u64;
        Some((live.len() as u64, failures, slow))
    }

    fn trips(&self) -> bool {
        if self.config.consecutive.is_some_and(|most| self.streak >= most) {
            return true;
        }
        let Some((calls, failures, slow)) = self.window() else { return false };
        let reached = |part: u64, tenths: u64| part > 0 && part * 10 >= tenths * calls;
        let too_many = self.config.failures.is_some_and(|tenths| reached(failures, tenths));
        let too_slow = self.config.slow.is_some_and(|(tenths, _)| reached(slow, tenths));
        calls >= self.config.min_calls && (too_many || too_slow)
    }

    /// For a reason of its own: the times grow while it flaps.
    fn open_own(&mut self) {
        let flaps = self.state != State::Closed || self.now - self.since < self.open_time;
        self.openings = if flaps { self.openings + 1 } else { 1 };
        let mut time = self.config.open_first;
        for _ in 1..self.openings {
            time = (time * self.config.open_factor).min(self.config.open_cap);
        }
        self.open_time = time;
        self.until = self.now + time;
        self.change(State::Open, self.base());
    }

    fn close(&mut self, mode: Mode) {
        self.change(State::Closed, mode);
        self.streak = 0;
        self.outcomes.clear();
    }

    fn change(&mut self, state: State, mode: Mode) {
        (self.state, self.mode, self.since) = (state, mode, self.now);
        self.transitions += 1;
        self.successes = 0;
        self.counted.clear();
        self.trials.clear();
    }

    fn start_over(&mut self, mode: Mode) {
        (self.openings, self.open_time) = (0, 0);
        self.close(mode);
    }

    pub(crate) fn open_until(&mut self, millis: u64) {
        let until = self.now + millis;
        let held = match self.state {
            State::Open => self.until >= until,
            State::Closed => matches!(self.mode, Mode::ForcedClosed | Mode::Disabled),
            State::HalfOpen => false,
        };
        if millis > 0 && !held {
            let mode = if self.state == State::Open { self.mode } else { self.base() };
            self.until = until;
            self.change(State::Open, mode);
        }
    }

    pub(crate) fn force_open(&mut self, millis: Option<u64>) {
        self.until = millis.map_or(FOREVER, |millis| self.now + millis);
        self.change(State::Open, Mode::ForcedOpen);
        // Nothing is left of an open time of nothing.
        self.wait(0);
    }

    pub(crate) fn force_closed(&mut self) {
        self.start_over(Mode::ForcedClosed);
    }

    pub(crate) fn disable(&mut self) {
        self.start_over(Mode::Disabled);
    }

    pub(crate) fn reset(&mut self) {
        self.start_over(self.base());
    }

    pub(crate) fn observe_only(&mut self, observe: bool) {
        if observe != self.observing {
            self.observing = observe;
            self.start_over(self.base());
        }
    }

    /// Written down and read again at once: the window and the calls under way are lost.
    pub(crate) fn restart(&mut self) {
        let mode = if self.decides() { self.base() } else { self.mode };
        self.change(self.state, mode);
        self.outcomes.clear();
    }
}
