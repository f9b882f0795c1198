use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Circuit, CircuitsBuilder, ConfigError, Mode, OpenTime, Peers, Problem, Throttled, Transition,
    Verdict, Window,
    circuit::{Listener, Settings},
    peers::Quorum,
    rules::{Rules, Slow},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Configures a [`Circuit`]; see [`Circuit::builder`].
///
/// | setting | default | where the figure is from |
/// | --- | --- | --- |
/// | [`consecutive`](Self::consecutive) | 5, unless only ratios are set | the common default of the programs this replaces |
/// | [`failure_ratio`](Self::failure_ratio), [`slow_ratio`](Self::slow_ratio) | none | |
/// | [`window`](Self::window) | 60 s, 20 calls | |
/// | [`open_for`](Self::open_for) | 60 s, constant | a common recovery time-out |
/// | [`longest_named`](Self::longest_named) | 1 hour | |
/// | [`half_open`](Self::half_open) | 3 trials at once, 1 success | the same |
/// | [`trial_time`](Self::trial_time) | 60 s | |
/// | [`cancelled`](Self::cancelled) | [`Verdict::Failure`] | a time-out further out drops the call |
/// | [`throttled`](Self::throttled) | [`Throttled::Ignore`] | a 429 closes a limiter's gate, not the circuit |
/// | [`enabled`](Self::enabled), [`observe_only`](Self::observe_only) | true, false | |
#[derive(Clone, Debug)]
#[must_use]
pub struct CircuitBuilder {
    name: Arc<str>,
    rules: Rules,
    enabled: bool,
    observe_only: bool,
    listeners: Vec<Listener>,
    quorum: Option<Quorum>,
}

