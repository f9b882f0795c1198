//! Reads the whole body of an answer, up to a bound, as part of the attempt.
//!
//! So a time-out covers the body, and everything above sees a broken body as a failed attempt.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, call::Call, holdings::BodyBound, request_id::X_REQUEST_ID};

/// The bound that is used unless another is set: 32 MiB.
pub const DEFAULT_MAX_BODY: u64 = 32 * 1024 * 1024;

/// Never reserve more than this on the word of a header.
const LARGEST_GUESS: u64 = 1024 * 1024;

/// Turns a `Service<Request<Full<Bytes>>>` whose answers stream into one whose answers are whole.
///
/// If the request has a [`Call`], it is counted as one attempt more and gets the call's `x-request-id`, unless it has
/// one.
///
/// # What is shared
///
/// Nothing.
///
/// # Readiness
///
/// That of the inner service.
///
/// # Cancellation
///
/// Dropping the future drops the half-read body, which ends its connection or stream.
#[derive(Clone, Copy, Debug)]
pub struct CollectLayer {
    max_body: u64,
}

impl CollectLayer {
    /// With a bound in bytes; see [`DEFAULT_MAX_BODY`].
    #[must_use]
    pub const fn new(max_body: u64) -> Self {
        Self { max_body }
    }
}

impl Default for CollectLayer {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BODY)
    }
}

impl<S> Layer<S> for CollectLayer {
    type Service = Collect<S>;

    fn layer(&self, inner: S) -> Collect<S> {
        Collect { inner, max_body: self.max_body }
    }
}

/// See [`CollectLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Collect<S> {
    inner: S,
    max_body: u64,
}

impl<S, B> Service<Request<Bytes>> for Collect<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<Bytes>;
    type Error = BoxError;
    type Future = CollectFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Bytes>) -> Self::Future {
        if let Some(call) = request.extensions().get::<Call>() {
            call.sent();
            let id = call.request_id().clone();
            request.headers_mut().entry(X_REQUEST_ID).or_insert(id);
        }
        let bound = request.extensions().get::<BodyBound>().map_or(self.max_body, |bound| bound.0);
        let max_body = bound.min(self.max_body);
        let head = self.inner.call(request.map(Full::new));
        CollectFuture { max_body, state: State::Head { head } }
    }
}

pin_project! {
    /// The response future of [`Collect`].
    #[must_use = "futures do nothing unless polled"]
    pub struct CollectFuture<F, B> {
        max_body: u64,
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        // The head of the answer is awaited.
        Head { #[pin] head: F },
        // Frames of the body are gathered; `parts` is taken at the end.
        Body { parts: Option<response::Parts>, #[pin] body: B, gathered: Gathered },
        // Nothing is left to do.
        Done,
    }
}

/// A body that came in one piece is not copied.
enum Gathered {
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Gathered {
    fn len(&self) -> u64 {
        let len = match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::More(bytes) => bytes.len(),
        };
        len as u64
    }

    fn push(&mut self, mut data: impl Buf, guess: u64) {
        match self {
            Self::Nothing => *self = Self::One(data.copy_to_bytes(data.remaining())),
            Self::One(first) => {
                let guess = usize::try_from(guess.min(LARGEST_GUESS)).unwrap_or(0);
                let mut all =
                    BytesMut::with_capacity(guess.max(2 * (first.len() + data.remaining())));
                all.extend_from_slice(first);
                while data.has_remaining() {
                    let chunk = data.chunk();
                    all.extend_from_slice(chunk);
                    let len = chunk.len();
                    data.advance(len);
                }
                *self = Self::More(all);
            }
            Self::More(all) => {
                while data.has_remaining() {
                    let chunk = data.chunk();
                    all.extend_from_slice(chunk);
                    let len = chunk.len();
                    data.advance(len);
                }
            }
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::More(bytes) => bytes.freeze(),
        }
    }
}

impl<F, B, E> Future for CollectFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Bytes>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = *this.max_body;
        let outcome = loop {
            match this.state.as_mut().project() {
                StateProj::Head { head } => match ready!(head.poll(cx)) {
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        if body.size_hint().lower() > limit {
                            break Err(BodyTooLarge { limit }.into());
                        }
                        let gathered = Gathered::Nothing;
                        this.state.set(State::Body { parts: Some(parts), body, gathered });
                    }
                    Err(error) => break Err(error.into()),
                },
                StateProj::Body { parts, mut body, gathered } => {
                    let guess = body.size_hint().lower().saturating_add(gathered.len());
                    match ready!(body.as_mut().poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            // Trailers say nothing that we need.
                            let Ok(data) = frame.into_data() else { continue };
                            if gathered.len() + data.remaining() as u64 > limit {
                                break Err(BodyTooLarge { limit }.into());
                            }
                            gathered.push(data, guess);
                        }
                        Some(Err(error)) => {
                            break Err(BodyBroken {
                                received: gathered.len(),
                                source: error.into(),
                            }
                            .into());
                        }
                        None => {
                            let parts = parts.take().expect("taken only when the state is left");
                            let bytes = std::mem::replace(gathered, Gathered::Nothing).finish();
                            break Ok(Response::from_parts(parts, bytes));
                        }
                    }
                }
                StateProj::Done => panic!("polled after completion"),
            }
        };
        this.state.set(State::Done);
        Poll::Ready(outcome)
    }
}

impl<F, B> fmt::Debug for CollectFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Head { .. } => "Head",
            State::Body { .. } => "Body",
            State::Done => "Done",
        };
        f.debug_struct("CollectFuture").field("state", &state).finish_non_exhaustive()
    }
}

/// The answer is longer than we are ready to hold. It was cut off here, by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is longer than the {limit} bytes that we are ready to hold")]
pub struct BodyTooLarge {
    limit: u64,
}

impl BodyTooLarge {
    /// The bound in bytes.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }
}

/// The connection, or the encoding of the body, broke before the answer was whole.
#[derive(Debug, thiserror::Error)]
#[error("the body broke after {received} bytes")]
pub struct BodyBroken {
    received: u64,
    source: BoxError,
}

impl BodyBroken {
    /// The bytes that had come.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }
}
