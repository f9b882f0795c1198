use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Change, ConfigError, Health, Verdict,
    error::Problems,
    listeners::Listeners,
    score::{Limits, Rules, Score},
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Configures a [`Health`]; see [`Health::builder`].
///
/// | setting | default | where the figure is from |
/// | --- | --- | --- |
/// | [`window`](Self::window) | 60 s | |
/// | [`min_calls`](Self::min_calls) | 10 | |
/// | [`degraded_at`](Self::degraded_at) | 10 % errors or 1,000 ms on average | the threshold of the health checks this replaces |
/// | [`failure_threshold`](Self::failure_threshold) | 3 in a row | the same |
/// | [`critical_at`](Self::critical_at) | 50 % errors or 10 s on average | their time-out of a check |
/// | [`unavailable_at`](Self::unavailable_at) | 90 % errors | |
/// | [`hysteresis`](Self::hysteresis) | 5 calls and 5 s | |
/// | [`idle_after`](Self::idle_after) | 60 s | their cache life time |
/// | [`cancelled`](Self::cancelled) | [`Verdict::Bad`] | a time-out further out drops the call |
#[derive(Clone, Debug)]
#[must_use]
pub struct HealthBuilder {
    name: Arc<str>,
    rules: Rules,
    cancelled: Verdict,
    listeners: Listeners,
}

impl HealthBuilder {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let limits = |error_rate, seconds: Option<u64>| Limits {
            error_rate,
            latency: seconds.map(Duration::from_secs),
        };
        let rules = Rules {
            window: Duration::from_secs(60),
            min_calls: 10,
            failure_threshold: 3,
            degraded: limits(0.1, Some(1)),
            critical: limits(0.5, Some(10)),
            unavailable: limits(0.9, None),
            better_calls: 5,
            better_for: Duration::from_secs(5),
            idle_after: Duration::from_secs(60),
        };
        Self { name, rules, cancelled: Verdict::Bad, listeners: Listeners::default() }
    }

    /// How far back outcomes are looked at. Default: 60 s; between 10 ms and a day.
    ///
    /// The window slides in ten steps: at any time it covers the running tenth and
    /// the nine before it.
    pub const fn window(mut self, window: Duration) -> Self {
        self.rules.window = window;
        self
    }

    /// So many calls must be in the window before error rate and latency are
    /// believed. Default: 10; at least 1.
    pub const fn min_calls(mut self, calls: u64) -> Self {
        self.rules.min_calls = calls;
        self
    }

    /// Degraded from this error rate (above 0, at most 1), or above this average
    /// latency (`None`: whatever the latency; then give [`critical_at`](Self::critical_at)
    /// none either). Default: 0.1 and 1,000 ms.
    pub fn degraded_at(mut self, error_rate: f64, latency: impl Into<Option<Duration>>) -> Self {
        self.rules.degraded = Limits { error_rate, latency: latency.into() };
        self
    }

    /// Critical from this error rate or above this average latency. Not below
    /// those of [`degraded_at`](Self::degraded_at). Default: 0.5 and 10 s.
    pub fn critical_at(mut self, error_rate: f64, latency: impl Into<Option<Duration>>) -> Self {
        self.rules.critical = Limits { error_rate, latency: latency.into() };
        self
    }

    /// Unavailable from this error rate. Not below that of
    /// [`critical_at`](Self::critical_at). Default: 0.9.
    pub const fn unavailable_at(mut self, error_rate: f64) -> Self {
        self.rules.unavailable = Limits { error_rate, latency: None };
        self
    }

    /// At least degraded after so many bad calls in a row, however few calls
    /// there were. Default: 3; at least 1.
    pub const fn failure_threshold(mut self, bad: u32) -> Self {
        self.rules.failure_threshold = bad;
        self
    }

    /// A better state is entered only after `calls` calls in a row and at least
    /// `time` that all spoke for it. A worse one is entered at once. Default: 5 calls and 5 s.
    ///
    /// Two things must speak for it: the window at each of those calls, and the error rate and
    /// average of those calls alone. So what went bad a moment ago is not let off because the
    /// rest of the window was good.
    /// It then enters the worst state that those calls spoke for. Zero switches either half off;
    /// `time` is at most a day.
    pub const fn hysteresis(mut self, calls: u32, time: Duration) -> Self {
        self.rules.better_calls = calls;
        self.rules.better_for = time;
        self
    }

    /// Unknown again after so long without an outcome. Default: 60 s; above zero and at most a day.
    pub const fn idle_after(mut self, time: Duration) -> Self {
        self.rules.idle_after = time;
        self
    }

    /// What a call counts for that was dropped before its answer, with the time it
    /// had run. Default: [`Verdict::Bad`], since a time-out further out shows itself in no other way.
    pub const fn cancelled(mut self, verdict: Verdict) -> Self {
        self.cancelled = verdict;
        self
    }

    /// Calls `listener` at every change of state, outside every lock, in the thread that found it.
    ///
    /// This is how health acts on what it does not know: a circuit is forced open, a queue shut.
    /// It should be quick. Two threads may tell their changes in the wrong order, as the numbers
    /// show; who must act on the newest only watches [`Health::watch`]. A panic reaches the call
    /// whose outcome was recorded.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// use tower_health::{Health, State, Verdict};
    ///
    /// # tokio_test::block_on(async {
    /// let shut = Arc::new(AtomicBool::new(false));
    /// let door = Arc::clone(&shut);
    /// let health = Health::builder("api")
    ///     .on_change(move |change| door.store(!change.to.is_available(), Ordering::Relaxed))
    ///     .build()?;
    /// for _ in 0..10 {
    ///     health.record(Verdict::Bad, std::time::Duration::from_millis(5));
    /// }
    /// assert!(shut.load(Ordering::Relaxed));
    /// # Ok::<(), tower_health::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn on_change(mut self, listener: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Builds the handle. Clones of it, and all layers made with it, share one score.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<Health, ConfigError> {
        let Self { name, rules, cancelled, listeners } = self;
        let mut problems = Problems::default();
        let Rules { window, min_calls, failure_threshold, better_for, idle_after, .. } = rules;
        let within_a_day = |time: Duration| !time.is_zero() && time <= DAY;
        problems.unless(!name.is_empty(), "name", &name, "any text but an empty one");
        let wide_enough = (Duration::from_millis(10)..=DAY).contains(&window);
        problems.unless(wide_enough, "window", window, "10 ms to a day");
        problems.unless(min_calls > 0, "min_calls", min_calls, "at least 1");
        let some = failure_threshold > 0;
        problems.unless(some, "failure_threshold", failure_threshold, "at least 1");
        problems.unless(better_for <= DAY, "hysteresis.time", better_for, "at most a day");
        let right = within_a_day(idle_after);
        problems.unless(right, "idle_after", idle_after, "above zero, at most a day");
        check_limits(&mut problems, &rules);
        problems.into_result("health")?;
        Ok(Health::from_score(name, Score::new(rules, Instant::now()), cancelled, listeners))
    }
}

