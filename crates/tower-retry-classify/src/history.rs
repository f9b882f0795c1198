//! What happened to each call that did not go well at once, record by record.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{Class, Reason};

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Event {
    /// It failed, and is tried again after this wait.
    Retried {
        /// How long.
        wait: Duration,
    },
    /// It succeeded, after a failure of this class.
    Recovered,
    /// It failed, and was given up although it could have gone better.
    GaveUp {
        /// Why.
        reason: Reason,
    },
    /// It failed for good: trying again could not have helped.
    Final,
}

/// One attempt that failed, or that made good an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryRecord {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// Where, without identifiers; see [`Repeatable::endpoint`](crate::Repeatable::endpoint).
    pub endpoint: String,
    /// What went wrong.
    pub class: Class,
    /// Which attempt: 1 is the first.
    pub attempt: u32,
    /// What came of it.
    pub event: Event,
}

/// Where records go: a table, a file, a channel. Called for failures only, outside of
/// every lock, on the task of the call: it must not block. Closures implement it.
pub trait History {
    /// Takes a record.
    fn record(&self, record: &RetryRecord);
}

impl<F: Fn(&RetryRecord)> History for F {
    fn record(&self, record: &RetryRecord) {
        self(record);
    }
}

/// The newest records, in memory. Clones share them.
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, Class, Event, RecentHistory, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let history = RecentHistory::new(100);
/// let policy = RetryPolicy::http().history(history.clone()).build()?;
/// let gone = service_fn(|_: Request<()>| async {
///     Ok::<_, BoxError>(Response::builder().status(404).body(())?)
/// });
/// let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(gone);
/// client.oneshot(Request::get("/deals/17").body(())?).await?;
/// let records = history.records();
/// assert_eq!(records[0].endpoint, "GET /deals/{id}");
/// assert_eq!((records[0].class, records[0].event), (Class::NotFound, Event::Final));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RecentHistory {
    records: Arc<Mutex<VecDeque<RetryRecord>>>,
    capacity: usize,
}

impl RecentHistory {
    /// Keeps so many records, 1,000 by [`Default`]. The oldest make room. Fewer than 1 count
    /// as 1, and more than 1,000,000 as those.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { records: Arc::default(), capacity: capacity.clamp(1, 1_000_000) }
    }

    /// The records, the oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<RetryRecord> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }

    /// Takes the records out, the oldest first: for somebody who writes them elsewhere now and then.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
    /// use tower_retry_classify::{BoxError, RecentHistory, RetryPolicy};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
    /// let history = RecentHistory::new(100);
    /// let policy = RetryPolicy::http().history(history.clone()).build()?;
    /// let gone = service_fn(|_: Request<()>| async {
    ///     Ok::<_, BoxError>(Response::builder().status(404).body(())?)
    /// });
    /// let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(gone);
    /// client.oneshot(Request::get("/deals/17").body(())?).await?;
    /// assert_eq!((history.take().len(), history.take().len()), (1, 0));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn take(&self) -> Vec<RetryRecord> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *records).into()
    }
}

impl Default for RecentHistory {
    fn default() -> Self {
        Self::new(1_000)
    }
}

impl History for RecentHistory {
    fn record(&self, record: &RetryRecord) {
        let record = record.clone();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_back(record);
        while records.len() > self.capacity {
            records.pop_front();
        }
    }
}

impl fmt::Debug for RecentHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentHistory").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
