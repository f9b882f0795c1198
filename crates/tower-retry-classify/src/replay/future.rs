use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use super::ReplayBody;
use crate::peek::Reading;

pin_project! {
    /// The future of [`Replay`](super::Replay). Dropping it drops the body and the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct ReplayFuture<S: Service<Request<ReplayBody<B>>>, B: Body> {
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B: Body> {
        /// The body is being read.
        Reading { job: Option<Box<Job<S, B>>> },
        /// The body is there, the service is not ready.
        Readying { inner: S, request: Option<Request<ReplayBody<B>>> },
        Calling { #[pin] future: F },
    }
}

struct Job<S, B: Body> {
    inner: S,
    parts: Parts,
    reading: Reading<B>,
}

impl<S: Service<Request<ReplayBody<B>>>, B: Body> ReplayFuture<S, B> {
    pub(super) const fn calling(future: S::Future) -> Self {
        Self { state: State::Calling { future } }
    }

    pub(super) fn reading(inner: S, parts: Parts, reading: Reading<B>) -> Self {
        Self { state: State::Reading { job: Some(Box::new(Job { inner, parts, reading })) } }
    }
}

impl<S: Service<Request<ReplayBody<B>>>, B: Body> Future for ReplayFuture<S, B> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Reading { job } => {
                    let reading = &mut job.as_mut().expect("polled after it panicked").reading;
                    let (body, _) = ready!(reading.poll(cx));
                    let Job { inner, parts, reading } = *job.take().expect("just seen");
                    let body = ReplayBody::read(body, reading.limit() as u64 - 1);
                    let request = Some(Request::from_parts(parts, body));
                    this.state.set(State::Readying { inner, request });
                }
                StateProj::Readying { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    let future = inner.call(request.take().expect("polled after it panicked"));
                    this.state.set(State::Calling { future });
                }
                StateProj::Calling { future } => return future.poll(cx),
            }
        }
    }
}

impl<S: Service<Request<ReplayBody<B>>>, B: Body> fmt::Debug for ReplayFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFuture").finish_non_exhaustive()
    }
}
