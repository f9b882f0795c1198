use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{BoxError, Learn, PageSample, Room, layer::Shared, query};

/// A page that was asked for, to be learnt from.
pub(crate) struct Page<L, F> {
    shared: Arc<Shared<L, F>>,
    asked: u32,
    since: Instant,
}

impl<L, F> Shared<L, F> {
    /// Lets `request` ask for at most `size` rows. `None` if its page size is
    /// not understood; it then goes as it is and teaches nothing.
    pub(crate) fn ask<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        size: u32,
        since: Instant,
    ) -> Option<Page<L, F>> {
        let asked = query::limit_rows(request.uri_mut(), &self.parameter, size)?;
        Some(Page { shared: Arc::clone(self), asked, since })
    }
}

impl<L, F> Page<L, F> {
    fn came<R, E>(self, result: Result<R, E>) -> Result<R, BoxError>
    where
        F: Learn<R>,
        E: Into<BoxError>,
    {
        let Self { shared, asked, since } = self;
        match result {
            Ok(response) => {
                let learned = shared.learn.learn(&response);
                let took = learned.took.unwrap_or_else(|| Instant::now() - since);
                let (rows, bytes) = (learned.rows, learned.bytes);
                shared.controller.observe(PageSample { asked, rows, bytes, took });
                Ok(response)
            }
            Err(error) => {
                let error = error.into();
                if shared.too_large.as_ref().is_some_and(|is_too_large| is_too_large(&error)) {
                    shared.controller.too_large(asked);
                }
                Err(error)
            }
        }
    }
}

pin_project! {
    /// The response future of [`AdaptivePage`](crate::AdaptivePage).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, L, F>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, L, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, L, F>
    where
        S: Service<Request<B>>,
    {
        // Memory is short. No readiness is held; `call` is taken on leaving.
        Waiting { #[pin] room: Room, call: Option<(S, Request<B>, Arc<Shared<L, F>>)> },
        // There is memory, and the clone is not ready yet.
        Readying { size: u32, call: Option<(S, Request<B>, Arc<Shared<L, F>>)> },
        // The inner service is at work; `page` is taken when it answers.
        Called { #[pin] response: S::Future, page: Option<Page<L, F>> },
    }
}

impl<S, B, L, F> ResponseFuture<S, B, L, F>
where
    S: Service<Request<B>>,
{
    pub(crate) fn passing(response: S::Future) -> Self {
        Self { state: State::Called { response, page: None } }
    }

    pub(crate) fn asking(response: S::Future, page: Option<Page<L, F>>) -> Self {
        Self { state: State::Called { response, page } }
    }

    pub(crate) fn waiting(shared: Arc<Shared<L, F>>, inner: S, request: Request<B>) -> Self {
        let room = shared.controller.room();
        Self { state: State::Waiting { room, call: Some((inner, request, shared)) } }
    }
}

impl<S, B, L, F> Future for ResponseFuture<S, B, L, F>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    F: Learn<S::Response>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Waiting { room, call } => {
                    let size = ready!(room.poll(cx))?;
                    State::Readying { size, call: call.take() }
                }
                StateProj::Readying { size, call } => {
                    let (inner, ..) = call.as_mut().expect("taken only on leaving this state");
                    ready!(inner.poll_ready(cx)).map_err(Into::into)?;
                    let (mut inner, mut request, shared) =
                        call.take().expect("taken only on leaving this state");
                    let page = shared.ask(&mut request, *size, Instant::now());
                    State::Called { response: inner.call(request), page }
                }
                StateProj::Called { response, page } => {
                    let result = ready!(response.poll(cx));
                    return Poll::Ready(match page.take() {
                        Some(page) => page.came(result),
                        None => result.map_err(Into::into),
                    });
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, B, L, F> fmt::Debug for ResponseFuture<S, B, L, F>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting { .. } => "Waiting",
            State::Readying { .. } => "Readying",
            State::Called { .. } => "Called",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
