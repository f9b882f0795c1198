use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    Ask, BoxError, Cost, Dialect, KeepAll, NoDialect, OnLimit, ResponseFuture, SameTerms, Settler,
    future::UnderWay, layer::Policy,
};

/// Pays for each call before it goes to `S`; see the [crate docs](crate).
pub struct TokenLimit<S, C, D = NoDialect, T = KeepAll, L = SameTerms> {
    inner: S,
    policy: Arc<Policy<C, D, T, L>>,
}

impl<S: Clone, C, D, T, L> Clone for TokenLimit<S, C, D, T, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<S: fmt::Debug, C, D, T, L> fmt::Debug for TokenLimit<S, C, D, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.policy.limiter)
            .finish_non_exhaustive()
    }
}

impl<S, C, D, T, L> TokenLimit<S, C, D, T, L> {
    pub(crate) const fn new(inner: S, policy: Arc<Policy<C, D, T, L>>) -> Self {
        Self { inner, policy }
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Request, C, D, T, L> Service<Request> for TokenLimit<S, C, D, T, L>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    C: Cost<Request>,
    D: Dialect<S::Response>,
    T: Settler<S::Response>,
    L: Ask<Request>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request, C, D, T, L>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let policy = &self.policy;
        if !policy.enabled {
            return ResponseFuture::called(self.inner.call(request), None);
        }
        let charge = policy.cost.cost(&request);
        let terms = policy.terms.terms(&request);
        let waits = !terms.no_wait && policy.on_limit == OnLimit::Wait;
        match policy.limiter.try_send(&charge, &terms, policy.hears::<S::Response>(), waits) {
            Ok(sent) => {
                // Paid: the service that was polled ready is called at once.
                let under_way = sent.map(|sent| UnderWay::new(Arc::clone(policy), sent));
                return ResponseFuture::called(self.inner.call(request), under_way);
            }
            Err(Some(refused)) => return ResponseFuture::refused(refused),
            Err(None) => {}
        }
        let acquire = policy.limiter.acquire(charge, terms);
        // The wait may be long. What this readiness holds is let go; the clone
        // that goes along asks for its own when the wait is over.
        let unready = self.inner.clone();
        drop(mem::replace(&mut self.inner, unready.clone()));
        ResponseFuture::waiting(acquire, Arc::clone(policy), unready, request)
    }
}
