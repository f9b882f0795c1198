//! Critical requests that an outage has defeated, kept to be sent again when it is over.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Response;
use tokio::time::Instant;

use crate::{BoxError, ConfigError, GaveUp, NotRetried, Problem};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps requests that failed although they could go better another time, and sends them again when somebody says that
/// the outage is over: for critical operations, beyond what a retry waits for. Clones are the same log.
///
/// What the server may have acted on without telling is reconciled first: before it is sent again, a function of the
/// user's looks whether it was done. So nothing is done twice unless that function errs.
///
/// Bounded in number and age, in memory only. A request is kept as long as its class may pass ([`NotRetried`]): what is
/// final, such as a 404, is not.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, Done, ReplayLog, RetryPolicy};
/// # use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// # static DOWN: AtomicBool = AtomicBool::new(true);
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryPolicy::http().build()?))
///     .service(service_fn(|_: Request<&'static str>| async {
///         let status = if DOWN.load(Relaxed) { 503 } else { 201 };
///         Ok::<_, BoxError>(Response::builder().status(status).body(())?)
///     }));
/// let send = |request| client.clone().oneshot(request);
///
/// let log = ReplayLog::new(100, Duration::from_secs(600))?;
/// let invoice = Request::post("/invoices").body("17")?;
/// assert_eq!(log.run(invoice, send).await?.status(), 503);
/// assert_eq!(log.len(), 1);
///
/// # DOWN.store(false, Relaxed);
/// // Later. The 503 does not say whether the invoice was written, so somebody must look.
/// let replayed = log.replay(send, |_| async { Ok(Done::No) }).await?;
/// assert_eq!((replayed.sent, replayed.left), (1, 0));
/// # Ok(()) }
/// ```
pub struct ReplayLog<Req> {
    shared: Arc<Shared<Req>>,
    local: Vec<Local>,
}

type Local = Arc<dyn Fn(&BoxError) -> bool + Send + Sync>;

struct Shared<Req> {
    capacity: usize,
    max_age: Duration,
    kept: Mutex<VecDeque<Kept<Req>>>,
}

#[derive(Clone)]
struct Kept<Req> {
    request: Req,
    since: Instant,
    unknown: bool,
}

/// One request that is looked at and sent. It is out of the log meanwhile; dropped, it goes where `end` says.
struct Turn<'a, Req: Clone> {
    log: &'a ReplayLog<Req>,
    kept: Kept<Req>,
    end: End,
}

enum End {
    /// It stays the first, as at the beginning.
    First,
    Last,
    Done,
}

impl<'a, Req: Clone> Turn<'a, Req> {
    fn next(log: &'a ReplayLog<Req>) -> Option<Self> {
        let kept = log.kept().pop_front()?;
        Some(Self { log, kept, end: End::First })
    }
}

impl<Req: Clone> Drop for Turn<'_, Req> {
    fn drop(&mut self) {
        match self.end {
            End::First => self.log.kept().push_front(self.kept.clone()),
            End::Last => self.log.kept().push_back(self.kept.clone()),
            End::Done => {}
        }
    }
}

/// What reconciliation found of a request whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// The server has acted on it: it is not sent again.
    Yes,
    /// It has not: it is sent again.
    No,
    /// Nobody knows yet: it is kept.
    Unknown,
}

/// What one [`replay`](ReplayLog::replay) came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Requests that were sent and have their final outcome, be it good or bad.
    pub sent: usize,
    /// Requests that turned out to be done already.
    pub reconciled: usize,
    /// Requests that had become too old.
    pub expired: usize,
    /// Requests that are still kept.
    pub left: usize,
}

