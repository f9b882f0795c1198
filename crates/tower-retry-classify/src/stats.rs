//! What happened, counted.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{Class, ErrorPattern, ErrorStats, Reason, observe::Observer};

/// Successes are told apart up to this attempt; the last place counts the later ones too.
const ATTEMPTS: usize = 16;

/// A read-only handle to a policy's counters, shared by all its clones.
#[derive(Clone, Default)]
pub struct RetryStats {
    observer: Arc<Observer>,
}

impl RetryStats {
    pub(crate) const fn new(observer: Arc<Observer>) -> Self {
        Self { observer }
    }

    /// The counters as they stand. Each is exact; among themselves they may be
    /// apart by the calls in flight.
    #[must_use]
    pub fn snapshot(&self) -> RetrySnapshot {
        self.observer.counters.snapshot()
    }

    /// Failures of the last `window`, in whole minutes, an hour at most: by class and
    /// endpoint, the most frequent ones, how many calls recovered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
    /// use tower_retry_classify::{BoxError, Class, RetryPolicy, Shape};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
    /// let policy = RetryPolicy::http().max_retries(0).class(
    ///     Class::Server,
    ///     tower_retry_classify::ClassPolicy::new().max_retries(1),
    /// ).build()?;
    /// let stats = policy.stats();
    /// let broken = service_fn(|_: Request<()>| async {
    ///     Ok::<_, BoxError>(Response::builder().status(500).body(())?)
    /// });
    /// let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(broken);
    /// for n in 0..10 {
    ///     client.clone().oneshot(Request::get(format!("/deals/{n}")).body(())?).await?;
    /// }
    /// let errors = stats.errors(Duration::from_secs(3_600));
    /// assert_eq!((errors.total, errors.lost, errors.recovery_rate()), (20, 10, Some(0.0)));
    /// assert_eq!(errors.top[0].endpoint, "GET /deals/{id}");
    /// let patterns = stats.patterns(Duration::from_secs(3_600));
    /// assert_eq!((patterns[0].class, patterns[0].shape), (Class::Server, Shape::Burst));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn errors(&self, window: Duration) -> ErrorStats {
        self.observer.errors(window)
    }

    /// Endpoints and classes that failed at least ten times in the last `window` (whole
    /// minutes, an hour at most), in bursts, ever more often, or all the time.
    #[must_use]
    pub fn patterns(&self, window: Duration) -> Vec<ErrorPattern> {
        self.observer.patterns(window)
    }
}

impl fmt::Debug for RetryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// One atomic each: what the hot path pays is a single addition.
#[derive(Default)]
pub(crate) struct Counters {
    succeeded: [AtomicU64; ATTEMPTS],
    failed_at: [AtomicU64; ATTEMPTS],
    failed: [AtomicU64; Class::BUILT_IN.len() + 1],
    gave_up: [AtomicU64; Reason::ALL.len()],
    retries: AtomicU64,
    refused: AtomicU64,
    uncloneable: AtomicU64,
}

impl Counters {
    pub(crate) fn succeeded(&self, retries: u32) {
        self.succeeded[attempt(retries)].fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, class: Class, retries: u32) {
        self.failed_at[attempt(retries)].fetch_add(1, Relaxed);
        self.failed[class.place()].fetch_add(1, Relaxed);
    }

    pub(crate) fn gave_up(&self, reason: Reason) {
        self.gave_up[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn uncloneable(&self) {
        self.uncloneable.fetch_add(1, Relaxed);
    }

    fn snapshot(&self) -> RetrySnapshot {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let classes = Class::BUILT_IN.into_iter().chain([Class::Custom("custom")]);
        RetrySnapshot {
            succeeded_at: self.succeeded.iter().map(read).collect(),
            failed_at: self.failed_at.iter().map(read).collect(),
            failed: classes.zip(self.failed.iter().map(read)).filter(|(_, n)| *n > 0).collect(),
            gave_up: Reason::ALL
                .into_iter()
                .zip(self.gave_up.iter().map(read))
                .filter(|(_, n)| *n > 0)
                .collect(),
            retries: read(&self.retries),
            refused: read(&self.refused),
            uncloneable: read(&self.uncloneable),
        }
    }
}

/// The place of an attempt after so many retries.
fn attempt(retries: u32) -> usize {
    usize::try_from(retries).unwrap_or(usize::MAX).min(ATTEMPTS - 1)
}

/// What a policy has seen since it was built.
///
/// Calls that may never be retried, because the policy allows none at all or
/// the request could not be copied, are not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// Calls that succeeded at the first attempt, at the second, ... The last
    /// of the sixteen places counts all later ones.
    pub succeeded_at: Vec<u64>,
    /// Attempts that failed: first ones, second ones, ... likewise.
    pub failed_at: Vec<u64>,
    /// Attempts that failed, by class; those that never happened are left out.
    /// All custom classes count as `Custom("custom")`.
    pub failed: Vec<(Class, u64)>,
    /// Calls that failed although the outcome was worth a retry, by reason.
    pub gave_up: Vec<(Reason, u64)>,
    /// Retries that were decided on.
    pub retries: u64,
    /// Attempts that were refused locally, first ones and retries. They are not
    /// among the failed.
    pub refused: u64,
    /// Requests that could not be copied.
    pub uncloneable: u64,
}

impl RetrySnapshot {
    /// Attempts that succeeded.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.succeeded_at.iter().sum()
    }

    /// Calls that succeeded after at least one retry.
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.succeeded_at.iter().skip(1).sum()
    }

    /// How many of the n-th attempts succeeded, from 0 to 1; the first is 1. `None` if
    /// there was none. The sixteenth stands for all later ones.
    #[must_use]
    pub fn success_rate_at(&self, attempt: usize) -> Option<f64> {
        let place = attempt.checked_sub(1)?.min(ATTEMPTS - 1);
        let (good, bad) = (self.succeeded_at[place], self.failed_at[place]);
        (good + bad > 0).then(|| good as f64 / (good + bad) as f64)
    }

    /// Attempts that failed with this class.
    #[must_use]
    pub fn failed_with(&self, class: Class) -> u64 {
        let same = |other: Class| other.place() == class.place();
        self.failed.iter().filter(|(other, _)| same(*other)).map(|(_, n)| n).sum()
    }

    /// Calls that were given up for this reason.
    #[must_use]
    pub fn gave_up_for(&self, reason: Reason) -> u64 {
        self.gave_up.iter().filter(|(other, _)| *other == reason).map(|(_, n)| n).sum()
    }

    /// Attempts whose outcome was seen and was not a local refusal.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.succeeded() + self.failed.iter().map(|(_, n)| n).sum::<u64>()
    }
}
