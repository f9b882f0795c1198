//! The start of an error's body, for classifiers to read and for the caller to have.

mod body;
mod future;

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use tower::{Layer, Service};

pub(crate) use self::body::{Reading, Sorted};
pub use self::{body::PeekBody, future::PeekFuture};

/// As much of an error's body as is looked at unless told otherwise: 64 KiB.
const LIMIT: usize = 64 * 1024;

/// The start of a response's body, in the response's extensions.
///
/// [`PeekLayer`] puts it there for bodies that stream, [`note`](Self::note) for
/// those that are whole. [`AwsCodes`](crate::AwsCodes) and
/// [`Rules`](crate::Rules) read it, and so may a closure.
#[derive(Clone, PartialEq, Eq)]
pub struct Peeked {
    start: Bytes,
    whole: bool,
}

impl Peeked {
    /// What was read of the body.
    #[must_use]
    pub const fn start(&self) -> &Bytes {
        &self.start
    }

    /// Whether that is all of it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// That of a response, if somebody has looked.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    pub(crate) fn start_of<B>(response: &Response<B>) -> &[u8] {
        Self::of(response).map_or(&[], |peeked| &peeked.start)
    }

    /// Notes the body of an error that is whole already. For
    /// `ServiceBuilder::map_response`. A success is left alone. A body of
    /// [`Bytes`] is shared; others are copied, up to 64 KiB.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use tower_retry_classify::Peeked;
    ///
    /// let answer = Response::builder().status(400).body(Bytes::from_static(b"SlowDown"))?;
    /// let answer = Peeked::note(answer);
    /// assert_eq!(Peeked::of(&answer).unwrap().start(), "SlowDown");
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn note<B: AsRef<[u8]> + 'static>(mut response: Response<B>) -> Response<B> {
        if is_error(response.status()) {
            let shared = (response.body() as &dyn std::any::Any).downcast_ref::<Bytes>().cloned();
            let body = response.body().as_ref();
            let read = body.len().min(LIMIT);
            let whole = read == body.len();
            let start = match shared {
                Some(shared) => shared.slice(..read),
                None => Bytes::copy_from_slice(&body[..read]),
            };
            response.extensions_mut().insert(Self { start, whole });
        }
        response
    }
}

/// Never the body: it may hold what is not for logs.
impl fmt::Debug for Peeked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked")
            .field("bytes", &self.start.len())
            .field("whole", &self.whole)
            .finish()
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Reads the start of error bodies, so that classifiers can look into them, and hands
/// on the body as it was: nothing of it is lost, also not its trailers or its error.
///
/// Put it inside of `Retry`, and a time-out between them, so that a body that never
/// comes is cut off with its attempt. Bodies of answers below 400 are not touched.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt as _, Full};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{AwsCodes, BoxError, Class, PeekLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let policy = RetryPolicy::http().classify(AwsCodes::new()).max_retries(1).build()?;
/// let stats = policy.stats();
/// let answer = ServiceBuilder::new()
///     .layer(RetryLayer::new(policy))
///     .layer(PeekLayer::new().limit(1024))
///     .service(service_fn(|_: Request<()>| async {
///         let body = Full::new(Bytes::from_static(b"<Error><Code>AccessDenied</Code></Error>"));
///         Ok::<_, BoxError>(Response::builder().status(400).body(body)?)
///     }))
///     .oneshot(Request::get("/").body(())?)
///     .await?;
/// assert_eq!(stats.snapshot().failed_with(Class::Forbidden), 1);
/// let body = answer.into_body().collect().await?.to_bytes();
/// assert_eq!(body, "<Error><Code>AccessDenied</Code></Error>");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it is applied"]
pub struct PeekLayer {
    limit: usize,
}

impl PeekLayer {
    /// Looks at the first 64 KiB.
    pub const fn new() -> Self {
        Self { limit: LIMIT }
    }

    /// How much is looked at, in bytes. One chunk of the body may pass it in memory.
    /// Default: 65,536. Zero reads nothing.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl Default for PeekLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PeekLayer {
    type Service = Peek<S>;

    fn layer(&self, inner: S) -> Peek<S> {
        Peek { inner, limit: self.limit }
    }
}

/// The service of [`PeekLayer`]. Ready when the inner service is.
#[derive(Clone, Copy, Debug)]
pub struct Peek<S> {
    inner: S,
    limit: usize,
}

impl<S, Req, B> Service<Req> for Peek<S>
where
    S: Service<Req, Response = Response<B>>,
    B: http_body::Body,
{
    type Response = Response<PeekBody<B>>;
    type Error = S::Error;
    type Future = PeekFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        PeekFuture::new(self.inner.call(request), self.limit)
    }
}
