//! The body of an answer: whole, written while it is sent, cut off, or slow.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::data::Rest;
use super::faults::Drip;
use super::sim::Sim;
use crate::BoxError;
use crate::server::Connection;

/// Between the first part of a body and the end of its connection, so that the part is sent.
const BEFORE_RESET: Duration = Duration::from_millis(5);

/// The body of a simulated answer.
#[derive(Debug)]
pub struct SimBody {
    state: State,
}

#[derive(Debug)]
enum State {
    // All at once.
    Whole {
        bytes: Option<Bytes>,
    },
    // The beginning, then rows that are written when they are asked for.
    Rows {
        sim: Sim,
        head: Option<Bytes>,
        rest: Box<Rest>,
    },
    // The first part, a pause, then an error.
    Cut {
        first: Option<Bytes>,
        claimed: u64,
        pause: Pin<Box<Sleep>>,
        connection: Option<Connection>,
    },
    // Piece by piece, a pause before each.
    Drip {
        rest: Bytes,
        piece: usize,
        every: Duration,
        pause: Pin<Box<Sleep>>,
    },
    // Over, by an error.
    Failed,
}

impl SimBody {
    /// A body that comes whole.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { state: State::Whole { bytes: Some(bytes.into()) } }
    }

    /// A body whose rows are written when they are asked for. Its length is not known before.
    pub(super) fn rows(sim: &Sim, head: Bytes, rest: Rest) -> Self {
        Self { state: State::Rows { sim: sim.clone(), head: Some(head), rest: Box::new(rest) } }
    }

    /// A body that ends with an error, and with it the connection, after `keep` bytes.
    pub(super) fn cut(bytes: &Bytes, keep: usize, connection: Option<Connection>) -> Self {
        let keep = keep.min(bytes.len().saturating_sub(1));
        let first = (keep > 0).then(|| bytes.slice(..keep));
        let claimed = bytes.len() as u64;
        Self {
            state: State::Cut { first, claimed, pause: Box::pin(sleep(BEFORE_RESET)), connection },
        }
    }

    /// A body that comes slowly.
    pub(super) fn drip(bytes: Bytes, drip: Drip) -> Self {
        let piece = bytes.len().div_ceil(drip.pieces.max(1) as usize).max(1);
        let every = Duration::from_millis(drip.pause_ms);
        Self { state: State::Drip { rest: bytes, piece, every, pause: Box::pin(sleep(every)) } }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.state {
            State::Whole { bytes } => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data).map(Ok))
            }
            State::Rows { sim, head, rest } => {
                let piece = head.take().or_else(|| rest.next(&sim.shared.account.base));
                Poll::Ready(piece.map(Frame::data).map(Ok))
            }
            State::Cut { first, pause, connection, .. } => {
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(first))));
                }
                ready!(pause.as_mut().poll(cx));
                if let Some(connection) = connection {
                    connection.reset();
                }
                self.state = State::Failed;
                let error = io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    "the simulator reset the connection inside the body",
                );
                Poll::Ready(Some(Err(error.into())))
            }
            State::Drip { rest, piece, every, pause } => {
                if rest.is_empty() {
                    return Poll::Ready(None);
                }
                ready!(pause.as_mut().poll(cx));
                let next = pause.deadline() + *every;
                pause.as_mut().reset(next);
                let piece = (*piece).min(rest.len());
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(piece)))))
            }
            State::Failed => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Whole { bytes } => bytes.as_ref().is_none_or(Bytes::is_empty),
            State::Drip { rest, .. } => rest.is_empty(),
            State::Rows { .. } | State::Cut { .. } => false,
            State::Failed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Whole { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            State::Drip { rest, .. } => SizeHint::with_exact(rest.len() as u64),
            State::Cut { first: Some(_), claimed, .. } => SizeHint::with_exact(*claimed),
            State::Rows { .. } | State::Cut { .. } | State::Failed => SizeHint::default(),
        }
    }
}
