use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;
use tower::retry::Policy;

use crate::{
    BoxError, Class, Classify, GaveUp, NotRetried, Reason, RetryBudget, RetryDelay, RetryStats,
    Verdict, history::Event, shared::Shared,
};

/// Far apart and odd, so that the streams of two sessions do not meet.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Decides about retries; a [`tower::retry::Policy`]. See the [crate docs](crate).
///
/// A clone shares configuration, budget and statistics with the original, and
/// begins a session (one request with its retries) of its own.
pub struct RetryPolicy<Req, Res> {
    pub(crate) shared: Arc<Shared<Req, Res>>,
    session: Session,
    /// The outcome of the last attempt that was really made. Only reached through
    /// `&mut`; the mutex makes the policy `Sync` for a response that is not. Boxed,
    /// as few calls have one and all carry the policy.
    previous: Mutex<Option<Box<Previous<Res>>>>,
}

/// An outcome, and its class.
type Previous<Res> = (Result<Res, BoxError>, Class);

/// One request with its retries.
#[derive(Default)]
struct Session {
    /// Retries decided on so far.
    retries: u32,
    /// What the last of them cost.
    paid: u32,
    /// How long the last wait was.
    waited: Duration,
    /// What the last attempt failed with.
    class: Option<Class>,
    /// Chance. Made at the first retry, from a counter all sessions share.
    random: Option<fastrand::Rng>,
}

/// No retry, and why; the wait that did not fit.
struct No(Reason, Option<Duration>);

impl<Req, Res> RetryPolicy<Req, Res> {
    pub(crate) fn new(shared: Shared<Req, Res>) -> Self {
        Self::session(Arc::new(shared))
    }

    fn session(shared: Arc<Shared<Req, Res>>) -> Self {
        Self { shared, session: Session::default(), previous: Mutex::new(None) }
    }

    /// The counters of this policy and all its clones.
    #[must_use]
    pub fn stats(&self) -> RetryStats {
        RetryStats::new(Arc::clone(&self.shared.observer))
    }

    /// The budget that retries are paid from.
    #[must_use]
    pub fn budget(&self) -> RetryBudget {
        self.shared.budget.clone()
    }

