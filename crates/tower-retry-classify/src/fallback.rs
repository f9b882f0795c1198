//! What to do when nothing helped.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response, Uri};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{BoxError, GaveUp, NotRetried, methods};

/// What a call came to in the end, and what call it was.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed<Res> {
    /// The final outcome: an error, or an answer that is none.
    pub outcome: Result<Res, BoxError>,
    /// The method.
    pub method: Method,
    /// Where it went.
    pub uri: Uri,
    /// Why nothing more was tried, if it could have gone better: the class, the number
    /// of retries, when to come back.
    pub why: Option<NotRetried>,
}

impl<Res> Failed<Res> {
    /// Where it went, without identifiers and query; see
    /// [`Repeatable::endpoint`](crate::Repeatable::endpoint).
    #[must_use]
    pub fn endpoint(&self) -> String {
        methods::endpoint(&self.method, self.uri.path())
    }
}

/// Calls a function of the user's with what failed in the end; what that gives
/// is the caller's. Put it outside of `Retry`.
///
/// A call has failed if it ends in an error, in an answer that was not retried
/// although it could have gone better ([`NotRetried`]), or in one of 5xx. The function
/// can answer from a cache, ask a replica, or give back the outcome it got. It is
/// asked once; its own failure is the caller's.
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, Class, Failed, FallbackLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let from_cache = |failed: Failed<Response<&'static str>>| async move {
///     match failed.why {
///         Some(why) if why.class() == Class::Server && failed.uri.path() == "/rates" => {
///             assert_eq!(why.retries(), 3);
///             Ok(Response::new("as of yesterday"))
///         }
///         _ => failed.outcome,
///     }
/// };
/// let client = ServiceBuilder::new()
///     .layer(FallbackLayer::new(from_cache))
///     .layer(RetryLayer::new(RetryPolicy::http().build()?))
///     .service(service_fn(|_: Request<()>| async {
///         Ok::<_, BoxError>(Response::builder().status(503).body("down")?)
///     }));
/// let rates = client.clone().oneshot(Request::get("/rates").body(())?).await?;
/// assert_eq!(rates.into_body(), "as of yesterday");
/// assert_eq!(client.oneshot(Request::get("/deals").body(())?).await?.status(), 503);
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it is applied"]
pub struct FallbackLayer<F> {
    fallback: Arc<F>,
}

impl<F> FallbackLayer<F> {
    /// With this function, which gives a future.
    pub fn new(fallback: F) -> Self {
        Self { fallback: Arc::new(fallback) }
    }
}

impl<F> Clone for FallbackLayer<F> {
    fn clone(&self) -> Self {
        Self { fallback: Arc::clone(&self.fallback) }
    }
}

impl<F> fmt::Debug for FallbackLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").finish_non_exhaustive()
    }
}

impl<S, F> Layer<S> for FallbackLayer<F> {
    type Service = Fallback<S, F>;

    fn layer(&self, inner: S) -> Fallback<S, F> {
        Fallback { inner, fallback: Arc::clone(&self.fallback) }
    }
}

/// The service of [`FallbackLayer`]. Ready when the inner service is; an error of its
/// readiness goes to the caller, as there is no call yet.
pub struct Fallback<S, F> {
    inner: S,
    fallback: Arc<F>,
}

impl<S: Clone, F> Clone for Fallback<S, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), fallback: Arc::clone(&self.fallback) }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Fallback<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, F, A, B, Fut> Service<Request<A>> for Fallback<S, F>
where
    S: Service<Request<A>, Response = Response<B>, Error = BoxError>,
    F: Fn(Failed<Response<B>>) -> Fut,
    Fut: Future<Output = Result<Response<B>, BoxError>>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = FallbackFuture<S::Future, F, Fut>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let asked = Some((request.method().clone(), request.uri().clone()));
        let fallback = Arc::clone(&self.fallback);
        FallbackFuture { asked, fallback, state: State::Calling { call: self.inner.call(request) } }
    }
}

pin_project! {
    /// The future of [`Fallback`]. Dropping it drops the call, or the fallback.
    #[must_use = "futures do nothing unless polled"]
    pub struct FallbackFuture<C, F, Fut> {
        asked: Option<(Method, Uri)>,
        fallback: Arc<F>,
        #[pin]
        state: State<C, Fut>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<C, Fut> {
        Calling { #[pin] call: C },
        Falling { #[pin] back: Fut },
    }
}

impl<C, F, Fut, B> Future for FallbackFuture<C, F, Fut>
where
    C: Future<Output = Result<Response<B>, BoxError>>,
    F: Fn(Failed<Response<B>>) -> Fut,
    Fut: Future<Output = Result<Response<B>, BoxError>>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Calling { call } => {
                    let outcome = ready!(call.poll(cx));
                    let why = match &outcome {
                        Ok(answer) => NotRetried::of(answer),
                        Err(error) => GaveUp::find(&**error).map(GaveUp::why),
                    };
                    let failed = why.is_some()
                        || outcome.as_ref().map_or(true, |it| it.status().is_server_error());
                    let why = why.cloned();
                    match this.asked.take() {
                        Some((method, uri)) if failed => {
                            let back = (this.fallback)(Failed { outcome, method, uri, why });
                            this.state.set(State::Falling { back });
                        }
                        _ => return Poll::Ready(outcome),
                    }
                }
                StateProj::Falling { back } => return back.poll(cx),
            }
        }
    }
}

impl<C, F, Fut> fmt::Debug for FallbackFuture<C, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}
