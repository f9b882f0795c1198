//! Clones of a service that cost next to nothing until they are used.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

/// Makes a clone of the service inside only when a clone of the outside is used.
///
/// `tower`'s retry clones its service for every call, and only a call that fails ever uses the clone. Below this layer
/// that clone is one count of references.
///
/// # What is shared
///
/// The service that was given, from which all clones are made. It is never asked for readiness and never called.
///
/// # Readiness
///
/// That of the inner service; the clone is made when readiness is first asked for.
///
/// # Cancellation
///
/// As the inner service.
///
/// ```
/// # use std::convert::Infallible;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// use pipedrive_service::lazy_clone::LazyCloneLayer;
/// use tower::{Layer as _, Service as _, ServiceExt as _};
///
/// let twice = tower::service_fn(|n: u32| async move { Ok::<_, Infallible>(2 * n) });
/// let mut service = LazyCloneLayer::new().layer(twice);
/// assert_eq!(service.ready().await?.call(21).await?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LazyCloneLayer {
    _private: (),
}

impl LazyCloneLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

impl<S> Layer<S> for LazyCloneLayer {
    type Service = LazyClone<S>;

    fn layer(&self, inner: S) -> LazyClone<S> {
        LazyClone { model: Arc::new(inner), own: None }
    }
}

/// See [`LazyCloneLayer`].
pub struct LazyClone<S> {
    model: Arc<S>,
    own: Option<Box<S>>,
}

impl<S> Clone for LazyClone<S> {
    fn clone(&self) -> Self {
        Self { model: Arc::clone(&self.model), own: None }
    }
}

impl<S: Clone> LazyClone<S> {
    fn own(&mut self) -> &mut S {
        self.own.get_or_insert_with(|| Box::new(S::clone(&self.model)))
    }
}

impl<S, Request> Service<Request> for LazyClone<S>
where
    S: Service<Request> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.own().poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.own().call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for LazyClone<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyClone").field("inner", &self.model).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// Counts its clones.
    struct Counted<S>(S, Arc<AtomicUsize>);

    impl<S: Clone> Clone for Counted<S> {
        fn clone(&self) -> Self {
            self.1.fetch_add(1, Ordering::Relaxed);
            Self(self.0.clone(), Arc::clone(&self.1))
        }
    }

    impl<S: Service<R>, R> Service<R> for Counted<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, request: R) -> S::Future {
            self.0.call(request)
        }
    }

    #[tokio::test]
    async fn a_clone_that_is_not_used_clones_nothing_inside() {
        let clones = Arc::new(AtomicUsize::new(0));
        let double = service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(2 * n) });
        let mut service = LazyCloneLayer::new().layer(Counted(double, Arc::clone(&clones)));
        for n in 0..100 {
            assert_eq!(service.ready().await.unwrap().call(n).await.unwrap(), 2 * n);
            drop(service.clone());
        }
        assert_eq!(clones.load(Ordering::Relaxed), 1);
        assert_eq!(service.clone().oneshot(4).await.unwrap(), 8);
        assert_eq!(clones.load(Ordering::Relaxed), 2);
    }
}
