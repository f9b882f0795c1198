//! The start of an error's body, for classifiers to read and for the caller to have.

mod body;
mod future;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use tower::{Layer, Service};

pub(crate) use self::body::{Reading, Sorted};
pub use self::{body::PeekBody, future::PeekFuture};

/// As much of an error's body as is looked at unless told otherwise: 64 KiB.
const LIMIT: usize = 64 * 1024;

/// The start of a response's body, in the response's extensions, and its trailers if they came right after that.
///
/// [`PeekLayer`] puts it there for bodies that stream, [`note`](Self::note) for
/// those that are whole. [`AwsCodes`](crate::AwsCodes), [`GrpcStatus`](crate::GrpcStatus) and
/// [`Rules`](crate::Rules) read it, and so may a closure.
#[derive(Clone, PartialEq, Eq)]
pub struct Peeked {
    start: Bytes,
    whole: bool,
    trailers: Option<Arc<HeaderMap>>,
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

    /// The trailers, if the body was read to its end and had any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
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
            response.extensions_mut().insert(Self { start, whole, trailers: None });
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
            .field("trailers", &self.trailers.is_some())
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
/// comes is cut off with its attempt. Bodies of answers below 400 are not touched, unless
/// [`grpc`](Self::grpc) is asked for.
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
    grpc: bool,
}

impl PeekLayer {
    /// Looks at the first 64 KiB.
    pub const fn new() -> Self {
        Self { limit: LIMIT, grpc: false }
    }

    /// How much is looked at, in bytes. One chunk of the body may pass it in memory.
    /// Default: 65,536. Zero reads nothing.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Looks for the status of gRPC answers that do not have it in their headers: it stands in the trailers then, and
    /// [`GrpcStatus`](crate::GrpcStatus) finds it there if no message comes before. Default: no.
    ///
    /// An answer of `application/grpc` without a `grpc-status` is handed on when its first message or its trailers have
    /// come, no later: a stream flows as before. A status that comes after a message is not seen, since what the caller
    /// has begun to read cannot be asked for again.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{HeaderMap, Request, Response};
    /// use http_body_util::{BodyExt as _, Empty};
    /// use tower::{ServiceBuilder, ServiceExt as _, service_fn};
    /// use tower_retry_classify::{BoxError, Class, Classify as _, GrpcStatus, PeekLayer, Verdict};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let api = service_fn(|_: Request<()>| async {
    ///     let mut trailers = HeaderMap::new();
    ///     trailers.insert("grpc-status", "14".parse()?);
    ///     let body = Empty::<Bytes>::new().with_trailers(async { Some(Ok(trailers)) });
    ///     Ok::<_, BoxError>(Response::builder().header("content-type", "application/grpc").body(body.boxed_unsync())?)
    /// });
    /// let client = ServiceBuilder::new().layer(PeekLayer::new().grpc()).service(api);
    /// let answer = client.oneshot(Request::post("/shop.Orders/Get").body(())?).await?;
    /// assert_eq!(GrpcStatus::new().classify(&(), Ok(&answer)), Verdict::retry(Class::Server));
    /// # Ok(()) }
    /// ```
    pub const fn grpc(mut self) -> Self {
        self.grpc = true;
        self
    }

    /// How much is to be read of an answer's body; none if it is not looked at.
    fn reads<B>(self, answer: &Response<B>) -> Option<usize> {
        if is_error(answer.status()) {
            return (self.limit > 0).then_some(self.limit);
        }
        let headers = answer.headers();
        let is_grpc = || {
            let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
            kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        };
        // One byte is there as soon as a message is.
        (self.grpc && is_grpc() && !headers.contains_key("grpc-status")).then_some(1)
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
        Peek { inner, layer: *self }
    }
}

/// The service of [`PeekLayer`]. Ready when the inner service is.
#[derive(Clone, Copy, Debug)]
pub struct Peek<S> {
    inner: S,
    layer: PeekLayer,
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
        PeekFuture::new(self.inner.call(request), self.layer)
    }
}
