use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tokio::time::Instant;
use tower_service::Service;

use crate::{BoxError, Learn, LearnTime, Lists, NamesPageSize, ResponseFuture, layer::Shared};

/// Lets list requests ask for as many rows as memory allows; see the
/// [crate docs](crate).
pub struct AdaptivePage<S, L = NamesPageSize, F = LearnTime> {
    inner: S,
    shared: Arc<Shared<L, F>>,
}

impl<S, L, F> AdaptivePage<S, L, F> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<L, F>>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone, L, F> Clone for AdaptivePage<S, L, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S, L, F, B> Service<Request<B>> for AdaptivePage<S, L, F>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<BoxError>,
    L: Lists<B>,
    F: Learn<S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, L, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = &self.shared;
        if !shared.enabled || !shared.lists.is_list(&request, &shared.parameter) {
            return ResponseFuture::passing(self.inner.call(request));
        }
        let now = Instant::now();
        match shared.controller.admit(now) {
            Ok(size) => {
                let page = shared.ask(&mut request, size, now);
                ResponseFuture::asking(self.inner.call(request), page)
            }
            Err(_) => {
                // It may wait for long: let the ready service go, so that what
                // its readiness reserved serves others, and keep a clone.
                let unready = self.inner.clone();
                drop(mem::replace(&mut self.inner, unready));
                let shared = Arc::clone(shared);
                ResponseFuture::waiting(shared, self.inner.clone(), request)
            }
        }
    }
}

impl<S: fmt::Debug, L, F> fmt::Debug for AdaptivePage<S, L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptivePage")
            .field("inner", &self.inner)
            .field("controller", &self.shared.controller)
            .finish_non_exhaustive()
    }
}
