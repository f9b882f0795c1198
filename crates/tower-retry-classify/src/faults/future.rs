use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::injected;
use crate::BoxError;

pin_project! {
    /// The future of [`Faulty`](super::Faulty). Dropping it drops the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct FaultFuture<F, T> {
        // None if the call is not made, or is over.
        #[pin]
        call: Option<F>,
        #[pin]
        late: Option<Sleep>,
        lost: Option<io::ErrorKind>,
        // None as long as there is none; for ever, if it hangs.
        outcome: Option<Result<T, BoxError>>,
    }
}

impl<F, T> FaultFuture<F, T> {
    pub(super) const fn call(call: F) -> Self {
        Self { call: Some(call), late: None, lost: None, outcome: None }
    }

    pub(super) const fn ended(outcome: Result<T, BoxError>) -> Self {
        Self { call: None, late: None, lost: None, outcome: Some(outcome) }
    }

    pub(super) const fn hanging() -> Self {
        Self { call: None, late: None, lost: None, outcome: None }
    }

    pub(super) fn late(mut self, time: Duration) -> Self {
        self.late = Some(sleep(time));
        self
    }

    pub(super) const fn lost(mut self, kind: io::ErrorKind) -> Self {
        self.lost = Some(kind);
        self
    }
}

impl<F, T, E> Future for FaultFuture<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(call) = this.call.as_mut().as_pin_mut() {
            let outcome = ready!(call.poll(cx)).map_err(Into::into);
            this.call.set(None);
            *this.outcome = Some(match *this.lost {
                Some(kind) => Err(injected(kind)),
                None => outcome,
            });
        }
        if let Some(late) = this.late.as_mut().as_pin_mut() {
            ready!(late.poll(cx));
            this.late.set(None);
        }
        this.outcome.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F, T> fmt::Debug for FaultFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFuture").finish_non_exhaustive()
    }
}
