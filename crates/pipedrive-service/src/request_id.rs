//! One `x-request-id` per logical call, the same on all its attempts.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::call::Call;

/// The header's name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A fresh id: 32 hexadecimal digits, the first half random per process, the second counted and scrambled.
///
/// # Panics
///
/// Never: hexadecimal digits are a header value.
#[must_use]
pub fn fresh() -> HeaderValue {
    static PROCESS: OnceLock<(RandomState, [u8; 16])> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (state, process) = PROCESS.get_or_init(|| {
        let state = RandomState::new();
        let process = digits(state.hash_one(std::process::id()));
        (state, process)
    });
    let mut hasher = state.build_hasher();
    hasher.write_u64(NEXT.fetch_add(1, Ordering::Relaxed));
    let mut text = [0; 32];
    text[..16].copy_from_slice(process);
    text[16..].copy_from_slice(&digits(hasher.finish()));
    HeaderValue::from_bytes(&text).expect("hexadecimal digits are a header value")
}

fn digits(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15])
}

/// Puts the [`Call`]'s request id, or a fresh one, on every request that has none.
///
/// It stands outside the retry, so that all attempts carry the same.
///
/// # What is shared
///
/// Nothing. Readiness and cancellation are those of the inner service.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIdLayer {
    _private: (),
}

impl RequestIdLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> RequestId<S> {
        RequestId { inner }
    }
}

/// See [`RequestIdLayer`].
#[derive(Clone, Copy, Debug)]
pub struct RequestId<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for RequestId<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if !request.headers().contains_key(X_REQUEST_ID) {
            let id = request
                .extensions()
                .get::<Call>()
                .map_or_else(fresh, |call| call.request_id().clone());
            request.headers_mut().insert(X_REQUEST_ID, id);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let ids: HashSet<_> = (0..10_000).map(|_| fresh()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }

    #[tokio::test]
    async fn the_calls_id_is_used_and_the_callers_own_is_kept() {
        let mut echo =
            RequestIdLayer::new().layer(tower::service_fn(|request: Request<()>| async move {
                Ok::<_, std::convert::Infallible>(request.headers()[X_REQUEST_ID].clone())
            }));
        let call = Call::builder("/x").build();
        let mut request = Request::new(());
        request.extensions_mut().insert(call.clone());
        assert_eq!(echo.call(request.clone()).await.unwrap(), call.request_id());
        request.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_static("mine"));
        assert_eq!(echo.call(request).await.unwrap(), "mine");
    }
}
