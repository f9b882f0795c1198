use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{PeekBody, PeekLayer, body::Reading, is_error};

pin_project! {
    /// The future of [`Peek`](super::Peek). Dropping it drops the answer.
    #[must_use = "futures do nothing unless polled"]
    pub struct PeekFuture<F, B: Body> {
        #[pin]
        state: State<F, B>,
        layer: PeekLayer,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B: Body> {
        /// The answer is on its way.
        Waiting { #[pin] future: F },
        /// Its body is being read. `None` once done.
        Reading { read: Option<Box<(Parts, Reading<B>)>> },
    }
}

impl<F, B: Body> PeekFuture<F, B> {
    pub(super) const fn new(future: F, layer: PeekLayer) -> Self {
        Self { state: State::Waiting { future }, layer }
    }
}

impl<F, B, E> Future for PeekFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<PeekBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Waiting { future } => {
                    let answer = ready!(future.poll(cx))?;
                    let Some(limit) = this.layer.reads(&answer) else {
                        return Poll::Ready(Ok(answer.map(PeekBody::plain)));
                    };
                    let (parts, body) = answer.into_parts();
                    let read = Some(Box::new((parts, Reading::new(body, limit))));
                    this.state.set(State::Reading { read });
                }
                StateProj::Reading { read } => {
                    let reading = read.as_mut().expect("polled after it was done");
                    let (body, peeked) = ready!(reading.1.poll(cx));
                    let (mut parts, _) = *read.take().expect("just seen");
                    // The start of a message says nothing.
                    if is_error(parts.status) || peeked.trailers.is_some() {
                        parts.extensions.insert(peeked);
                    }
                    return Poll::Ready(Ok(Response::from_parts(parts, body)));
                }
            }
        }
    }
}

impl<F, B: Body> fmt::Debug for PeekFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekFuture").finish_non_exhaustive()
    }
}
