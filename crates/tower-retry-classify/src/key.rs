//! Keys by which a server knows a request that it has seen before.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Request};
use tower::{Layer, Service};

use crate::is_idempotent;

/// Gives each request that is not idempotent by its method a key of its own in a
/// header, unless it has one. Put it outside of `Retry`: then all attempts carry the
/// same key. Tell the policy to trust it with
/// [`key_header`](crate::RetryBuilder::key_header).
///
/// Only for servers that know such keys: to others it is a header without meaning, and
/// the request would be done twice.
///
/// A key has the form of a random UUID (version 4). It is drawn from a counter by a keyed
/// hash whose key the operating system chose at random: no two are alike for all practical
/// purposes, and nobody can guess the next; nothing is promised against a cryptanalyst.
///
/// ```
/// use http::{HeaderName, Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, IdempotencyKeyLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let header = HeaderName::from_static("idempotency-key");
/// let seen = std::sync::Mutex::new(Vec::new());
/// let answer = ServiceBuilder::new()
///     .layer(IdempotencyKeyLayer::new(header.clone()))
///     .layer(RetryLayer::new(RetryPolicy::http().key_header(header).build()?))
///     .service(service_fn(|request: Request<()>| {
///         let mut seen = seen.lock().unwrap();
///         seen.push(request.headers()["idempotency-key"].clone());
///         let status = if seen.len() < 3 { 503 } else { 201 };
///         std::future::ready(Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap()))
///     }))
///     .oneshot(Request::post("/payments").body(())?)
///     .await?;
/// assert_eq!(answer.status(), 201);
/// let seen = seen.into_inner().unwrap();
/// assert!(seen.len() == 3 && seen.iter().all(|key| *key == seen[0]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is applied"]
pub struct IdempotencyKeyLayer {
    header: HeaderName,
    keys: Arc<Keys>,
}

struct Keys {
    random: RandomState,
    next: AtomicU64,
}

impl Keys {
    fn make(&self) -> HeaderValue {
        let next = self.next.fetch_add(1, Relaxed);
        let half = |part: u8| u128::from(self.random.hash_one((next, part)));
        // The bits that say "version 4, variant 1" (RFC 9562).
        let bits = ((half(0) << 64) | half(1)) & !(0xf << 76) & !(0b11 << 62);
        let bits = bits | (4 << 76) | (0b10 << 62);
        let [a, b, c, d] =
            [bits >> 96, (bits >> 80) & 0xffff, (bits >> 64) & 0xffff, (bits >> 48) & 0xffff];
        let text = format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", bits & 0xffff_ffff_ffff);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl IdempotencyKeyLayer {
    /// Puts keys into this header, `Idempotency-Key` for most APIs.
    pub fn new(header: HeaderName) -> Self {
        let keys = Keys { random: RandomState::new(), next: AtomicU64::new(0) };
        Self { header, keys: Arc::new(keys) }
    }
}

impl fmt::Debug for IdempotencyKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKeyLayer").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdempotencyKeyLayer {
    type Service = IdempotencyKey<S>;

    fn layer(&self, inner: S) -> IdempotencyKey<S> {
        IdempotencyKey { inner, layer: self.clone() }
    }
}

/// The service of [`IdempotencyKeyLayer`]. Ready when the inner service is. Allocates for
/// the requests that get a key, not for the others.
#[derive(Clone, Debug)]
pub struct IdempotencyKey<S> {
    inner: S,
    layer: IdempotencyKeyLayer,
}

impl<S, B> Service<Request<B>> for IdempotencyKey<S>
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
        let header = &self.layer.header;
        if !is_idempotent(request.method()) && !request.headers().contains_key(header) {
            request.headers_mut().insert(header.clone(), self.layer.keys.make());
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_uuids_and_no_two_are_alike() {
        let layer = IdempotencyKeyLayer::new(HeaderName::from_static("k"));
        let mut seen = std::collections::HashSet::new();
        let mut ones = [0_u32; 128];
        for _ in 0..10_000 {
            let key = layer.keys.make();
            let text = key.to_str().unwrap().to_owned();
            let lengths: Vec<_> = text.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12]);
            assert_eq!(&text[14..15], "4");
            assert!("89ab".contains(&text[19..20]), "{text}");
            let bits = u128::from_str_radix(&text.replace('-', ""), 16).unwrap();
            let free = 0x3fff_ffff_ffff_0fff;
            assert_ne!((bits >> 64) & free, bits & free, "the halves are independent");
            for (place, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(bits >> place & 1 == 1);
            }
            assert!(seen.insert(text));
        }
        let free = |place: &usize| !(76..80).contains(place) && !(62..64).contains(place);
        for place in (0..128).filter(free) {
            assert!(
                (4_500..5_500).contains(&ones[place]),
                "bit {place} is one {} times",
                ones[place]
            );
        }
    }
}
