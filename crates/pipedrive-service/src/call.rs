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

/// What rides along with a request: deadline, path template, request id, price, and a count of attempts.
///
/// One `Arc`, so that a retry's copy of the request shares it. Layers read it through closures and know nothing of it.
#[derive(Clone)]
pub struct Call {
    inner: Arc<Inner>,
}

struct Inner {
    template: &'static str,
    request_id: HeaderValue,
    deadline: Option<Instant>,
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
        let Self { template, request_id, deadline, cost, paged, repeatable } = self;
        let request_id = request_id.unwrap_or_else(crate::request_id::fresh);
        let attempts = AtomicU32::new(0);
        Call {
            inner: Arc::new(Inner {
                template,
                request_id,
                deadline,
                cost,
                paged,
                repeatable,
                attempts,
                empty: AtomicU32::new(0),
            }),
        }
    }
}