    fn previous(&mut self) -> &mut Option<Box<Previous<Res>>> {
        self.previous.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what came of the attempt. Not for calls that go well at once.
    #[cold]
    fn note(&self, request: &Req, class: Class, attempt: u32, event: Event) {
        self.shared.observer.note(&self.shared.endpoint(request), class, attempt, event);
    }

    fn succeeded(&self, request: &Req) {
        self.shared.observer.counters.succeeded(self.session.retries);
        if let Some(class) = self.session.class {
            self.note(request, class, self.session.retries + 1, Event::Recovered);
        }
        self.shared.budget.succeeded(self.session.retries, self.session.paid);
    }

    /// Whether to retry, and after which wait. Pays if so.
    fn decide(
        &mut self,
        request: &Req,
        class: Class,
        after: Option<Duration>,
    ) -> Result<(Duration, Instant), No> {
        let shared = &*self.shared;
        let limits = shared.limits(class);
        if !shared.may_repeat(request, class, limits) {
            return Err(No(Reason::NotIdempotent, after));
        }
        let session = &mut self.session;
        if session.retries >= limits.max_retries {
            return Err(No(Reason::Exhausted, after));
        }
        let random = session.random.get_or_insert_with(|| {
            fastrand::Rng::with_seed(shared.seed.fetch_add(SEED_STEP, Relaxed))
        });
        let own = limits.backoff.delay(session.retries, session.waited, random.f64());
        // A class without a strategy has no retries left, so there is a delay.
        let mut own = own.unwrap_or_default();
        if session.retries == 0 && shared.observer.learns() {
            let factor = shared.observer.factor(&shared.endpoint(request), class);
            own = limits.backoff.scaled(own, factor);
        }
        // "At once" is no reason to hammer.
        let after = after.filter(|after| !after.is_zero());
        let wait = after.map_or(own, |after| limits.backoff.spread(after, random.f64()));
        let told = after.or(Some(own));
        let now = Instant::now();
        let deadline = shared.deadline.as_ref().and_then(|deadline| deadline(request));
        let until = match (now.checked_add(wait), deadline) {
            (Some(until), Some(deadline)) if until < deadline => until,
            (_, Some(_)) => return Err(No(Reason::Deadline, told)),
            (Some(until), None) if wait <= shared.max_wait => until,
            (_, None) => return Err(No(Reason::WaitTooLong, told)),
        };
        let Some(paid) = shared.budget.withdraw(class) else {
            return Err(No(Reason::Budget, told));
        };
        session.retries += 1;
        session.paid = paid;
        session.waited = wait;
        session.class = Some(class);
        Ok((wait, until))
    }

    /// The outcome is final, and carries the reason.
    fn give_up(&self, result: &mut Result<Res, BoxError>, why: NotRetried) {
        self.shared.observer.counters.gave_up(why.reason);
        tracing::debug!(
            target: "tower_retry_classify",
            class = why.class.name(),
            reason = why.reason.name(),
            retries = why.retries,
            "gave_up"
        );
        match result {
            Ok(response) => {
                if let Some(attach) = self.shared.attach {
                    attach(response, why);
                }
            }
            Err(error) => {
                let source = mem::replace(error, Box::new(Taken));
                *error = Box::new(GaveUp::new(why, source));
            }
        }
    }

    /// The attempt was refused locally. The caller gets what really happened
    /// last, with the refusal beside it; at the first attempt, the refusal.
    #[cold]
    fn refused(&mut self, request: &Req, result: &mut Result<Res, BoxError>) {
        self.shared.observer.counters.refused();
        if self.session.retries == 0 {
            return;
        }
        // It was paid for, and not sent.
        self.shared.budget.refund(self.session.paid);
        let retries = self.session.retries - 1;
        if let Some(class) = self.session.class {
            self.note(request, class, retries + 2, Event::GaveUp { reason: Reason::Refused });
        }
        let Some((previous, class)) = self.previous().take().map(|previous| *previous) else {
            self.shared.observer.counters.gave_up(Reason::Refused);
            return;
        };
        let refusal = mem::replace(result, previous).err().map(Arc::from);
        self.give_up(
            result,
            NotRetried { reason: Reason::Refused, class, retries, wait: None, refusal },
        );
    }

    /// It failed, and trying again cannot help.
    #[cold]
    fn ended(&self, request: &Req, class: Class) {
        self.shared.observer.counters.failed(class, self.session.retries);
        self.note(request, class, self.session.retries + 1, Event::Final);
    }

    #[cold]
    fn failed(
        &mut self,
        request: &Req,
        result: &mut Result<Res, BoxError>,
        class: Class,
        after: Option<Duration>,
    ) -> Option<RetryDelay> {
        self.shared.observer.counters.failed(class, self.session.retries);
        let attempt = self.session.retries + 1;
        if self.shared.limits(class).max_retries == 0 {
            self.note(request, class, attempt, Event::Final);
            return None;
        }
        match self.decide(request, class, after) {
            Ok((wait, until)) => {
                self.shared.observer.counters.retried();
                self.note(request, class, attempt, Event::Retried { wait });
                tracing::debug!(
                    target: "tower_retry_classify",
                    class = class.name(),
                    retry = self.session.retries,
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    "retry"
                );
                if result.is_err() || self.shared.keep_responses {
                    let outcome = mem::replace(result, Err(Box::new(Taken)));
                    *self.previous() = Some(Box::new((outcome, class)));
                } else {
                    *self.previous() = None;
                }
                Some(RetryDelay::new(wait, until))
            }
            Err(No(reason, wait)) => {
                self.note(request, class, attempt, Event::GaveUp { reason });
                let retries = self.session.retries;
                self.give_up(result, NotRetried { reason, class, retries, wait, refusal: None });
                None
            }
        }
    }
}

impl<Req, Res> Policy<Req, Res, BoxError> for RetryPolicy<Req, Res> {
    type Future = RetryDelay;

    fn retry(
        &mut self,
        request: &mut Req,
        result: &mut Result<Res, BoxError>,
    ) -> Option<RetryDelay> {
        if let Err(error) = &*result {
            if self.shared.is_local(error) {
                self.refused(request, result);
                return None;
            }
        }
        match (self.shared.chain.classify(request, result.as_ref()), &*result) {
            (Verdict::NoOpinion, Ok(_)) => {
                self.succeeded(request);
                None
            }
            (Verdict::NoOpinion, Err(_)) => {
                self.ended(request, Class::Other);
                None
            }
            (Verdict::Never { class }, _) => {
                self.ended(request, class);
                None
            }
            (Verdict::Retry { class, after }, _) => self.failed(request, result, class, after),
        }
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        if !self.shared.ever() {
            return None; // nothing to copy it for
        }
        if self.session.retries == 0 {
            self.shared.budget.request();
        }
        let copy = (self.shared.copy)(request);
        if copy.is_none() {
            self.shared.observer.counters.uncloneable();
        }
        copy
    }
}

/// Stands where an outcome was taken out; nobody gets to see it. Of no size, so
/// boxing it allocates nothing.
#[derive(Debug, thiserror::Error)]
#[error("the outcome was taken")]
struct Taken;

/// Begins a new session.
impl<Req, Res> Clone for RetryPolicy<Req, Res> {
    fn clone(&self) -> Self {
        Self::session(Arc::clone(&self.shared))
    }
}

impl<Req, Res> fmt::Debug for RetryPolicy<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("limits", &self.shared.limits)
            .field("classes", &self.shared.classes)
            .field("budget", &self.shared.budget)
            .field("retries", &self.session.retries)
            .finish_non_exhaustive()
    }
}
