//! Which requests may be sent twice.

use http::Method;

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
/// and extensions. Idempotent by [method](is_idempotent).
impl<B: Clone> Repeatable for http::Request<B> {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        is_idempotent(self.method())
    }
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
}
