use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{Inner, Prober, Shared, SkipIf};
use crate::{
    Change, ConfigError, ErrorsBad,
    config::DAY,
    error::Problems,
    listeners::Listeners,
    probe::{ProbeRules, Record},
};

/// Configures a [`Prober`]; see [`Prober::builder`].
///
/// The defaults are those of the health checks this replaces.
#[must_use]
pub struct ProberBuilder<S, M, J> {
    name: Arc<str>,
    service: S,
    make_request: M,
    judge: J,
    timeout: Duration,
    start_within: Option<Duration>,
    stale_after: Option<Duration>,
    listeners: Listeners,
    skip_if: Option<SkipIf>,
    rules: ProbeRules,
}

impl<S, M> ProberBuilder<S, M, ErrorsBad> {
    pub(super) fn new(name: Arc<str>, service: S, make_request: M) -> Self {
        Self {
            name,
            service,
            make_request,
            judge: ErrorsBad,
            timeout: Duration::from_secs(10),
            start_within: None,
            stale_after: None,
            listeners: Listeners::default(),
            skip_if: None,
            rules: ProbeRules {
                ttl: Duration::from_secs(60),
                interval: Duration::from_secs(300),
                stale_after: Duration::ZERO,
                failure_threshold: 3,
                degraded_over: Duration::from_secs(1),
                history: 50,
            },
        }
    }
}

impl<S, M, J> ProberBuilder<S, M, J> {
    /// Judges the answers. Default: every `Err` is bad.
    pub fn judge<K>(self, judge: K) -> ProberBuilder<S, M, K> {
        ProberBuilder {
            name: self.name,
            service: self.service,
            make_request: self.make_request,
            judge,
            timeout: self.timeout,
            start_within: self.start_within,
            stale_after: self.stale_after,
            listeners: self.listeners,
            skip_if: self.skip_if,
            rules: self.rules,
        }
    }

    /// How long a check answers for the next askers. Default: 60 s; at most a day. Zero: only
    /// those who ask while it is on its way share it.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.rules.ttl = ttl;
        self
    }

    /// How often the loop of [`watch_over`](Prober::watch_over) makes a check. Default: 300 s;
    /// 10 ms to a day.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.rules.interval = interval;
        self
    }

    /// The first check of the loop comes at a random time within so long. Zero: at once.
    /// Default: a tenth of the interval; at most a day.
    pub const fn start_within(mut self, time: Duration) -> Self {
        self.start_within = Some(time);
        self
    }

    /// Unknown again when the newest check that said something is so old, as when all were
    /// skipped or nobody asked. Default: three intervals; above zero and at most a week.
    pub const fn stale_after(mut self, time: Duration) -> Self {
        self.stale_after = Some(time);
        self
    }

    /// No check is made while `skip` says so, as when the budget that it would spend is gone.
    /// It is asked before each check, outside every lock. Default: never.
    pub fn skip_if(mut self, skip: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.skip_if = Some(Box::new(skip));
        self
    }

    /// Calls `listener` at every change of state, as [`HealthBuilder::on_change`](crate::HealthBuilder::on_change) does.
    pub fn on_change(mut self, listener: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener);
        self
    }

    /// How long a check may take, readiness included. Default: 10 s; above zero and at most a day.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// After so many failed checks in a row the service is unavailable; with fewer it
    /// is degraded. Default: 3; at least 1.
    pub const fn failure_threshold(mut self, failures: u32) -> Self {
        self.rules.failure_threshold = failures;
        self
    }

    /// A good check that took longer means degraded. Default: 1,000 ms; above zero and at most a day.
    pub const fn degraded_over(mut self, took: Duration) -> Self {
        self.rules.degraded_over = took;
        self
    }

    /// How many checks [`ProbeStatus::recent`](crate::ProbeStatus::recent) keeps. Default: 50; between 1 and 10,000.
    pub const fn history(mut self, checks: usize) -> Self {
        self.rules.history = checks;
        self
    }

    /// Builds the probe. It makes no check until it is asked.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<Prober<S, M, J>, ConfigError> {
        let Self { name, service, make_request, judge, timeout, mut rules, .. } = self;
        let start_within = self.start_within.unwrap_or(rules.interval / 10);
        rules.stale_after = self.stale_after.unwrap_or(rules.interval.saturating_mul(3));
        let mut problems = Problems::default();
        let within_a_day = |time: Duration| !time.is_zero() && time <= DAY;
        let ProbeRules { ttl, interval, stale_after, failure_threshold, degraded_over, history } =
            rules;
        problems.unless(!name.is_empty(), "name", &name, "any text but an empty one");
        problems.unless(ttl <= DAY, "ttl", ttl, "at most a day");
        let right = (Duration::from_millis(10)..=DAY).contains(&interval);
        problems.unless(right, "interval", interval, "10 ms to a day");
        let right = self.start_within.is_none_or(|time| time <= DAY);
        problems.unless(right, "start_within", start_within, "at most a day");
        let right = self.stale_after.is_none_or(|time| !time.is_zero() && time <= 7 * DAY);
        problems.unless(right, "stale_after", stale_after, "above zero, at most a week");
        problems.unless(within_a_day(timeout), "timeout", timeout, "above zero, at most a day");
        let some = failure_threshold > 0;
        problems.unless(some, "failure_threshold", failure_threshold, "at least 1");
        let right = within_a_day(degraded_over);
        problems.unless(right, "degraded_over", degraded_over, "above zero, at most a day");
        problems.unless((1..=10_000).contains(&history), "history", history, "1 to 10,000");
        problems.into_result("probe")?;
        let record = Record::new(rules, Instant::now());
        let shared = Shared {
            name,
            timeout,
            newest: watch::Sender::new(record.last().clone()),
            record: Mutex::new(record),
            turn: Semaphore::new(1),
            listeners: self.listeners,
            skip_if: self.skip_if,
            start_within,
        };
        Ok(Prober { inner: Arc::new(Inner { service, make_request, judge, shared }) })
    }
}

impl<S, M, J> fmt::Debug for ProberBuilder<S, M, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProberBuilder")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
