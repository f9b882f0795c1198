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

use crate::{
    BoxError, Class, Classify, ConfigError, DeadlineExceeded, GaveUp, HttpStatus, NotRetried,
    Problem, Transport, Verdict,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps requests that failed although they could go better another time, and sends them again when somebody says that
/// the outage is over: for critical operations, beyond what a retry waits for. Clones are the same log.
///
/// What the server may have acted on without telling is reconciled first: before it is sent again, a function of the
/// user's looks whether it was done. So nothing is done twice unless that function errs.
///
/// Bounded in number and age, in memory only. What is final, such as a 404, is not kept; what may pass is, whether a
/// retry was tried or not. Which it is, the retry says if it gave up ([`NotRetried`]), else the classifiers of the log:
/// [`HttpStatus`], [`Transport`], [`DeadlineExceeded`] as a time-out, and those that were [added](Self::classify). So a
/// time-out around the retry counts too, and a failure under a policy that retries nothing.
///
/// A request that was kept is only forgotten when its outcome is final: an answer that no classifier would have retried,
/// or an error of which one says `Never`. An error that nobody knows is no answer.
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
    classifiers: Vec<Judge<Req>>,
}

type Local = Arc<dyn Fn(&BoxError) -> bool + Send + Sync>;
/// Of an answer without its body.
type Judge<Req> = Arc<dyn Classify<Req, Response<()>> + Send + Sync>;

struct Shared<Req> {
    capacity: usize,
    max_age: Duration,
    kept: Mutex<Queue<Req>>,
}

struct Queue<Req> {
    waiting: VecDeque<Kept<Req>>,
    /// Those that replays have taken out to send. Their places stay theirs.
    under_way: usize,
    dropped: u64,
}

impl<Req> Queue<Req> {
    fn len(&self) -> usize {
        self.waiting.len() + self.under_way
    }
}

#[derive(Clone)]
struct Kept<Req> {
    request: Req,
    since: Instant,
    unknown: bool,
}

/// What an outcome is to the log.
enum Fate {
    Final,
    /// An error that no classifier knows.
    Open,
    /// It may go better another time.
    Defeated {
        /// Whether the server may have acted on it.
        unknown: bool,
    },
}

impl Fate {
    const fn of(class: Class) -> Self {
        Self::Defeated { unknown: !class.is_untouched() }
    }
}

/// One request that is looked at and sent. It is out of the row meanwhile; dropped, it goes where `end` says.
struct Turn<'a, Req: Clone> {
    log: &'a ReplayLog<Req>,
    kept: Kept<Req>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// It stays the first, as at the beginning.
    First,
    Last,
    Done,
}

impl<'a, Req: Clone> Turn<'a, Req> {
    fn next(log: &'a ReplayLog<Req>) -> Option<Self> {
        let mut queue = log.kept();
        let kept = queue.waiting.pop_front()?;
        queue.under_way += 1;
        Some(Self { log, kept, end: End::First })
    }
}

