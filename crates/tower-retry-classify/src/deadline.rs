//! An end to the whole call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use crate::{BoxError, Deadline};

/// The caller's deadline passed. What was sent last may have been acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline of the whole call has passed")]
pub struct DeadlineExceeded;

/// Gives each request a [`Deadline`], unless it has one, and ends the call then, with
/// whatever it was doing: queueing, an attempt, a wait. Put it outside of everything.
///
/// Inside of it, the policy begins no wait that cannot end in time, so that the caller
/// nearly always gets the last real outcome and not [`DeadlineExceeded`]. An outcome
/// that is there at the deadline is given, not thrown away.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, DeadlineExceeded, DeadlineLayer, NotRetried, Reason, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let layers = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10)))
///     .layer(RetryLayer::new(RetryPolicy::http().max_retries(99).build()?));
/// let busy = layers.service(service_fn(|_: Request<()>| async {
///     Ok::<_, BoxError>(Response::builder().status(503).body(())?)
/// }));
/// let answer = busy.oneshot(Request::get("/").body(())?).await?;
/// assert_eq!(NotRetried::of(&answer).map(NotRetried::reason), Some(Reason::Deadline));
///
/// let slow = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10)))
///     .service(service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, BoxError>>()));
/// let error = slow.oneshot(Request::get("/").body(())?).await.unwrap_err();
/// assert!(error.is::<DeadlineExceeded>());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it is applied"]
pub struct DeadlineLayer {
    time: Duration,
}

impl DeadlineLayer {
    /// `time` is for requests without a [`Deadline`] of their own. Zero leaves what is there at
    /// once; what is beyond the clock counts as thirty years.
    pub const fn new(time: Duration) -> Self {
        Self { time }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline { inner, time: self.time }
    }
}

/// The service of [`DeadlineLayer`]. Ready when the inner service is: the time until
/// then is not the call's.
#[derive(Clone, Copy, Debug)]
pub struct WithDeadline<S> {
    inner: S,
    time: Duration,
}

impl<S, B> Service<Request<B>> for WithDeadline<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let own = request.extensions().get::<Deadline>().copied();
        let deadline = own.unwrap_or_else(|| {
            let deadline = Deadline::after(Instant::now(), self.time);
            request.extensions_mut().insert(deadline);
            deadline
        });
        DeadlineFuture { future: self.inner.call(request), sleep: sleep_until(deadline.0) }
    }
}

pin_project! {
    /// The future of [`WithDeadline`]. Dropping it drops the call.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct DeadlineFuture<F> {
        #[pin]
        future: F,
        #[pin]
        sleep: Sleep,
    }
}

impl<F, T, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The answer first: one that is there is not thrown away.
        if let Poll::Ready(outcome) = this.future.poll(cx) {
            return Poll::Ready(outcome.map_err(Into::into));
        }
        this.sleep.poll(cx).map(|()| Err(DeadlineExceeded.into()))
    }
}
