//! A span around each logical call, and one event at its end. Knows nothing of any one service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Level, Span};

use crate::call::Call;

/// Puts every call into a span and says at its end how it went and how long it took.
///
/// The span holds the method, the path template and the request id: never a header, a query or a body.
///
/// # What is shared
///
/// Nothing. Readiness and cancellation are those of the inner service; a call that is dropped ends its span without
/// an event.
#[derive(Clone, Copy, Debug)]
pub struct TraceLayer {
    timing: bool,
}

impl TraceLayer {
    /// With or without the event at the end.
    #[must_use]
    pub const fn new(timing: bool) -> Self {
        Self { timing }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, timing: self.timing }
    }
}

/// See [`TraceLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Trace<S> {
    inner: S,
    timing: bool,
}

impl<S, B, C> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: fmt::Display,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = request.extensions().get::<Call>();
        let span = tracing::debug_span!(
            target: "pipedrive_service::call",
            "call",
            method = request.method().as_str(),
            template = call.map_or("", Call::template),
            request_id = call.and_then(|call| call.request_id().to_str().ok()),
        );
        let within = span.enter();
        // Nobody looks at the clock for an event that nobody wants.
        let timed =
            self.timing && tracing::enabled!(target: "pipedrive_service::call", Level::DEBUG);
        let timed = timed.then(|| Timed { since: Instant::now(), call: call.cloned() });
        let answer = self.inner.call(request);
        drop(within);
        TraceFuture { answer, span, timed }
    }
}

#[derive(Debug)]
struct Timed {
    since: Instant,
    call: Option<Call>,
}

pin_project! {
    /// The response future of [`Trace`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct TraceFuture<F> {
        #[pin]
        answer: F,
        span: Span,
        timed: Option<Timed>,
    }
}

impl<F, C, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: fmt::Display,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _in = this.span.enter();
        let polled = this.answer.poll(cx);
        if let (Poll::Ready(outcome), Some(Timed { since, call })) = (&polled, this.timed) {
            let took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let attempts = call.as_ref().map_or(0, Call::attempts);
            match outcome {
                Ok(response) => {
                    let status = response.status().as_u16();
                    tracing::debug!(target: "pipedrive_service::call", status, attempts, took_ms, "call.answered");
                }
                Err(error) => {
                    tracing::debug!(target: "pipedrive_service::call", %error, attempts, took_ms, "call.failed");
                }
            }
        }
        polled
    }
}
