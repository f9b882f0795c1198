//! Units that are held until a response's body has ended.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Acquire, Ask, BoxError, Cost, Limiter, OnLimit, Refused, SameTerms, Settle, Terms, Ticket,
};

/// Holds a charge until the body of the response has ended, or is dropped: for
/// [concurrency](crate::Budget::concurrency) budgets of a server that counts a
/// request until its last byte. Applies [`Hold`].
///
/// A [`TokenLimitLayer`](crate::TokenLimitLayer) frees such units at the
/// response's head. Charge them here instead, from the same limiter if you like,
/// and all else there. [`Budget::max_hold`](crate::Budget::max_hold) bounds the
/// time, even if nobody polls the body.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_ratelimit_tokens::BoxError> {
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_ratelimit_tokens::{BoxError, Budget, Charge, HoldLayer, Limiter};
///
/// let mut limits = Limiter::builder();
/// let downloads = Budget::concurrency(3).max_hold(Duration::from_secs(60));
/// let downloads = limits.budget("downloads", downloads);
/// let limiter = limits.build()?;
/// let mut api = ServiceBuilder::new()
///     .layer(HoldLayer::new(limiter.clone(), Charge::new().with(downloads, 1)))
///     .service(service_fn(|_: http::Request<()>| async {
///         Ok::<_, BoxError>(http::Response::new(Full::new(Bytes::from("rows"))))
///     }));
///
/// let response = api.ready().await?.call(http::Request::new(())).await?;
/// assert_eq!(limiter.status().budgets[0].used, 1);
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "rows");
/// assert_eq!(limiter.status().budgets[0].used, 0);
/// # Ok(())
/// # }
/// ```
///
/// # What is shared
///
/// The limiter.
///
/// # Readiness
///
/// That of the inner service. A call that must wait lets it go, and readies a
/// clone after the wait.
///
/// # Cancellation
///
/// Dropped before the sending, everything is given back. Dropped later, response
/// and body included, concurrency units are free at once; other units stay spent.
#[derive(Clone)]
#[must_use]
pub struct HoldLayer<C, L = SameTerms> {
    policy: Arc<Policy<C, L>>,
}

struct Policy<C, L> {
    limiter: Limiter,
    cost: C,
    terms: L,
    on_limit: OnLimit,
}

impl<C, L> fmt::Debug for HoldLayer<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoldLayer").field("limiter", &self.policy.limiter).finish_non_exhaustive()
    }
}

impl<C> HoldLayer<C> {
    /// Each call holds what `cost` says; it waits if that cannot be had.
    pub fn new(limiter: Limiter, cost: C) -> Self {
        Self::with(limiter, cost, SameTerms(Terms::new()), OnLimit::Wait)
    }
}

impl<C, L> HoldLayer<C, L> {
    /// The same with [terms](crate::TokenLimitLayer::terms) and what becomes of a
    /// call that cannot be paid at once.
    pub fn with(limiter: Limiter, cost: C, terms: L, on_limit: OnLimit) -> Self {
        Self { policy: Arc::new(Policy { limiter, cost, terms, on_limit }) }
    }
}

impl<S, C, L> Layer<S> for HoldLayer<C, L> {
    type Service = Hold<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Hold { inner, policy: Arc::clone(&self.policy) }
    }
}

/// See [`HoldLayer`].
pub struct Hold<S, C, L = SameTerms> {
    inner: S,
    policy: Arc<Policy<C, L>>,
}

impl<S: Clone, C, L> Clone for Hold<S, C, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<S: fmt::Debug, C, L> fmt::Debug for Hold<S, C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Request, C, L, B> Service<Request> for Hold<S, C, L>
where
    S: Service<Request, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    C: Cost<Request>,
    L: Ask<Request>,
{
    type Response = Response<HeldBody<B>>;
    type Error = BoxError;
    type Future = HoldFuture<S, Request>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Policy { limiter, cost, terms, on_limit } = &*self.policy;
        let charge = cost.cost(&request);
        let terms = terms.terms(&request);
        let state = match limiter.try_acquire_quietly(charge, terms) {
            Some(mut ticket) => {
                ticket.sent(Instant::now());
                State::Called { answer: self.inner.call(request), ticket: Some(ticket) }
            }
            None if terms.no_wait || *on_limit == OnLimit::Reject => {
                State::Refused { refused: Some(limiter.refuse(&charge, &terms)) }
            }
            None => {
                let acquire = Box::pin(limiter.acquire(charge, terms));
                // What this readiness holds is let go for the time of the wait.
                let unready = self.inner.clone();
                drop(mem::replace(&mut self.inner, unready.clone()));
                State::Waiting { acquire, call: Some((unready, request)), ticket: None }
            }
        };
        HoldFuture { state }
    }
}

pin_project! {
    /// The response future of [`Hold`].
    #[must_use = "futures do nothing unless polled"]
    pub struct HoldFuture<S, Request>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<S, Request>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Request>
    where
        S: Service<Request>,
    {
        // In the queue; then, with a ticket, until the clone is ready.
        Waiting { acquire: Pin<Box<Acquire>>, call: Option<(S, Request)>, ticket: Option<Ticket> },
        // Not to wait, and nothing was called.
        Refused { refused: Option<Refused> },
        // Sent.
        Called { #[pin] answer: S::Future, ticket: Option<Ticket> },
    }
}

impl<S, Request> fmt::Debug for HoldFuture<S, Request>
where
    S: Service<Request>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoldFuture").finish_non_exhaustive()
    }
}

impl<S, Request, B> Future for HoldFuture<S, Request>
where
    S: Service<Request, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<HeldBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const DONE: &str = "a future is not polled after its end";
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { answer, ticket } => {
                    let response = ready!(answer.poll(cx)).map_err(Into::into)?;
                    let held = ticket.take();
                    return Poll::Ready(Ok(response.map(|body| HeldBody { body, held })));
                }
                StateProj::Refused { refused } => {
                    return Poll::Ready(Err(refused.take().expect(DONE).into()));
                }
                StateProj::Waiting { acquire, call, ticket } => {
                    if ticket.is_none() {
                        *ticket = Some(ready!(acquire.as_mut().poll(cx))?);
                    }
                    let (inner, _) = call.as_mut().expect(DONE);
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        ticket.take();
                        return Poll::Ready(Err(error.into()));
                    }
                    let mut paid = ticket.take().expect("it was there just above");
                    if paid.try_sent(Instant::now()).is_err() {
                        // The ledger's lease ran out while the clone became ready.
                        let unready = inner.clone();
                        drop(mem::replace(inner, unready));
                        acquire.as_mut().again();
                        continue;
                    }
                    let (mut inner, request) = call.take().expect("it was there just above");
                    State::Called { answer: inner.call(request), ticket: Some(paid) }
                }
            };
            state.set(next);
        }
    }
}

pin_project! {
    /// A body that holds on to a charge until it has ended.
    pub struct HeldBody<B> {
        #[pin]
        body: B,
        held: Option<Ticket>,
    }
}

impl<B: fmt::Debug> fmt::Debug for HeldBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody")
            .field("body", &self.body)
            .field("holds", &self.held.is_some())
            .finish()
    }
}

impl<B: Body> Body for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let over = !matches!(frame, Some(Ok(_))) || this.body.is_end_stream();
        if let (true, Some(ticket)) = (over, this.held.take_if(|_| over)) {
            ticket.answered(Instant::now(), Settle::Keep);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
