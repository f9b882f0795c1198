use std::{
    fmt,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tower_service::Service;

mod builder;

pub use self::builder::ProberBuilder;

use crate::{
    BoxError, Change, Check, CheckOutcome, ErrorsBad, Judge, LoopHandle, ProbeStatus, State,
    Verdict,
    listeners::Listeners,
    probe::{ProbeRules, Record},
    stop::stoppable,
};

type SkipIf = Box<dyn Fn() -> bool + Send + Sync>;

/// Asks a service how it is, when somebody wants to know and the last answer is too old.
///
/// Clones are the same probe. See [`Prober::builder`].
pub struct Prober<S, M, J = ErrorsBad> {
    inner: Arc<Inner<S, M, J>>,
}

struct Inner<S, M, J> {
    service: S,
    make_request: M,
    judge: J,
    shared: Shared,
}

struct Shared {
    name: Arc<str>,
    timeout: Duration,
    record: Mutex<Record>,
    /// Whoever holds the permit makes the check. It is fair, and dropping the
    /// holder hands it to the next who waits.
    turn: Semaphore,
    newest: watch::Sender<Change>,
    listeners: Listeners,
    skip_if: Option<SkipIf>,
    start_within: Duration,
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
        ProberBuilder::new(name.into(), service, make_request)
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
        let fresh = self.inner.shared.lock().rules().ttl;
        self.check_within(fresh).await
    }

    async fn check_within<Request>(&self, fresh: Duration) -> Check
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
        M: Fn() -> Request,
        J: Judge<S::Response, S::Error>,
    {
        let seen = {
            let record = self.inner.shared.lock();
            if let Some(check) = record.usable(Instant::now(), fresh, record.checks()) {
                return check;
            }
            record.checks()
        };
        let _turn = self.inner.shared.turn.acquire().await.expect("it is never closed");
        if let Some(check) = self.inner.shared.lock().usable(Instant::now(), fresh, seen) {
            return check;
        }
        if self.inner.shared.skip_if.as_ref().is_some_and(|skip| skip()) {
            return self.inner.shared.update(Record::skip);
        }
        let (outcome, took) = self.ask().await;
        self.inner.shared.add(outcome, took)
    }

    /// A loop that makes a check every [`interval`](ProberBuilder::interval). Spawn the future;
    /// it stops when the handle is dropped, giving up the check that is on its way.
    ///
    /// The first check comes at a random time within [`start_within`](ProberBuilder::start_within),
    /// so that many processes started at once do not ask at once. The loop shares its checks
    /// with all who [`check`](Self::check), and makes none if one is younger than half the interval.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_health::{BoxError, Prober, State};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), BoxError> {
    /// let service = tower::service_fn(|_: ()| async { Ok::<_, BoxError>(()) });
    /// let prober = Prober::builder("api", service, || ()).interval(Duration::from_secs(300)).build()?;
    /// let (handle, watching) = prober.watch_over();
    /// tokio::spawn(watching);
    /// tokio::time::sleep(Duration::from_secs(3_000)).await;
    /// assert_eq!((prober.state(), prober.status().checks), (State::Healthy, 10));
    /// handle.stop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    pub fn watch_over<Request>(
        &self,
    ) -> (LoopHandle, impl Future<Output = ()> + use<S, M, J, Request>)
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
        M: Fn() -> Request,
        J: Judge<S::Response, S::Error>,
    {
        let prober = self.clone();
        let random = RandomState::new().hash_one(0);
        let start_within = self.inner.shared.start_within;
        let ProbeRules { ttl, interval, .. } = *self.inner.shared.lock().rules();
        let mut next = Instant::now() + part(start_within, random);
        let fresh = ttl.min(interval / 2);
        stoppable(async move {
            loop {
                sleep_until(next).await;
                prober.check_within(fresh).await;
                // A check that took longer than the interval is not made up for.
                next = (next + interval).max(Instant::now());
            }
        })
    }

    async fn ask<Request>(&self) -> (CheckOutcome, Duration)
    where
        S: Service<Request> + Clone,
        S::Error: Into<BoxError>,
        M: Fn() -> Request,
        J: Judge<S::Response, S::Error>,
    {
        let started = Instant::now();
        let mut service = self.inner.service.clone();
        let call = async {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call((self.inner.make_request)()).await
        };
        let answer = timeout(self.inner.shared.timeout, call).await;
        let took = Instant::now().saturating_duration_since(started);
        let outcome = match answer {
            Err(_elapsed) => CheckOutcome::TimedOut,
            Ok(answer) => match (self.inner.judge.judge(answer.as_ref()), answer) {
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
        &self.inner.shared.name
    }

    /// How the service is doing, by the newest check. Asks nobody.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.shared.update(|record, now| {
            record.settle(now);
            record.last().to
        })
    }

    /// Whether the newest check found the service healthy. Asks nobody.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state().is_healthy()
    }

    /// All that is known. Asks nobody.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.inner.shared.update(|record, now| {
            record.settle(now);
            record.status(Arc::clone(&self.inner.shared.name))
        })
    }

    /// Watches the changes of state. The receiver starts with the newest one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Change> {
        self.inner.shared.newest.subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Record> {
        // No user code runs under the lock, so a poisoned record is still whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, outcome: CheckOutcome, took: Duration) -> Check {
        let check = self.update(|record, now| record.add(outcome, took, now));
        tracing::debug!(
            name: "health.checked",
            target: "tower_health",
            health = &*self.name, outcome = check.outcome.as_str(), took = ?took, state = check.state.as_str(),
            "check made"
        );
        check
    }

    /// The only way to change the record: what `change` did is told outside the lock.
    fn update<T>(&self, change: impl FnOnce(&mut Record, Instant) -> T) -> T {
        let mut record = self.lock();
        let before = record.last().number;
        let result = change(&mut record, Instant::now());
        if record.last().number == before {
            return result;
        }
        let newest = record.last().clone();
        drop(record);
        self.listeners.publish(&self.name, &self.newest, &newest);
        result
    }
}

/// The part of `whole` that a random number stands for.
fn part(whole: Duration, random: u64) -> Duration {
    whole.mul_f64(random as f64 / u64::MAX as f64)
}

impl<S, M, J> Clone for Prober<S, M, J> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
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