impl<Req> ReplayLog<Req> {
    /// Keeps at most `capacity` requests (1 to 100,000), each for at most `max_age` (above zero, at most a day).
    /// Autotask's figures are 100 and ten minutes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn new(capacity: usize, max_age: Duration) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if !(1..=100_000).contains(&capacity) {
            problems.push(Problem::new("capacity", capacity, "from 1 to 100,000"));
        }
        if max_age.is_zero() || max_age > DAY {
            let given = format!("{max_age:?}");
            problems.push(Problem::new("max_age", given, "above zero, at most a day"));
        }
        ConfigError::of(problems)?;
        let shared = Arc::new(Shared { capacity, max_age, kept: Mutex::default() });
        Ok(Self { shared, local: Vec::new() })
    }

    /// Errors that mean that nothing was sent, as in [`RetryBuilder::local`](crate::RetryBuilder::local): the refusal of
    /// an open circuit, say. What they defeat is kept too. Default: none. Of this handle and the clones made of it.
    #[must_use]
    pub fn local(mut self, local: impl Fn(&BoxError) -> bool + Send + Sync + 'static) -> Self {
        self.local.push(Arc::new(local));
        self
    }

    /// How many requests are kept, those that have become too old among them until the next replay.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a call failed that may go better another time, and if so, whether the server may have acted on it.
    fn defeated<B>(&self, outcome: &Result<Response<B>, BoxError>) -> Option<bool> {
        let why = match outcome {
            Ok(answer) => NotRetried::of(answer)?,
            Err(error) => match GaveUp::find(&**error) {
                Some(gave_up) => gave_up.why(),
                None => return self.local.iter().any(|local| local(error)).then_some(false),
            },
        };
        Some(!why.class().is_untouched())
    }

    /// False if there is no room.
    fn add(&self, kept: Kept<Req>) -> bool {
        let mut log = self.kept();
        let room = log.len() < self.shared.capacity;
        if room {
            log.push_back(kept);
        }
        room
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept<Req>>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request by a closure that goes through a retry, and keeps a copy if it failed and may go better another
    /// time. The caller gets the outcome as it is. A log that is full keeps nothing more, and says so by an event:
    /// what was promised first is kept.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    ///
    /// # Cancellation
    ///
    /// A call that is dropped before its outcome is not kept: its caller has given it up.
    pub async fn run<B, F, Fut>(&self, request: Req, send: F) -> Result<Response<B>, BoxError>
    where
        Req: Clone,
        F: FnOnce(Req) -> Fut,
        Fut: Future<Output = Result<Response<B>, BoxError>>,
    {
        let copy = request.clone();
        let outcome = send(request).await;
        if let Some(unknown) = self.defeated(&outcome) {
            let kept = Kept { request: copy, since: Instant::now(), unknown };
            if !self.add(kept) {
                tracing::warn!(
                    target: "tower_retry_classify",
                    capacity = self.shared.capacity,
                    "replay_log_full"
                );
            }
        }
        outcome
    }

    /// Sends what is kept again, the oldest first, until all is done or one is defeated again: then the outage is not
    /// over, and the rest stays. `look` is asked before a request is sent whose outcome is unknown, and may answer by
    /// asking the server. Two replays at once share the work.
    ///
    /// # Errors
    ///
    /// The first of `look`; what it was asked about is kept.
    ///
    /// # Cancellation
    ///
    /// Nothing is forgotten. The request that is under way may have been acted on: it is looked for before it is sent
    /// again.
    pub async fn replay<B, F, Fut, L, Look>(
        &self,
        mut send: F,
        mut look: L,
    ) -> Result<Replayed, BoxError>
    where
        Req: Clone,
        F: FnMut(Req) -> Fut,
        Fut: Future<Output = Result<Response<B>, BoxError>>,
        L: FnMut(Req) -> Look,
        Look: Future<Output = Result<Done, BoxError>>,
    {
        let mut replayed = Replayed::default();
        // Each once: what is put back comes behind those that were there.
        let mut turns = self.len();
        while turns > 0 {
            turns -= 1;
            let Some(mut turn) = Turn::next(self) else { break };
            if turn.kept.since.elapsed() > self.shared.max_age {
                replayed.expired += 1;
                turn.end = End::Done;
                continue;
            }
            if turn.kept.unknown {
                match look(turn.kept.request.clone()).await? {
                    Done::Yes => {
                        replayed.reconciled += 1;
                        turn.end = End::Done;
                        continue;
                    }
                    Done::No => {}
                    Done::Unknown => {
                        turn.end = End::Last;
                        continue;
                    }
                }
            }
            // As long as its outcome has not come.
            turn.kept.unknown = true;
            match self.defeated(&send(turn.kept.request.clone()).await) {
                None => {
                    replayed.sent += 1;
                    turn.end = End::Done;
                }
                Some(unknown) => {
                    turn.kept.unknown = unknown;
                    break;
                }
            }
        }
        replayed.left = self.len();
        Ok(replayed)
    }
}

impl<Req> Clone for ReplayLog<Req> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), local: self.local.clone() }
    }
}

impl<Req> fmt::Debug for ReplayLog<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayLog")
            .field("kept", &self.len())
            .field("capacity", &self.shared.capacity)
            .finish_non_exhaustive()
    }
}
