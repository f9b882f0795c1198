//! Bodies of requests that can be sent again.

mod body;
mod future;

use std::{
    mem,
    task::{Context, Poll},
};

use http::Request;
use http_body::Body;
use tower::{Layer, Service};

pub use self::{body::ReplayBody, future::ReplayFuture};
use crate::{
    Repeatable,
    methods::{by_mark_or_method, deadline_of, endpoint_of, mark_of},
    peek::Reading,
};

/// The longest body that is kept unless told otherwise: 64 KiB.
const LIMIT: u64 = 64 * 1024;

/// Keeps the bodies of requests, up to a bound, so that they can be sent again. Put it
/// outside of `Retry`.
///
/// A body is kept if it says beforehand that it is no longer than the bound (its
/// `size_hint`, which is a `Content-Length` in most cases). It is read to its end before
/// the first attempt. All others stream through and are sent once, whatever happens: a
/// request with such a body is final after its first attempt, and no body is ever
/// replaced by another.
///
/// Requests with bodies that can be cloned (`Bytes`, `Full<Bytes>`, `String`) need
/// no such layer.
///
/// While a body is read, which may wait, the inner service is let go of; it is
/// readied again afterwards.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt as _, combinators::BoxBody, Full};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, ReplayBody, ReplayLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// // A body of a type that cannot be cloned.
/// type Upload = BoxBody<bytes::Bytes, std::convert::Infallible>;
/// let sent = std::sync::Mutex::new(Vec::new());
/// let answer = ServiceBuilder::new()
///     .layer(ReplayLayer::new().limit(1024))
///     .layer(RetryLayer::new(RetryPolicy::http().build()?))
///     .service(service_fn(|request: Request<ReplayBody<Upload>>| async {
///         sent.lock().unwrap().push(request.into_body().collect().await?.to_bytes());
///         let status = if sent.lock().unwrap().len() == 1 { 503 } else { 200 };
///         Ok::<_, BoxError>(Response::builder().status(status).body(())?)
///     }))
///     .oneshot(Request::put("/file").body(Full::new("content".into()).boxed())?)
///     .await?;
/// assert_eq!(answer.status(), 200);
/// assert_eq!(sent.into_inner()?, ["content", "content"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it is applied"]
pub struct ReplayLayer {
    limit: u64,
}

impl ReplayLayer {
    /// Keeps bodies of up to 64 KiB.
    pub const fn new() -> Self {
        Self { limit: LIMIT }
    }

    /// The longest body that is kept, in bytes. Default: 65,536. Zero keeps only empty ones.
    pub const fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay { inner, limit: self.limit }
    }
}

/// The service of [`ReplayLayer`]. Ready when the inner service is.
#[derive(Clone, Copy, Debug)]
pub struct Replay<S> {
    inner: S,
    limit: u64,
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ReplayFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        if body.is_end_stream() {
            let request = Request::from_parts(parts, ReplayBody::empty());
            return ReplayFuture::calling(self.inner.call(request));
        }
        if body.size_hint().upper().is_none_or(|most| most > self.limit) {
            let request = Request::from_parts(parts, ReplayBody::stream(body));
            return ReplayFuture::calling(self.inner.call(request));
        }
        // One more than the bound, to see that nothing follows.
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_add(1);
        let clone = self.inner.clone();
        // What was ready is let go of: reading may take its time.
        drop(mem::replace(&mut self.inner, clone.clone()));
        ReplayFuture::reading(clone, parts, Reading::new(body, limit))
    }
}

/// Copied if its body is whole. As for other requests of HTTP in all else.
impl<B: Body> Repeatable for Request<ReplayBody<B>> {
    fn try_clone(&self) -> Option<Self> {
        let body = self.body().try_clone()?;
        let mut copy = Self::new(body);
        *copy.method_mut() = self.method().clone();
        *copy.uri_mut() = self.uri().clone();
        *copy.version_mut() = self.version();
        *copy.headers_mut() = self.headers().clone();
        *copy.extensions_mut() = self.extensions().clone();
        Some(copy)
    }

    fn is_idempotent(&self) -> bool {
        by_mark_or_method(self)
    }

    fn mark(&self) -> Option<bool> {
        mark_of(self)
    }

    fn deadline(&self) -> Option<tokio::time::Instant> {
        deadline_of(self)
    }

    fn endpoint(&self) -> String {
        endpoint_of(self)
    }
}