impl CircuitBuilder {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let rules = Rules {
            consecutive: None,
            failure_ratio: None,
            slow: None,
            window: Window::Time(Duration::from_secs(60)),
            min_calls: 20,
            open_for: OpenTime::constant(Duration::from_secs(60)),
            longest_named: Duration::from_secs(60 * 60),
            trials: 3,
            successes: 1,
            trial_time: Duration::from_secs(60),
            cancelled: Verdict::Failure,
            throttled: Throttled::Ignore,
            epoch: Instant::now(),
        };
        Self {
            name,
            rules,
            enabled: true,
            observe_only: false,
            listeners: Vec::new(),
            quorum: None,
        }
    }

    /// Opens after so many failures in a row. At least 1. Default: 5 if no ratio is set, else off.
    ///
    /// Of this and the two ratios, whichever comes first opens the circuit.
    pub const fn consecutive(mut self, failures: u32) -> Self {
        self.rules.consecutive = Some(failures);
        self
    }

    /// Opens when at least `ratio` of the calls in the [window](Self::window) failed. Above 0 and at
    /// most 1. Judged at every outcome, so the call that makes enough of them may be a success. Default: off.
    pub const fn failure_ratio(mut self, ratio: f64) -> Self {
        self.rules.failure_ratio = Some(ratio);
        self
    }

    /// Opens when at least `ratio` of the calls in the [window](Self::window) took `from` or longer, whatever
    /// they were judged; ignored ones are left out. `ratio` is above 0 and at most 1; `from` above zero and
    /// at most a day. A trial that takes as long is a failed one. Costs one more reading of the clock per call.
    /// Default: off.
    ///
    /// The time is that from the permission to the verdict: behind a queue, put the guard inside it.
    pub const fn slow_ratio(mut self, ratio: f64, from: Duration) -> Self {
        self.rules.slow = Some(Slow { ratio, from });
        self
    }

    /// What the ratios look at, and how many calls it must hold before they do. Default: 60 s and 20 calls.
    ///
    /// At least 1 call, and no more than a window of calls can hold.
    pub const fn window(mut self, window: Window, min_calls: u64) -> Self {
        self.rules.window = window;
        self.rules.min_calls = min_calls;
        self
    }

    /// How long the circuit stays open before it lets a trial through: a [`Duration`], or an [`OpenTime`] that
    /// grows and is jittered. Default: 60 s. Above zero and at most a day.
    pub fn open_for(mut self, open_for: impl Into<OpenTime>) -> Self {
        self.rules.open_for = open_for.into();
        self
    }

    /// The longest time that a [`Verdict::Down`] is believed. Default: 1 hour. Above zero and at most a day.
    pub const fn longest_named(mut self, time: Duration) -> Self {
        self.rules.longest_named = time;
        self
    }

    /// While half-open, at most `trials` calls are on their way at once, and
    /// `successes` of them close the circuit. Default: 3 and 1. Both between 1 and 1,000.
    pub const fn half_open(mut self, trials: u32, successes: u32) -> Self {
        self.rules.trials = trials;
        self.rules.successes = successes;
        self
    }

    /// How long a trial may take. One that has not ended by then counts as if it had been dropped, and its
    /// place is free. Default: 60 s. Above zero and at most a day; choose it longer than the time-out of a call.
    pub const fn trial_time(mut self, time: Duration) -> Self {
        self.rules.trial_time = time;
        self
    }

    /// What a call counts for that was dropped before its answer. Default: [`Verdict::Failure`],
    /// since a time-out further out shows itself in no other way.
    ///
    /// With [`Verdict::Ignore`] a dropped trial gives its place back and the circuit
    /// stays half-open. Choose it when every time-out lies inside this layer.
    pub const fn cancelled(mut self, verdict: Verdict) -> Self {
        self.rules.cancelled = verdict;
        self
    }

    /// What a [`Verdict::Throttled`] counts for. Default: for nothing.
    pub const fn throttled(mut self, throttled: Throttled) -> Self {
        self.rules.throttled = throttled;
        self
    }

    /// Whether the circuit does anything. If not, it starts as [`Circuit::disable`] leaves it. Default: true.
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Whether the circuit only looks on: it counts, opens, closes and tells, and refuses no call. A dry run
    /// of a new configuration. [`Circuit::observe_only`] changes it later. Default: false.
    pub const fn observe_only(mut self, observe_only: bool) -> Self {
        self.observe_only = observe_only;
        self
    }

    /// Calls `listener` after each change of state, in the thread that made the change and outside every lock; it
    /// may use the circuit that it is given. May be set several times. Default: none.
    ///
    /// Two threads may tell two changes at once or in the wrong order, as their numbers show. A
    /// panic of a listener is caught and logged. Keep it short: the call that made the change waits for it.
    pub fn on_transition(
        mut self,
        listener: impl Fn(&Circuit, &Transition) + Send + Sync + 'static,
    ) -> Self {
        self.listeners.push(Listener(Arc::new(listener)));
        self
    }

    /// Believes one failure of our own at once while at least `share` of the other processes, of which there are at least
    /// `min_voters`, see the service down. `share` is above 0 and at most 1; `min_voters` at least 1. Default: no peers.
    pub fn peers(mut self, peers: impl Peers + 'static, share: f64, min_voters: u32) -> Self {
        self.quorum = Some(Quorum { peers: Arc::new(peers), share, min_voters });
        self
    }

    /// One circuit for each key instead of one for all, each built like this.
    pub const fn keyed(self) -> CircuitsBuilder {
        CircuitsBuilder::new(self)
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Builds the circuit. Clones of it, and all layers made with it, share one state.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<Circuit, ConfigError> {
        let name = self.name();
        let settings = self.settings()?;
        Ok(Circuit::new(name, Arc::new(settings)))
    }

    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let mut rules = self.rules;
        if rules.consecutive.is_none() && !rules.keeps_window() {
            rules.consecutive = Some(5);
        }
        let base = if self.observe_only { Mode::Observing } else { Mode::Automatic };
        Ok(Settings {
            rules: Arc::new(rules),
            base,
            enabled: self.enabled,
            listeners: self.listeners,
            quorum: self.quorum,
        })
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |right: bool, field, value: &dyn std::fmt::Debug, allowed| {
            if !right {
                problems.push(Problem { field, value: format!("{value:?}"), allowed });
            }
        };
        let within_a_day = |time: Duration| !time.is_zero() && time <= DAY;
        let share = |ratio: f64| ratio > 0.0 && ratio <= 1.0;
        const TIME: &str = "above zero and at most a day";
        const SHARE: &str = "above 0 and at most 1";
        const COUNT: &str = "1 to 1,000";

        let rules = &self.rules;
        check(!self.name.is_empty(), "name", &self.name, "any text but none");
        if let Some(failures) = rules.consecutive {
            check(failures > 0, "consecutive", &failures, "at least 1");
        }
        if let Some(ratio) = rules.failure_ratio {
            check(share(ratio), "failure_ratio", &ratio, SHARE);
        }
        if let Some(Slow { ratio, from }) = rules.slow {
            check(share(ratio), "slow_ratio", &ratio, SHARE);
            check(within_a_day(from), "slow_ratio.from", &from, TIME);
        }
        let most = match rules.window {
            Window::Time(length) => {
                let right = (Duration::from_millis(10)..=DAY).contains(&length);
                check(right, "window", &length, "10 ms to a day");
                u64::MAX
            }
            Window::Calls(size) => {
                check((1..=1_000_000).contains(&size), "window", &size, "1 to 1,000,000 calls");
                u64::from(size.max(1))
            }
        };
        let right = (1..=most).contains(&rules.min_calls);
        check(right, "min_calls", &rules.min_calls, "at least 1 and no more than the window holds");
        let OpenTime { first, factor, cap, jitter } = rules.open_for;
        check(within_a_day(first), "open_for", &first, TIME);
        check((1.0..=100.0).contains(&factor), "open_for.factor", &factor, "1 to 100");
        // A constant time is its own cap, and is told once.
        let right = cap == first || cap > first && cap <= DAY;
        check(right, "open_for.cap", &cap, "the first open time to a day");
        check((0.0..=1.0).contains(&jitter), "open_for.jitter", &jitter, "0 to 1");
        check(within_a_day(rules.longest_named), "longest_named", &rules.longest_named, TIME);
        check((1..=1_000).contains(&rules.trials), "half_open.trials", &rules.trials, COUNT);
        check(
            (1..=1_000).contains(&rules.successes),
            "half_open.successes",
            &rules.successes,
            COUNT,
        );
        check(within_a_day(rules.trial_time), "trial_time", &rules.trial_time, TIME);
        if let Some(Quorum { share: ratio, min_voters, .. }) = &self.quorum {
            check(share(*ratio), "peers.share", ratio, SHARE);
            check(*min_voters > 0, "peers.min_voters", min_voters, "at least 1");
        }
        problems
    }
}
