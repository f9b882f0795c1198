//! The one request extension of the stack: what the layers need to know of a logical call.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use http::HeaderValue;
use tokio::time::Instant;
use tower_ratelimit_tokens::{OnLimit, Priority, Terms};

/// What rides along with a request: deadline, priority, path template, request id, price, and a count of attempts.
///
/// One `Arc`, so that a retry's copy of the request shares it. Layers read it through closures and know nothing of it.
///
/// It arrives once, when it is built: a retry asks the limiter with the time of the first attempt, and so keeps its
/// place among the calls of its priority.
///
/// ```
/// use pipedrive_service::{Call, OnLimit, Priority};
/// use tower_ratelimit_tokens::Terms;
///
/// let call = Call::builder("/api/v2/deals").priority(Priority::HIGH).build();
/// let terms = Terms::from(Priority::HIGH).arrived(Some(call.arrived()));
/// assert_eq!(call.terms(OnLimit::Wait), terms);
/// assert_eq!(call.terms(OnLimit::Reject), terms.no_wait());
/// ```
#[derive(Clone)]
pub struct Call {
    inner: Arc<Inner>,
}

struct Inner {
    template: &'static str,
    request_id: HeaderValue,
    deadline: Option<Instant>,
    arrived: Instant,
    priority: Priority,
    on_limit: Option<OnLimit>,
    cost: u32,
    paged: bool,
    repeatable: bool,
    attempts: AtomicU32,
    empty: AtomicU32,
}

impl Call {
    /// A call of the operation with this path template.
    pub fn builder(template: &'static str) -> CallBuilder {
        CallBuilder {
            template,
            request_id: None,
            deadline: None,
            arrived: None,
            priority: Priority::NORMAL,
            on_limit: None,
            cost: 0,
            paged: false,
            repeatable: false,
        }
    }

    /// The path template, such as `/api/v2/deals/{id}`.
    #[must_use]
    pub fn template(&self) -> &'static str {
        self.inner.template
    }

    /// The id that all attempts carry in `x-request-id`.
    #[must_use]
    pub fn request_id(&self) -> &HeaderValue {
        &self.inner.request_id
    }

    /// When the call, with all waiting and attempts, must have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Since when it has been wanted: the moment at which it was built, unless that was told.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.inner.arrived
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.inner.priority
    }

    /// What becomes of it when there is no budget at once, if it says so itself.
    #[must_use]
    pub fn on_limit(&self) -> Option<OnLimit> {
        self.inner.on_limit
    }

    /// On what terms it asks the limiter, if calls that say nothing of it wait or are refused as `otherwise` says.
    #[must_use]
    #[inline]
    pub fn terms(&self, otherwise: OnLimit) -> Terms {
        let Inner { priority, deadline, arrived, on_limit, .. } = *self.inner;
        let terms = Terms::new().priority(priority).deadline(deadline).arrived(Some(arrived));
        match on_limit.unwrap_or(otherwise) {
            OnLimit::Reject => terms.no_wait(),
            _ => terms,
        }
    }

    /// What one attempt costs.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.inner.cost
    }

    /// Whether this is one page of a list, whose size may be changed.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.inner.paged
    }

    /// Whether the caller said that it may be sent twice although its method does not promise so.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.inner.repeatable
    }

    /// How many attempts were handed to the network so far.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts.load(Ordering::Relaxed)
    }

    /// Whether every attempt was answered by a success that holds nothing.
    pub(crate) fn is_always_empty(&self) -> bool {
        self.inner.empty.load(Ordering::Relaxed) == self.attempts()
    }

    /// Counts an attempt whose answer holds nothing; called by the classifier.
    pub(crate) fn was_empty(&self) {
        self.inner.empty.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt; called by [`Collect`](crate::collect::Collect).
    pub(crate) fn sent(&self) {
        self.inner.attempts.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("template", &self.inner.template)
            .field("request_id", &self.inner.request_id)
            .field("deadline", &self.inner.deadline)
            .field("priority", &self.inner.priority)
            .field("cost", &self.inner.cost)
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}

/// Builds a [`Call`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CallBuilder {
    template: &'static str,
    request_id: Option<HeaderValue>,
    deadline: Option<Instant>,
    arrived: Option<Instant>,
    priority: Priority,
    on_limit: Option<OnLimit>,
    cost: u32,
    paged: bool,
    repeatable: bool,
}

impl CallBuilder {
    /// The request id. Default: a fresh one.
    pub fn request_id(mut self, id: HeaderValue) -> Self {
        self.request_id = Some(id);
        self
    }

    /// When the call must have ended. Default: never.
    pub fn deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Since when it has been wanted, if somebody waited before it could be built. A time in the future counts as
    /// now. Default: now.
    pub fn arrived(mut self, at: impl Into<Option<Instant>>) -> Self {
        self.arrived = at.into();
        self
    }

    /// How urgent it is. Default: [`Priority::NORMAL`].
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Whether it waits or is refused when there is no budget at once. Default: as
    /// `robustness.rate_limiting.on_limit` says.
    pub fn on_limit(mut self, on_limit: impl Into<Option<OnLimit>>) -> Self {
        self.on_limit = on_limit.into();
        self
    }

    /// What one attempt costs. Default: 0.
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// One page of a list. Default: no.
    pub const fn paged(mut self, paged: bool) -> Self {
        self.paged = paged;
        self
    }

    /// May be sent twice whatever its method. Default: no.
    pub const fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }

    /// The finished call.
    #[must_use]
    pub fn build(self) -> Call {
        let Self {
            template,
            request_id,
            deadline,
            arrived,
            priority,
            on_limit,
            cost,
            paged,
            repeatable,
        } = self;
        let arrived = arrived.unwrap_or_else(Instant::now);
        let request_id = request_id.unwrap_or_else(crate::request_id::fresh);
        let attempts = AtomicU32::new(0);
        Call {
            inner: Arc::new(Inner {
                template,
                request_id,
                deadline,
                arrived,
                priority,
                on_limit,
                cost,
                paged,
                repeatable,
                attempts,
                empty: AtomicU32::new(0),
            }),
        }
    }
}
