//! One `x-request-id` per logical call, the same on all its attempts.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::call::Call;

/// The header's name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How many ids share one piece of memory.
const AT_ONCE: usize = 64;

/// A fresh id: 32 hexadecimal digits, the first half random per process, the second counted and scrambled.
///
/// # Panics
///
/// Never: hexadecimal digits are a header value.
#[must_use]
pub fn fresh() -> HeaderValue {
    static PROCESS: OnceLock<([u8; 16], u64)> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static MEMORY: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    }
    let (process, key) = PROCESS.get_or_init(|| {
        let (first, second) = (RandomState::new(), RandomState::new());
        (digits(first.hash_one(std::process::id())), second.hash_one(0))
    });
    let mut text = [0; 32];
    text[..16].copy_from_slice(process);
    text[16..].copy_from_slice(&digits(scrambled(key ^ NEXT.fetch_add(1, Ordering::Relaxed))));
    let kept = MEMORY.try_with(|memory| {
        let mut memory = memory.borrow_mut();
        if memory.capacity() < text.len() {
            memory.reserve(AT_ONCE * text.len());
        }
        memory.extend_from_slice(&text);
        memory.split().freeze()
    });
    // A thread that ends has no memory of its own any more.
    let kept = kept.unwrap_or_else(|_| Bytes::copy_from_slice(&text));
    HeaderValue::from_maybe_shared(kept).expect("hexadecimal digits are a header value")
}

/// Another number for each number, and no pattern to be seen: the finalizer of splitmix64, as Java's `SplittableRandom`
/// has it.
const fn scrambled(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn digits(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15])
}

/// Puts the [`Call`]'s request id, or a fresh one, on every request that has none.
///
/// It stands outside the retry, so that all attempts carry the same. With [`leave_calls`](Self::leave_calls) a request
/// that has a [`Call`] gets its id from [`Collect`](crate::collect::Collect), for each attempt: so the retry has one
/// header less to copy.
///
/// # What is shared
///
/// Nothing. Readiness and cancellation are those of the inner service.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIdLayer {
    leave_calls: bool,
}

impl RequestIdLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { leave_calls: false }
    }

    /// Only for requests without a [`Call`].
    #[must_use]
    pub const fn leave_calls(self) -> Self {
        Self { leave_calls: true }
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> RequestId<S> {
        RequestId { inner, leave_calls: self.leave_calls }
    }
}

/// See [`RequestIdLayer`].
#[derive(Clone, Copy, Debug)]
pub struct RequestId<S> {
    inner: S,
    leave_calls: bool,
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
        let call = request.extensions().get::<Call>();
        if !(self.leave_calls && call.is_some() || request.headers().contains_key(X_REQUEST_ID)) {
            let id = call.map_or_else(fresh, |call| call.request_id().clone());
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
