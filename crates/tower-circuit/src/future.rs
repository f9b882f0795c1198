use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{BoxError, Judge, Open, Permit};

pin_project! {
    /// The response future of [`Gate`](crate::Gate).
    #[must_use = "futures do nothing unless polled"]
    pub struct GateFuture<F> {
        #[pin]
        state: GateState<F>,
    }
}

pin_project! {
    #[project = GateProj]
    enum GateState<F> {
        // The inner service is at work.
        Called { #[pin] response: F },
        // The inner service was not called.
        Refused { error: Option<BoxError> },
    }
}

impl<F> GateFuture<F> {
    pub(crate) const fn called(response: F) -> Self {
        Self { state: GateState::Called { response } }
    }

    pub(crate) fn refused(open: Open) -> Self {
        Self { state: GateState::Refused { error: Some(open.into()) } }
    }
}

impl<F, Response, Error> Future for GateFuture<F>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            GateProj::Called { response } => response.poll(cx).map_err(Into::into),
            GateProj::Refused { error } => {
                Poll::Ready(Err(error.take().expect("polled after completion")))
            }
        }
    }
}

impl<F> fmt::Debug for GateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            GateState::Called { .. } => "Called",
            GateState::Refused { .. } => "Refused",
        };
        f.debug_struct("GateFuture").field("state", &state).finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of [`Guard`](crate::Guard). Dropped before its answer, it is
    /// recorded as cancelled and its trial place is free again.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<F, J> {
        #[pin]
        state: GuardState<F, J>,
    }
}

pin_project! {
    #[project = GuardProj]
    enum GuardState<F, J> {
        // The inner service is at work; then `permit` is taken.
        Called { #[pin] response: F, permit: Option<Permit>, judge: J },
        // The inner service was not called.
        Refused { error: Option<BoxError> },
    }
}

impl<F, J> GuardFuture<F, J> {
    pub(crate) const fn called(response: F, permit: Permit, judge: J) -> Self {
        Self { state: GuardState::Called { response, permit: Some(permit), judge } }
    }

    pub(crate) fn refused(open: Box<Open>) -> Self {
        Self { state: GuardState::Refused { error: Some(open) } }
    }
}

impl<F, J, Response, Error> Future for GuardFuture<F, J>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
    J: Judge<Response, Error>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            GuardProj::Called { response, permit, judge } => {
                let outcome = ready!(response.poll(cx));
                let permit = permit.take().expect("polled after completion");
                permit.record(judge.judge(outcome.as_ref()));
                Poll::Ready(outcome.map_err(Into::into))
            }
            GuardProj::Refused { error } => {
                Poll::Ready(Err(error.take().expect("polled after completion")))
            }
        }
    }
}

impl<F, J> fmt::Debug for GuardFuture<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            GuardState::Called { .. } => "Called",
            GuardState::Refused { .. } => "Refused",
        };
        f.debug_struct("GuardFuture").field("state", &state).finish_non_exhaustive()
    }
}
