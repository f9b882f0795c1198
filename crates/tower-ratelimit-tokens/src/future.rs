use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Acquire, BoxError, Dialect, Observations, Refused, Settle, Settler, Ticket, core::SentId,
    layer::Policy,
};

/// A request that is under way and whose end somebody wants to hear of.
pub(crate) struct UnderWay<C, D, T, L> {
    policy: Arc<Policy<C, D, T, L>>,
    sent: Option<SentId>,
}

impl<C, D, T, L> UnderWay<C, D, T, L> {
    #[inline]
    pub(crate) const fn new(policy: Arc<Policy<C, D, T, L>>, sent: SentId) -> Self {
        Self { policy, sent: Some(sent) }
    }

    /// The call has ended.
    #[inline]
    fn ended<Response>(&mut self, outcome: Result<&Response, &BoxError>)
    where
        D: Dialect<Response>,
        T: Settler<Response>,
    {
        let Some(sent) = &self.sent else { return };
        let policy = &*self.policy;
        let settle = if T::SETTLES { policy.settle.settle(outcome) } else { Settle::Keep };
        let limiter = &policy.limiter;
        match outcome {
            _ if !sent.is_tracked() => limiter.settled(sent, &settle),
            // An error is no proof that the server has counted the request.
            Err(_) if settle == Settle::Keep => limiter.lost(sent),
            Ok(response) if D::READS => {
                let said = policy.dialect.observe(response, &*limiter.shared().clock);
                limiter.answered(sent, Instant::now(), &said, &settle);
            }
            _ if settle == Settle::Keep => limiter.paid(sent, Instant::now()),
            _ => limiter.answered(sent, Instant::now(), Observations::NOTHING, &settle),
        }
        self.sent = None;
    }
}

impl<C, D, T, L> Drop for UnderWay<C, D, T, L> {
    fn drop(&mut self) {
        let limiter = &self.policy.limiter;
        match &self.sent {
            Some(sent) if sent.is_tracked() => limiter.lost(sent),
            Some(sent) => limiter.settled(sent, &Settle::Keep),
            None => {}
        }
    }
}

pin_project! {
    /// The response future of [`TokenLimit`](crate::TokenLimit).
    pub struct ResponseFuture<S, Request, C, D, T, L>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<S, Request, C, D, T, L>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Request, C, D, T, L>
    where
        S: Service<Request>,
    {
        // In the queue, or about to be. Boxed, as few calls come here and all futures would
        // be as large.
        Waiting { acquire: Option<Pin<Box<Acquire>>>, call: Option<Box<Call<S, Request, C, D, T, L>>> },
        // Paid; the clone asks for its readiness. A drop gives the charge back.
        Readying {
            acquire: Option<Pin<Box<Acquire>>>,
            ticket: Option<Ticket>,
            call: Option<Box<Call<S, Request, C, D, T, L>>>,
        },
        // Not to wait, and nothing was called.
        Refused { refused: Option<Box<Refused>> },
        // Sent.
        Called { #[pin] response: S::Future, under_way: Option<UnderWay<C, D, T, L>> },
    }
}

/// What a call that waits takes along.
struct Call<S, Request, C, D, T, L> {
    inner: S,
    request: Request,
    policy: Arc<Policy<C, D, T, L>>,
}

impl<S, Request, C, D, T, L> ResponseFuture<S, Request, C, D, T, L>
where
    S: Service<Request>,
{
    #[inline]
    pub(crate) const fn called(
        response: S::Future,
        under_way: Option<UnderWay<C, D, T, L>>,
    ) -> Self {
        Self { state: State::Called { response, under_way } }
    }

    pub(crate) const fn refused(refused: Box<Refused>) -> Self {
        Self { state: State::Refused { refused: Some(refused) } }
    }

    pub(crate) fn waiting(
        acquire: Acquire,
        policy: Arc<Policy<C, D, T, L>>,
        inner: S,
        request: Request,
    ) -> Self {
        let call = Some(Box::new(Call { inner, request, policy }));
        Self { state: State::Waiting { acquire: Some(Box::pin(acquire)), call } }
    }
}

impl<S, Request, C, D, T, L> fmt::Debug for ResponseFuture<S, Request, C, D, T, L>
where
    S: Service<Request>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting",
            State::Readying { .. } => "readying",
            State::Refused { .. } => "refused",
            State::Called { .. } => "called",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}

impl<S, Request, C, D, T, L> Future for ResponseFuture<S, Request, C, D, T, L>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    D: Dialect<S::Response>,
    T: Settler<S::Response>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { response, under_way } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    if let Some(under_way) = under_way {
                        under_way.ended(result.as_ref());
                    }
                    return Poll::Ready(result);
                }
                StateProj::Refused { refused } => {
                    let refused = refused.take().expect("a future is not polled after its end");
                    return Poll::Ready(Err(refused));
                }
                StateProj::Waiting { acquire, call } => {
                    let waiting = acquire.as_mut().expect("a future is not polled after its end");
                    let ticket = match ready!(waiting.as_mut().poll(cx)) {
                        Ok(ticket) => Some(ticket),
                        Err(refused) => return Poll::Ready(Err(refused.into())),
                    };
                    State::Readying { acquire: acquire.take(), ticket, call: call.take() }
                }
                StateProj::Readying { acquire, ticket, call } => {
                    let waiting = call.as_mut().expect("a future is not polled after its end");
                    if let Err(error) = ready!(waiting.inner.poll_ready(cx)) {
                        ticket.take();
                        return Poll::Ready(Err(error.into()));
                    }
                    let hears = waiting.policy.hears::<S::Response>();
                    match ticket.take().and_then(|ticket| ticket.hand_over(hears)) {
                        Some(sent) => {
                            let Call { mut inner, request, policy } =
                                *call.take().expect("it was there just above");
                            let under_way = sent.map(|sent| UnderWay::new(policy, sent));
                            State::Called { response: inner.call(request), under_way }
                        }
                        None => {
                            // The ledger's lease ran out while the clone became
                            // ready: what it holds is let go, and we wait again.
                            let unready = waiting.inner.clone();
                            drop(mem::replace(&mut waiting.inner, unready));
                            let mut acquire = acquire.take();
                            if let Some(acquire) = &mut acquire {
                                acquire.as_mut().again();
                            }
                            State::Waiting { acquire, call: call.take() }
                        }
                    }
                }
            };
            state.set(next);
        }
    }
}
