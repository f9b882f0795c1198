use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{Change, HealthBuilder, Report, State, Verdict, listeners::Listeners, score::Score};

/// The score of a service: what [`HealthLayer`](crate::HealthLayer)s feed, and the handle to read it.
///
/// Clones are the same score. It takes about 70 kB for its latencies, whatever the traffic.
///
/// That a service is idle is found by asking: nobody watches the clock, so
/// [`watch`](Self::watch) hears of it with the next call, [`state`](Self::state) or [`report`](Self::report).
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    cancelled: Verdict,
    score: Mutex<Score>,
    newest: watch::Sender<Change>,
    listeners: Listeners,
    /// The state as of the newest change, for those who only glance at it.
    glance: AtomicU8,
}

impl Health {
    /// Starts from the default configuration; the name appears in reports and events.
    pub fn builder(name: impl Into<Arc<str>>) -> HealthBuilder {
        HealthBuilder::new(name.into())
    }

    pub(crate) fn from_score(
        name: Arc<str>,
        score: Score,
        cancelled: Verdict,
        listeners: Listeners,
    ) -> Self {
        let newest = watch::Sender::new(score.last().clone());
        let score = Mutex::new(score);
        Self {
            shared: Arc::new(Shared {
                name,
                cancelled,
                score,
                newest,
                listeners,
                glance: AtomicU8::new(0),
            }),
        }
    }

    /// The name given to the builder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How the service is doing now.
    #[must_use]
    pub fn state(&self) -> State {
        self.change_now().to
    }

    /// Whether the service is healthy now; a degraded one is not.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state().is_healthy()
    }

    /// All that is known now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.update(Instant::now(), |score, now| {
            score.settle(now);
            let sum = score.window().sum(now);
            let quantiles = score.window().quantiles(now);
            let trend = score.trend(now);
            let last = score.last();
            Report {
                name: Arc::clone(&self.shared.name),
                state: last.to,
                reason: last.reason,
                since: last.at,
                calls: sum.calls,
                bad: sum.bad,
                error_rate: sum.error_rate(),
                consecutive_bad: score.streak(),
                average: sum.average(),
                p50: quantiles.map(|found| found.p50),
                p95: quantiles.map(|found| found.p95),
                p99: quantiles.map(|found| found.p99),
                trend,
                changes: last.number,
            }
        })
    }

    /// Watches the changes of state. The receiver starts with the newest one seen;
    /// it may miss one that is quickly followed by another, as the numbers show.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Change> {
        self.shared.newest.subscribe()
    }

    /// Counts an outcome that no layer saw. It counts as at most a day long.
    pub fn record(&self, verdict: Verdict, took: Duration) {
        self.record_at(verdict, took, Instant::now());
    }

    /// Forgets every outcome; the state is unknown.
    pub fn reset(&self) {
        self.update(Instant::now(), Score::reset);
    }

    /// The state that was found last, without looking at the clock.
    pub(crate) fn last_state(&self) -> State {
        State::ALL[usize::from(self.shared.glance.load(Ordering::Relaxed))]
    }

    /// The change that led to how the service is doing now.
    pub(crate) fn change_now(&self) -> Change {
        self.update(Instant::now(), |score, now| {
            score.settle(now);
            score.last().clone()
        })
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.name)
    }

    pub(crate) fn cancelled(&self) -> Verdict {
        self.shared.cancelled
    }

    pub(crate) fn record_at(&self, verdict: Verdict, took: Duration, now: Instant) {
        let bad = match verdict {
            Verdict::Good => false,
            Verdict::Bad => true,
            Verdict::Ignore => return,
        };
        self.update(now, |score, now| score.record(now, took, bad));
    }

    /// The only way to change the score: what `change` did is told outside the lock.
    fn update<T>(&self, now: Instant, change: impl FnOnce(&mut Score, Instant) -> T) -> T {
        let mut score = self.lock();
        let before = score.last().number;
        let result = change(&mut score, now);
        if score.last().number == before {
            return result;
        }
        let newest = score.last().clone();
        self.shared.glance.store(newest.to as u8, Ordering::Relaxed);
        drop(score);
        let Shared { name, listeners, newest: watched, .. } = &*self.shared;
        listeners.publish(name, watched, &newest);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Score> {
        // No user code runs under the lock, so a poisoned score is still whole.
        self.shared.score.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock().last().to;
        f.debug_struct("Health")
            .field("name", &self.name())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