impl<Req: Clone> Drop for Turn<'_, Req> {
    fn drop(&mut self) {
        // A copy may be the user's own code: none of it under the lock.
        let kept = (!matches!(self.end, End::Done)).then(|| self.kept.clone());
        let mut queue = self.log.kept();
        queue.under_way -= 1;
        match (self.end, kept) {
            (End::First, Some(kept)) => queue.waiting.push_front(kept),
            (End::Last, Some(kept)) => queue.waiting.push_back(kept),
            (End::Done, _) | (_, None) => {}
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
    /// Requests that were sent and have their final outcome, be it good or bad: an answer, in nearly all cases.
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
        let kept = Queue { waiting: VecDeque::new(), under_way: 0, dropped: 0 };
        let shared = Arc::new(Shared { capacity, max_age, kept: Mutex::new(kept) });
        let transport = Transport::new().also(|error| {
            let late = error.is::<DeadlineExceeded>();
            if late { Verdict::retry(Class::Timeout) } else { Verdict::NoOpinion }
        });
        let classifiers: Vec<Judge<Req>> = vec![Arc::new(HttpStatus::new()), Arc::new(transport)];
        Ok(Self { shared, local: Vec::new(), classifiers })
    }

    /// Adds a classifier behind those already there; it may overrule them. Give the log what the policy has beside
    /// [`HttpStatus`] and [`Transport`], or it keeps by those two what the policy calls final, and the other way round.
    /// Answers come without their bodies; what was [peeked at](crate::Peeked) is there. Of this handle and the clones
    /// made of it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use tower_retry_classify::{BoxError, Class, ReplayLog, Verdict};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let locked = |_: &Request<()>, outcome: Result<&Response<()>, &BoxError>| match outcome {
    ///     Ok(answer) if answer.status() == 423 => Verdict::retry(Class::Custom("locked")),
    ///     _ => Verdict::NoOpinion,
    /// };
    /// let log = ReplayLog::new(100, Duration::from_secs(600))?.classify(locked);
    /// let send = |_| async { Ok(Response::builder().status(423).body("later")?) };
    /// assert_eq!(log.run(Request::put("/file").body(())?, send).await?.into_body(), "later");
    /// assert_eq!(log.len(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn classify(
        mut self,
        classifier: impl Classify<Req, Response<()>> + Send + Sync + 'static,
    ) -> Self {
        self.classifiers.push(Arc::new(classifier));
        self
    }

    /// Errors that mean that nothing was sent, as in [`RetryBuilder::local`](crate::RetryBuilder::local): the refusal of
    /// an open circuit, say. What they defeat is kept too. Default: none. Of this handle and the clones made of it.
    #[must_use]
    pub fn local(mut self, local: impl Fn(&BoxError) -> bool + Send + Sync + 'static) -> Self {
        self.local.push(Arc::new(local));
        self
    }

    /// How many requests are kept, never more than the capacity: those that a replay is sending among them, and until the
    /// next replay those that have become too old.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests were not kept because the log was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.kept().dropped
    }

    /// What an outcome is, and the outcome as it was.
    fn judge<B>(
        &self,
        request: &Req,
        outcome: Result<Response<B>, BoxError>,
    ) -> (Result<Response<B>, BoxError>, Fate) {
        match outcome {
            Ok(answer) => {
                if let Some(why) = NotRetried::of(&answer) {
                    let fate = Fate::of(why.class());
                    return (Ok(answer), fate);
                }
                let (parts, body) = answer.into_parts();
                let bare = Response::from_parts(parts, ());
                let fate = match self.verdict(request, Ok(&bare)) {
                    Verdict::Retry { class, .. } => Fate::of(class),
                    Verdict::Never { .. } | Verdict::NoOpinion => Fate::Final,
                };
                (Ok(bare.map(|()| body)), fate)
            }
            Err(error) => {
                let fate = if let Some(gave_up) = GaveUp::find(&*error) {
                    Fate::of(gave_up.why().class())
                } else if self.local.iter().any(|local| local(&error)) {
                    Fate::Defeated { unknown: false }
                } else {
                    match self.verdict(request, Err(&error)) {
                        Verdict::Retry { class, .. } => Fate::of(class),
                        Verdict::Never { .. } => Fate::Final,
                        Verdict::NoOpinion => Fate::Open,
                    }
                };
                (Err(error), fate)
            }
        }
    }

    /// That of the last classifier that has one.
    fn verdict(&self, request: &Req, outcome: Result<&Response<()>, &BoxError>) -> Verdict {
        let mut verdicts = self.classifiers.iter().rev().map(|it| it.classify(request, outcome));
        verdicts.find(|verdict| *verdict != Verdict::NoOpinion).unwrap_or(Verdict::NoOpinion)
    }

    /// False if there is no room.
    fn add(&self, kept: Kept<Req>) -> bool {
        let mut log = self.kept();
        let room = log.len() < self.shared.capacity;
        if room {
            log.waiting.push_back(kept);
        } else {
            log.dropped += 1;
        }
        room
    }

    fn kept(&self) -> MutexGuard<'_, Queue<Req>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request by a closure that goes through a retry, and keeps a copy if it failed and may go better another
    /// time. The caller gets the outcome as it is. A log that is full keeps nothing more, says so by an event and counts
    /// it ([`dropped`](Self::dropped)): what was promised first is kept, and what a replay is sending has its place.
    /// An error that no classifier knows is not kept: the caller has it.
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
        let (outcome, fate) = self.judge(&copy, send(request).await);
        if let Fate::Defeated { unknown } = fate {
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
    /// over, and the rest stays. A request that ends in an error that no classifier knows goes behind the others, for it
    /// has no answer yet. `look` is asked before a request is sent whose outcome is unknown, and may answer by asking the
    /// server. Two replays at once share the work.
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
        let mut turns = self.kept().waiting.len();
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
            let outcome = send(turn.kept.request.clone()).await;
            match self.judge(&turn.kept.request, outcome).1 {
                Fate::Final => {
                    replayed.sent += 1;
                    turn.end = End::Done;
                }
                Fate::Open => turn.end = End::Last,
                Fate::Defeated { unknown } => {
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
        Self {
            shared: Arc::clone(&self.shared),
            local: self.local.clone(),
            classifiers: self.classifiers.clone(),
        }
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
