//! Looks at each answer on its way up, in place.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_retry_classify::Peeked;
use tower_service::Service;

use crate::classify::note_flaw;

/// Notes beside each answer what is wrong with it, as [`inspect`](crate::classify::inspect) does, and beside an error
/// what its body says, for [`Rules`](tower_retry_classify::Rules).
///
/// # What is shared
///
/// Nothing. Readiness and cancellation are those of the inner service.
#[derive(Clone, Copy, Debug, Default)]
pub struct InspectLayer {
    _private: (),
}

impl InspectLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

impl<S> Layer<S> for InspectLayer {
    type Service = Inspect<S>;

    fn layer(&self, inner: S) -> Inspect<S> {
        Inspect { inner }
    }
}

/// See [`InspectLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Inspect<S> {
    inner: S,
}

impl<S, R> Service<R> for Inspect<S>
where
    S: Service<R, Response = Response<Bytes>>,
{
    type Response = Response<Bytes>;
    type Error = S::Error;
    type Future = InspectFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        InspectFuture { answer: self.inner.call(request) }
    }
}

pin_project! {
    /// The response future of [`Inspect`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InspectFuture<F> {
        #[pin]
        answer: F,
    }
}

impl<F, E> Future for InspectFuture<F>
where
    F: Future<Output = Result<Response<Bytes>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.project().answer.poll(cx))?;
        note_flaw(&mut response);
        // For rules of a user's own, which may ask for what an error's body says. It is shared, not copied.
        Poll::Ready(Ok(Peeked::note(response)))
    }
}
