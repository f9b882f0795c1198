//! Pages of a walk that are asked for before it is known that they are next.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::time::Instant;
use tower_service::Service;

use crate::{MakeRequest, Position, rules::Rules};

/// A page that was asked for ahead of time. Its future is boxed, as it moves to the front when it is
/// its turn.
pub(crate) struct Ahead<F: Future> {
    pub(crate) position: Position,
    pub(crate) size: u32,
    since: Instant,
    response: Pin<Box<F>>,
    done: Option<(F::Output, Duration)>,
}

impl<F: Future> Ahead<F> {
    /// The answer and how long it took.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(F::Output, Duration)> {
        self.drive(cx);
        self.done.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.done.is_none() {
            if let Poll::Ready(output) = self.response.as_mut().poll(cx) {
                self.done = Some((output, Instant::now() - self.since));
            }
        }
    }
}

/// Asks for pages behind `front` as far as the walk may, and drives all that are under way.
pub(crate) fn drive<S, B, M, P>(
    ahead: &mut VecDeque<Ahead<S::Future>>,
    service: &mut S,
    rules: &mut Rules<M, P>,
    front: &Position,
    cx: &mut Context<'_>,
) where
    S: Service<Request<B>>,
    M: MakeRequest<B>,
{
    while ahead.len() + 1 < rules.at_once {
        let last = ahead.back().map_or(front, |slot| &slot.position);
        let Some(position) = rules.predict(last, ahead.len()) else { break };
        let since = Instant::now();
        let Some(size) = rules.size_now(since) else { break };
        // What fails here fails again when it is this page's turn, and is told then.
        let Poll::Ready(Ok(())) = service.poll_ready(cx) else { break };
        let Ok(request) = rules.make.make(&position, size) else { break };
        let response = Box::pin(service.call(request));
        ahead.push_back(Ahead { position, size, since, response, done: None });
    }
    for slot in ahead {
        slot.drive(cx);
    }
}
