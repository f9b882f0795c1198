//! From outcomes to a state. Free of clocks and locks.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Change, Reason, State, Trend,
    ring::{Sum, nanos},
    window::Window,
};

/// Where a state begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) error_rate: f64,
    /// `None`: latency never leads to this state.
    pub(crate) latency: Option<Duration>,
}

/// What the builder has checked: the limits of a worse state are not below those of a better one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) window: Duration,
    pub(crate) min_calls: u64,
    pub(crate) failure_threshold: u32,
    pub(crate) degraded: Limits,
    pub(crate) critical: Limits,
    pub(crate) unavailable: Limits,
    pub(crate) better_calls: u32,
    pub(crate) better_for: Duration,
    pub(crate) idle_after: Duration,
}

/// A time in which the window spoke for a better state than the one held, at every outcome.
#[derive(Clone, Copy, Debug)]
struct Better {
    since: Instant,
    /// The outcomes of that time alone.
    own: Sum,
    worst: State,
}

/// The window, the state, and what holds the state.
#[derive(Debug)]
pub(crate) struct Score {
    rules: Rules,
    window: Window,
    streak: u32,
    better: Option<Better>,
    idle_at: Option<Instant>,
    last: Change,
}

impl Score {
    pub(crate) fn new(rules: Rules, now: Instant) -> Self {
        let last = Change {
            number: 0,
            from: State::Unknown,
            to: State::Unknown,
            reason: Reason::NoCalls,
            at: now,
        };
        let window = Window::new(rules.window);
        Self { rules, window, streak: 0, better: None, idle_at: None, last }
    }

    /// Counts one outcome and draws the conclusion.
    pub(crate) fn record(&mut self, now: Instant, took: Duration, bad: bool) {
        self.settle(now);
        self.idle_at = now.checked_add(self.rules.idle_after);
        self.window.add(now, took, bad);
        self.streak = if bad { self.streak.saturating_add(1) } else { 0 };
        let sum = self.window.sum(now);
        let Some(seen) = self.judge(sum) else { return };
        let held = self.last.to;
        if seen == held {
            self.better = None;
        } else if held == State::Unknown || seen.rank() > held.rank() {
            // What is worse is believed at once, and so is anything after nothing.
            self.enter(now, seen, sum);
        } else {
            self.improve(now, seen, sum, Sum { calls: 1, bad: u64::from(bad), nanos: nanos(took) });
        }
    }

    /// Applies what time alone has changed.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            self.streak = 0;
            if self.last.to != State::Unknown {
                self.turn(now, State::Unknown, Reason::Idle { after: self.rules.idle_after });
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.window.clear();
        self.streak = 0;
        self.idle_at = None;
        self.turn(now, State::Unknown, Reason::Reset);
    }

    /// What the figures say, before hysteresis. `None` if they say nothing yet.
    fn judge(&self, sum: Sum) -> Option<State> {
        if sum.calls < self.rules.min_calls {
            return match self.streak {
                0 => Some(State::Healthy),
                row if row >= self.rules.failure_threshold => Some(State::Degraded),
                _ => None,
            };
        }
        match self.by_limits(sum) {
            State::Healthy if self.streak >= self.rules.failure_threshold => Some(State::Degraded),
            state => Some(state),
        }
    }

    /// What error rate and latency alone say of `sum`.
    fn by_limits(&self, sum: Sum) -> State {
        let Rules { degraded, critical, unavailable, .. } = &self.rules;
        // The limits ascend, so a healthy service is asked two questions.
        if !degraded.reached(sum) {
            State::Healthy
        } else if !critical.reached(sum) {
            State::Degraded
        } else if !unavailable.reached(sum) {
            State::Critical
        } else {
            State::Unavailable
        }
    }

    #[cold]
    fn improve(&mut self, now: Instant, seen: State, sum: Sum, one: Sum) {
        let better =
            self.better.get_or_insert(Better { since: now, own: Sum::default(), worst: seen });
        better.own.add(one);
        if seen.rank() > better.worst.rank() {
            better.worst = seen;
        }
        let Better { since, own, mut worst } = *better;
        let held_for = now.saturating_duration_since(since);
        if own.calls < u64::from(self.rules.better_calls) || held_for < self.rules.better_for {
            return;
        }
        // A window that is still full of older calls hides what just began: a service that
        // went bad a moment ago must not be let off because the minute before was good.
        let newest = self.by_limits(own);
        if newest.rank() > worst.rank() {
            worst = newest;
        }
        if worst.rank() < self.last.to.rank() {
            self.enter(now, worst, sum);
        } else {
            self.better = None;
        }
    }

    #[cold]
    fn enter(&mut self, now: Instant, state: State, sum: Sum) {
        self.turn(now, state, self.reason(state, sum));
    }

    fn reason(&self, state: State, sum: Sum) -> Reason {
        let Sum { bad, calls, .. } = sum;
        let average = sum.average();
        let limits = match state {
            State::Unknown | State::Healthy => return Reason::WithinLimits { bad, calls, average },
            State::Degraded => &self.rules.degraded,
            State::Critical => &self.rules.critical,
            State::Unavailable => &self.rules.unavailable,
        };
        let enough = calls >= self.rules.min_calls;
        if enough && limits.errors_reached(sum) {
            return Reason::ErrorRate { bad, calls, limit: limits.error_rate };
        }
        match limits.latency {
            Some(limit) if enough && limits.latency_reached(sum) => {
                Reason::Latency { average, limit }
            }
            _ if self.streak > 0 => Reason::Streak { bad: self.streak },
            // On the way to a better state: this is the worst that was seen on it.
            _ => Reason::WithinLimits { bad, calls, average },
        }
    }

    fn turn(&mut self, now: Instant, to: State, reason: Reason) {
        self.better = None;
        let from = self.last.to;
        self.last = Change { number: self.last.number + 1, from, to, reason, at: now };
    }

    /// The newest change; number 0 if there was none.
    pub(crate) const fn last(&self) -> &Change {
        &self.last
    }

    pub(crate) const fn streak(&self) -> u32 {
        self.streak
    }

    pub(crate) const fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    pub(crate) fn trend(&mut self, now: Instant) -> Trend {
        let (older, newer) = self.window.halves(now);
        let enough = (self.rules.min_calls / 2).max(1);
        if older.calls < enough || newer.calls < enough {
            return Trend::Unknown;
        }
        let rise = newer.error_rate() - older.error_rate();
        let (before, after) = (older.average().as_secs_f64(), newer.average().as_secs_f64());
        if rise >= 0.05 {
            Trend::Worsening
        } else if rise <= -0.05 {
            Trend::Improving
        } else if after > before * 1.25 {
            Trend::Worsening
        } else if after < before * 0.8 {
            Trend::Improving
        } else {
            Trend::Steady
        }
    }
}

impl Limits {
    fn reached(&self, sum: Sum) -> bool {
        self.errors_reached(sum) || self.latency_reached(sum)
    }

    fn errors_reached(&self, sum: Sum) -> bool {
        // Seven of a hundred are 0.07, whatever the last bit of the product says.
        sum.bad as f64 >= self.error_rate * sum.calls as f64 - 1e-9
    }

    fn latency_reached(&self, sum: Sum) -> bool {
        self.latency.is_some_and(|limit| {
            let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            sum.nanos > nanos.saturating_mul(sum.calls)
        })
    }
}
