use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{Judge, service::Stopwatch};

pin_project! {
    /// The response future of [`HealthService`](crate::HealthService). Dropped before its
    /// answer, it is recorded as cancelled, with the time it had run.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, J> {
        #[pin]
        response: F,
        stopwatch: Stopwatch,
        judge: J,
    }
}

impl<F, J> ResponseFuture<F, J> {
    pub(crate) const fn new(response: F, stopwatch: Stopwatch, judge: J) -> Self {
        Self { response, stopwatch, judge }
    }
}

impl<F, J, Response, Error> Future for ResponseFuture<F, J>
where
    F: Future<Output = Result<Response, Error>>,
    J: Judge<Response, Error>,
{
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Handed on where it stands: an answer is not small.
        let polled = this.response.poll(cx);
        if let Poll::Ready(outcome) = &polled {
            this.stopwatch.stop(this.judge.judge(outcome.as_ref()));
        }
        polled
    }
}

impl<F, J> fmt::Debug for ResponseFuture<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("stopwatch", &self.stopwatch).finish_non_exhaustive()
    }
}
