//! Retries without tower.

use std::{borrow::Cow, future::Future};

use http::Method;
use tokio::time::Instant;
use tower::retry::Policy as _;

use crate::{BoxError, Repeatable, RetryBuilder, RetryPolicy, Transport, is_idempotent};

/// Something that is done by a closure and not by a service: a query, a command, a
/// call through a client of its own.
///
/// It may be done twice if its method says so (see [`is_idempotent`]), or
/// [`retryable`](Self::retryable).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Operation {
    endpoint: Cow<'static, str>,
    method: Method,
    mark: Option<bool>,
    deadline: Option<Instant>,
}

impl Operation {
    /// `endpoint` is its name in statistics: no identifiers, no secrets.
    pub fn new(method: Method, endpoint: impl Into<Cow<'static, str>>) -> Self {
        Self { endpoint: endpoint.into(), method, mark: None, deadline: None }
    }

    /// Something that only reads, so that it may be done twice.
    pub fn read(endpoint: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::GET, endpoint)
    }

    /// Whether it may be done twice. Default: by its method.
    pub const fn retryable(mut self, retryable: bool) -> Self {
        self.mark = Some(retryable);
        self
    }

    /// Until when the caller waits. Default: for ever.
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl Repeatable for Operation {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        self.mark.unwrap_or_else(|| is_idempotent(&self.method))
    }

    fn mark(&self) -> Option<bool> {
        self.mark
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn endpoint(&self) -> String {
        format!("{} {}", self.method, self.endpoint)
    }
}

impl<T> RetryPolicy<Operation, T> {
    /// Configures a policy for [`run`](RetryPolicy::run) with [`Operation`]s:
    /// [`Transport`] and [`Profile::GENERIC`](crate::Profile::GENERIC). More
    /// classifiers may follow, for the errors of a driver, say.
    pub fn operations() -> RetryBuilder<Operation, T> {
        Self::builder_of().classify(Transport::new())
    }
}

impl<Req, Res> RetryPolicy<Req, Res> {
    /// Makes attempts by a closure until one is good, or final; exactly as
    /// `tower::retry::Retry` does with a service. The closure gets the request, or its
    /// copy. Budget, statistics and configuration are shared with all clones.
    ///
    /// Dropping the future ends the attempt, or the wait, and nothing is tried afterwards.
    ///
    /// # Errors
    ///
    /// The last error, in a [`GaveUp`](crate::GaveUp) that says why, if it could have
    /// gone better.
    ///
    /// ```
    /// use std::io;
    /// use tower_retry_classify::{BoxError, GaveUp, Operation, Reason, RetryPolicy};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
    /// let retry = RetryPolicy::<Operation, usize>::operations().max_retries(2).build()?;
    ///
    /// let mut attempts = 0;
    /// let rows = retry.run(Operation::read("deals"), |_| {
    ///     attempts += 1;
    ///     std::future::ready(match attempts {
    ///         1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ///         _ => Ok(17),
    ///     })
    /// });
    /// assert_eq!(rows.await?, 17);
    /// assert_eq!(attempts, 2);
    ///
    /// let insert = Operation::new(http::Method::POST, "deals");
    /// let reset = || async { Err(io::Error::from(io::ErrorKind::ConnectionReset)) };
    /// let error = retry.run(insert, |_| reset()).await.unwrap_err();
    /// let why = GaveUp::find(&*error).unwrap().why();
    /// assert_eq!(why.reason(), Reason::NotIdempotent);
    /// # Ok(()) }
    /// ```
    pub async fn run<F, Fut, E>(&self, mut request: Req, mut attempt: F) -> Result<Res, BoxError>
    where
        F: FnMut(Req) -> Fut,
        Fut: Future<Output = Result<Res, E>>,
        E: Into<BoxError>,
    {
        let mut session = self.clone();
        loop {
            let copy = session.clone_request(&request);
            let mut outcome = attempt(request).await.map_err(Into::into);
            let Some(mut copy) = copy else { return outcome };
            let Some(wait) = session.retry(&mut copy, &mut outcome) else { return outcome };
            // What failed is the policy's now; what stands here is a placeholder.
            drop(outcome);
            wait.await;
            request = copy;
        }
    }
}
