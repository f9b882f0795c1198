//! Asks for one page after the other; knows nothing of prefetching.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    BoxError, MakeRequest, Page, Parsed, Position, Room, Walk, WalkError,
    ahead::{self, Ahead},
    rules::{Read, Rules},
    walk::Size,
};

pin_project! {
    pub(crate) struct Walker<S, B, M, P>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future>,
        service: S,
        rules: Rules<M, P>,
        // Pages behind the present one that were asked for, in order.
        ahead: VecDeque<Ahead<S::Future>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F>
    where
        F: Future,
    {
        // Nothing is under way; the next page is at `position`.
        Idle { position: Option<Position> },
        // Memory is short.
        Waiting { #[pin] room: Room, position: Option<Position> },
        // The service is not ready yet.
        Readying { position: Option<Position>, size: u32 },
        // The page at `position` was asked for.
        Asking { #[pin] response: F, position: Option<Position>, size: u32, since: Instant },
        // The page was asked for ahead of time, and it is its turn now.
        Joined { slot: Option<Ahead<F>> },
        // The last page came, or an error.
        Over,
    }
}

impl<S, B, M, P> Walker<S, B, M, P>
where
    S: Service<Request<B>>,
{
    pub(crate) fn new(service: S, walk: Walk<M, P>) -> Self {
        let (rules, from) = Rules::new(walk);
        Self { state: State::Idle { position: Some(from) }, service, rules, ahead: VecDeque::new() }
    }

    /// Whether a page was asked for, or is waited for to be asked for.
    pub(crate) fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Idle { .. } | State::Over)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

const TAKEN: &str = "taken only on leaving this state";

impl<S, B, M, P, T> Walker<S, B, M, P>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    /// The next page, or the error that ends the walk; `None` after either end.
    pub(crate) fn poll_page(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Page<T>, WalkError>>> {
        let mut this = self.project();
        let result = loop {
            let next = match this.state.as_mut().project() {
                StateProj::Over => return Poll::Ready(None),
                StateProj::Idle { position } => {
                    let position = position.take().expect(TAKEN);
                    if this.rules.pages >= this.rules.max_pages {
                        let max = this.rules.max_pages;
                        break Err(WalkError::TooManyPages { position, max });
                    }
                    let position = Some(position);
                    match &this.rules.size {
                        Size::Fixed(size) => {
                            State::Readying { position, size: this.rules.capped(*size) }
                        }
                        Size::Controlled(controller) => {
                            State::Waiting { room: controller.room(), position }
                        }
                    }
                }
                StateProj::Waiting { room, position } => {
                    let room = ready!(room.poll(cx));
                    let position = position.take().expect(TAKEN);
                    match room {
                        Ok(size) => {
                            let size = this.rules.capped(size);
                            State::Readying { position: Some(position), size }
                        }
                        Err(source) => break Err(WalkError::Memory { position, source }),
                    }
                }
                StateProj::Readying { position, size } => {
                    let readied = ready!(this.service.poll_ready(cx));
                    let position = position.take().expect(TAKEN);
                    if let Err(error) = readied {
                        break Err(WalkError::Service { position, source: error.into() });
                    }
                    let request = match this.rules.request(&position, *size) {
                        Ok(request) => request,
                        Err(error) => break Err(error),
                    };
                    let (position, size, since) = (Some(position), *size, Instant::now());
                    let response = this.service.call(request);
                    State::Asking { response, position, size, since }
                }
                StateProj::Asking { response, position, size, since } => {
                    let Poll::Ready(result) = response.poll(cx) else {
                        let front = position.as_ref().expect(TAKEN);
                        ahead::drive(this.ahead, this.service, this.rules, front, cx);
                        return Poll::Pending;
                    };
                    let took = Instant::now() - *since;
                    let position = position.take().expect(TAKEN);
                    match this.rules.came(position, result, *size, took) {
                        Ok(Read::Page(page, next)) => break Ok((page, next)),
                        Ok(Read::Ask(position)) => {
                            this.ahead.clear();
                            State::Idle { position: Some(position) }
                        }
                        Err(error) => break Err(error),
                    }
                }
                StateProj::Joined { slot } => {
                    let front = slot.as_mut().expect(TAKEN);
                    let Poll::Ready((result, took)) = front.poll(cx) else {
                        let front = &front.position;
                        ahead::drive(this.ahead, this.service, this.rules, front, cx);
                        return Poll::Pending;
                    };
                    let Ahead { position, size, .. } = slot.take().expect(TAKEN);
                    match this.rules.came(position, result, size, took) {
                        Ok(Read::Page(page, next)) => break Ok((page, next)),
                        Ok(Read::Ask(position)) => {
                            this.ahead.clear();
                            State::Idle { position: Some(position) }
                        }
                        Err(error) => break Err(error),
                    }
                }
            };
            this.state.set(next);
        };
        let (result, next) = match result {
            Ok((page, next)) => (Ok(page), next),
            Err(mut error) => {
                if let Some(position) = error.position_mut() {
                    *position = this.rules.resumable(position.clone());
                }
                (Err(error), None)
            }
        };
        let is_ahead = this.ahead.front().is_some_and(|slot| Some(&slot.position) == next.as_ref());
        this.state.set(match next {
            Some(position) if is_ahead => {
                this.rules.note(&position);
                State::Joined { slot: this.ahead.pop_front() }
            }
            next => {
                this.ahead.clear();
                next.map_or(State::Over, |position| State::Idle { position: Some(position) })
            }
        });
        Poll::Ready(Some(result))
    }
}
