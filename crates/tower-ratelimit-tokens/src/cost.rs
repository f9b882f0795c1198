use crate::Charge;

/// Says what a request costs. Closures implement it:
///
/// ```
/// use tower_ratelimit_tokens::{Charge, Cost};
///
/// let by_length = |text: &String| Charge::new();
/// assert!(by_length.cost(&"four".to_owned()).is_free());
/// ```
pub trait Cost<Request> {
    /// Called once for each call. Should not allocate.
    fn cost(&self, request: &Request) -> Charge;
}

impl<F, Request> Cost<Request> for F
where
    F: Fn(&Request) -> Charge,
{
    fn cost(&self, request: &Request) -> Charge {
        self(request)
    }
}

/// The same for every request.
impl<Request> Cost<Request> for Charge {
    fn cost(&self, _: &Request) -> Charge {
        *self
    }
}

/// Says until when a call can wait. Closures implement it.
pub trait Deadline<Request> {
    /// `None`: as long as the limiter allows.
    fn deadline(&self, request: &Request) -> Option<tokio::time::Instant>;
}

impl<F, Request> Deadline<Request> for F
where
    F: Fn(&Request) -> Option<tokio::time::Instant>,
{
    fn deadline(&self, request: &Request) -> Option<tokio::time::Instant> {
        self(request)
    }
}

/// Every call waits as long as the limiter allows: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadline;

impl<Request> Deadline<Request> for NoDeadline {
    fn deadline(&self, _: &Request) -> Option<tokio::time::Instant> {
        None
    }
}