/// Each limit alone, then, of those that can be alone, that a worse state does not begin before a
/// better one.
fn check_limits(problems: &mut Problems, rules: &Rules) {
    let Rules { degraded, critical, unavailable, .. } = *rules;
    let share = |rate: f64| rate > 0.0 && rate <= 1.0;
    let short = |limit: Duration| !limit.is_zero() && limit <= HOUR;
    for (field, rate) in [
        ("degraded_at.error_rate", degraded.error_rate),
        ("critical_at.error_rate", critical.error_rate),
        ("unavailable_at.error_rate", unavailable.error_rate),
    ] {
        problems.unless(share(rate), field, rate, "above 0, at most 1");
    }
    for (field, latency) in
        [("degraded_at.latency", degraded.latency), ("critical_at.latency", critical.latency)]
    {
        if let Some(limit) = latency {
            problems.unless(short(limit), field, limit, "above zero, at most an hour, or none");
        }
    }
    for (field, better, worse) in [
        ("critical_at.error_rate", degraded, critical),
        ("unavailable_at.error_rate", critical, unavailable),
    ] {
        let Limits { error_rate: least, .. } = better;
        let falls = worse.error_rate < least && share(least) && share(worse.error_rate);
        problems.unless(
            !falls,
            field,
            worse.error_rate,
            format!("{least} or above, that of the state before"),
        );
    }
    match (degraded.latency, critical.latency) {
        (None, Some(limit)) => {
            let allowed = "none, as degraded has no limit of latency";
            problems.unless(false, "critical_at.latency", limit, allowed);
        }
        (Some(least), Some(limit)) if short(least) && short(limit) => {
            let allowed = format!("{least:?} or above, that of degraded");
            problems.unless(least <= limit, "critical_at.latency", limit, allowed);
        }
        (_, _) => {}
    }
}
