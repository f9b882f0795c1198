//! How a response carries the reason why nothing more was tried.

use crate::NotRetried;

/// A response that can carry a [`NotRetried`] to the caller.
///
/// The policy keeps the last response between attempts, so that the caller can
/// have it when the next attempt is refused locally. It is dropped as soon as a
/// newer one has come. Until then it holds its body: some memory if that is
/// buffered, a connection if it streams. See
/// [`RetryBuilder::forget_responses`](crate::RetryBuilder::forget_responses).
pub trait AttachRefusal {
    /// Puts it where the caller finds it.
    fn attach(&mut self, why: NotRetried);
}

/// Into the extensions; [`NotRetried::of`] finds it there.
impl<B> AttachRefusal for http::Response<B> {
    fn attach(&mut self, why: NotRetried) {
        self.extensions_mut().insert(why);
    }
}

/// Has no place for it: it is dropped.
impl AttachRefusal for () {
    fn attach(&mut self, _: NotRetried) {}
}

impl NotRetried {
    /// Why this response is final, if it is a failure that could have been retried.
    #[must_use]
    pub fn of<B>(response: &http::Response<B>) -> Option<&Self> {
        response.extensions().get()
    }
}
