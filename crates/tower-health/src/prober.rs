use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use tower_service::Service;

use crate::{
    BoxError, Change, Check, CheckOutcome, ConfigError, ErrorsBad, Judge, ProbeStatus, State,
    Verdict,
    config::DAY,
    error::Faults,
    health::publish,
    probe::{ProbeRules, Record},
};

/// Asks a service how it is, when somebody wants to know and the last answer is too old.
///
/// Clones are the same probe. See [`Prober::builder`].
pub struct Prober<S, M, J = ErrorsBad> {
    service: S,
    make_request: M,
    judge: J,
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    timeout: Duration,
    record: Mutex<Record>,
    /// Whoever holds the permit makes the check. It is fair, and dropping the
    /// holder hands it to the next who waits.
    turn: Semaphore,
    newest: watch::Sender<Change>,
}

impl Prober<(), ()> {
    /// A probe of `service` with the requests that `make_request` makes.
    ///
    /// The service is cloned for each check. Latency is what the caller of that
    /// service sees, so choose the place: behind a limiter it includes the queue.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_health::{BoxError, Prober, State};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), BoxError> {
    /// let service = tower::service_fn(|path: &'static str| async move {
    ///     if path == "/currencies" { Ok(()) } else { Err(BoxError::from("no such page")) }
    /// });
    /// let prober = Prober::builder("api", service, || "/currencies")
    ///     .ttl(Duration::from_secs(60))
    ///     .timeout(Duration::from_secs(10))
    ///     .build()?;
    /// assert_eq!(prober.state(), State::Unknown);
    /// assert_eq!(prober.check().await.state, State::Healthy);
    /// assert!(prober.is_healthy());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<S, M, Request>(
        name: impl Into<Arc<str>>,
        service: S,
        make_request: M,
    ) -> ProberBuilder<S, M, ErrorsBad>
    where
        S: Service<Request> + Clone,
        M: Fn() -> Request,
    {
        ProberBuilder {
            name: name.into(),
            service,
            make_request,
            judge: ErrorsBad,
            timeout: Duration::from_secs(10),
            rules: ProbeRules {
                ttl: Duration::from_secs(60),
                failure_threshold: 3,
                degraded_over: Duration::from_secs(1),
                history: 50,
            },
        }
    }
}

impl<S, M, J> Prober<S, M, J> {
    /// The newest check if it is young enough, else a new one.
    ///
    /// All who ask while a check is on its way share it.
    ///
    /// # Cancellation
    ///
    /// If the caller that makes the check is dropped, the check is given up and not
    /// counted, and the next caller that waits makes one.
    ///
    /// # Panics
    ///
    /// Only if the service, the request closure or the judge panics. The next caller makes a new check.
    pub async fn check<Request>(&self) -> Check
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
        M: Fn() -> Request,
        J: Judge<S::Response, S::Error>,
    {
        let seen = {
            let record = self.shared.lock();
            if let Some(check) = record.usable(Instant::now(), record.checks()) {
                return check;
            }
            record.checks()
        };
        let _turn = self.shared.turn.acquire().await.expect("it is never closed");
        if let Some(check) = self.shared.lock().usable(Instant::now(), seen) {
            return check;
        }
        let (outcome, took) = self.ask().await;
        self.shared.add(outcome, took)
    }

    async fn ask<Request>(&self) -> (CheckOutcome, Duration)
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
        M: Fn() -> Request,
        J: Judge<S::Response, S::Error>,
    {
        let started = Instant::now();
        let mut service = self.service.clone();
        let call = async {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call((self.make_request)()).await
        };
        let answer = timeout(self.shared.timeout, call).await;
        let took = Instant::now().saturating_duration_since(started);
        let outcome = match answer {
            Err(_elapsed) => CheckOutcome::TimedOut,
            Ok(answer) => match (self.judge.judge(answer.as_ref()), answer) {
                (Verdict::Ignore, _) => CheckOutcome::Ignored,
                (Verdict::Good, _) => CheckOutcome::Good,
                (Verdict::Bad, Ok(_)) => CheckOutcome::Bad,
                (Verdict::Bad, Err(error)) => CheckOutcome::Failed(error.into().to_string().into()),
            },
        };
        (outcome, took)
    }

    /// The name given to the builder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How the service is doing, by the newest check. Asks nobody.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.lock().last().to
    }

    /// Whether the newest check found the service healthy. Asks nobody.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state().is_healthy()
    }

    /// All that is known. Asks nobody.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.shared.lock().status(Arc::clone(&self.shared.name))
    }

    /// Watches the changes of state. The receiver starts with the newest one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Change> {
        self.shared.newest.subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Record> {
        // No user code runs under the lock, so a poisoned record is still whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, outcome: CheckOutcome, took: Duration) -> Check {
        let now = Instant::now();
        let (check, change) = {
            let mut record = self.lock();
            let before = record.last().number;
            let check = record.add(outcome, took, now);
            let last = record.last();
            (check, (last.number != before).then(|| last.clone()))
        };
        tracing::debug!(
            name: "health.checked",
            target: "tower_health",
            health = &*self.name, outcome = check.outcome.as_str(), took = ?took, state = check.state.as_str(),
            "check made"
        );
        if let Some(change) = change {
            publish(&self.name, &self.newest, change);
        }
        check
    }
}

impl<S: Clone, M: Clone, J: Clone> Clone for Prober<S, M, J> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            make_request: self.make_request.clone(),
            judge: self.judge.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, M, J> fmt::Debug for Prober<S, M, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

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
    rules: ProbeRules,
}

impl<S, M, J> ProberBuilder<S, M, J> {
    /// Judges the answers. Default: every `Err` is bad.
    pub fn judge<K>(self, judge: K) -> ProberBuilder<S, M, K> {
        let Self { name, service, make_request, timeout, rules, .. } = self;
        ProberBuilder { name, service, make_request, judge, timeout, rules }
    }

    /// How long a check answers for the next askers. Default: 60 s; at most a day. Zero: only
    /// those who ask while it is on its way share it.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.rules.ttl = ttl;
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

    /// How many checks [`ProbeStatus::recent`] keeps. Default: 50; between 1 and 10,000.
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
        let Self { name, service, make_request, judge, timeout, rules } = self;
        let mut faults = Faults::default();
        let within_a_day = |time: Duration| !time.is_zero() && time <= DAY;
        let ProbeRules { ttl, failure_threshold, degraded_over, history } = rules;
        faults.unless(!name.is_empty(), "name", &name, "any text but an empty one");
        faults.unless(ttl <= DAY, "ttl", ttl, "at most a day");
        faults.unless(within_a_day(timeout), "timeout", timeout, "above zero, at most a day");
        let some = failure_threshold > 0;
        faults.unless(some, "failure_threshold", failure_threshold, "at least 1");
        let right = within_a_day(degraded_over);
        faults.unless(right, "degraded_over", degraded_over, "above zero, at most a day");
        faults.unless((1..=10_000).contains(&history), "history", history, "1 to 10,000");
        faults.into_result("probe")?;
        let record = Record::new(rules, Instant::now());
        let shared = Shared {
            name,
            timeout,
            newest: watch::Sender::new(record.last().clone()),
            record: Mutex::new(record),
            turn: Semaphore::new(1),
        };
        Ok(Prober { service, make_request, judge, shared: Arc::new(shared) })
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
