//! Which requests may be sent twice.

use http::Method;
use tokio::time::Instant;

use crate::{Deadline, Retryable};

/// A request that can be copied, and that knows whether sending it twice does
/// the same as sending it once.
///
/// Implemented for `http::Request<B>` where `B: Clone`, and for `()`. A body that
/// cannot always be copied (a stream) needs an implementation on a request type of
/// its own, or [`RetryPolicy::builder_with`](crate::RetryPolicy::builder_with).
pub trait Repeatable: Sized {
    /// A copy that can be sent in its place; `None` if there can be none. Then
    /// this sending is the last, and its outcome goes to the caller unseen by the
    /// policy.
    fn try_clone(&self) -> Option<Self>;

    /// Whether it may be sent again although the server may have acted on it.
    fn is_idempotent(&self) -> bool;

    /// What the caller said about it: `Some(false)` forbids every retry.
    fn mark(&self) -> Option<bool> {
        None
    }

    /// Until when the caller waits, if that is known.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Where it goes, for statistics and learning: a name without identifiers or
    /// secrets. Asked for only when something failed. Empty if it has none.
    fn endpoint(&self) -> String {
        String::new()
    }
}

impl Repeatable for () {
    fn try_clone(&self) -> Option<Self> {
        Some(())
    }

    fn is_idempotent(&self) -> bool {
        true
    }
}

/// Copied by `Request`'s own `Clone`, which allocates what it must for headers
/// and extensions. Idempotent by [`Retryable`] mark, else by [method](is_idempotent).
/// Its endpoint is its method and its path, in which numbers and long hexadecimal
/// parts are written `{id}`; never its query.
impl<B: Clone> Repeatable for http::Request<B> {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        by_mark_or_method(self)
    }

    fn mark(&self) -> Option<bool> {
        mark_of(self)
    }

    fn deadline(&self) -> Option<Instant> {
        deadline_of(self)
    }

    fn endpoint(&self) -> String {
        endpoint_of(self)
    }
}

pub(crate) fn by_mark_or_method<B>(request: &http::Request<B>) -> bool {
    mark_of(request).unwrap_or_else(|| is_idempotent(request.method()))
}

pub(crate) fn mark_of<B>(request: &http::Request<B>) -> Option<bool> {
    request.extensions().get().map(|Retryable(mark)| *mark)
}

pub(crate) fn deadline_of<B>(request: &http::Request<B>) -> Option<Instant> {
    request.extensions().get().map(|Deadline(at)| *at)
}

pub(crate) fn endpoint_of<B>(request: &http::Request<B>) -> String {
    endpoint(request.method(), request.uri().path())
}

pub(crate) fn endpoint(method: &Method, path: &str) -> String {
    let mut name = method.to_string();
    name.push(' ');
    for (n, part) in path.split('/').enumerate() {
        if n > 0 {
            name.push('/');
        }
        name.push_str(if is_identifier(part) { "{id}" } else { part });
    }
    name
}

/// A number, or eight and more hexadecimal digits (a UUID).
fn is_identifier(part: &str) -> bool {
    let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = part.len() >= 8
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    number || hexadecimal
}

/// Whether a request of this method may be sent twice: GET, HEAD, OPTIONS, PUT
/// and DELETE (RFC 9110, section 9.2.2; TRACE is left out, as nobody needs it).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_may_be_sent_twice() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(is_idempotent(&method), "{method}");
        }
        for method in
            [Method::POST, Method::PATCH, Method::CONNECT, Method::from_bytes(b"MOVE").unwrap()]
        {
            assert!(!is_idempotent(&method), "{method}");
        }
    }

    #[test]
    fn an_endpoint_has_no_identifiers_and_no_query() {
        for (uri, endpoint) in [
            ("/deals", "GET /deals"),
            ("http://a/deals/17?api_token=x", "GET /deals/{id}"),
            ("/v1/deals/17/notes/", "GET /v1/deals/{id}/notes/"),
            ("/jobs/0190b2f4-7a6c-7d3e-8f00-112233445566", "GET /jobs/{id}"),
            ("/face/decade", "GET /face/decade"),
            ("/deadbeef", "GET /deadbeef"),
        ] {
            assert_eq!(http::Request::get(uri).body(()).unwrap().endpoint(), endpoint);
        }
    }
}
