//! What a caller says about one request, in its extensions.

use std::time::Duration;

use tokio::time::Instant;

/// Whether this request may be sent twice, as its caller knows better than its method
/// tells. For the extensions of an [`http::Request`].
///
/// `true` lets a POST be sent again; `false` has the request sent once, whatever
/// happens, also after a 429.
///
/// ```
/// use http::Request;
/// use tower_retry_classify::{Repeatable, Retryable};
///
/// let search = Request::post("/search").extension(Retryable(true)).body("q=1")?;
/// assert!(search.is_idempotent());
/// let payment = Request::put("/payment").extension(Retryable(false)).body("")?;
/// assert!(!payment.is_idempotent());
/// assert_eq!(payment.mark(), Some(false));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retryable(pub bool);

/// Until when the caller waits, over all attempts, waits and fallbacks. For the
/// extensions of an [`http::Request`].
///
/// The policy begins no wait that cannot end before. A
/// [`DeadlineLayer`](crate::DeadlineLayer) around everything ends the call at that
/// time; other layers (a limiter's queue, a per-attempt time-out) can read it too.
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use tokio::time::Instant;
/// use tower_retry_classify::{Deadline, Repeatable};
///
/// let deadline = Deadline::after(Instant::now(), Duration::from_secs(30));
/// let request = Request::get("/deals").extension(deadline).body("")?;
/// assert_eq!(request.deadline(), Some(deadline.0));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// So long from now; thirty years if that is beyond the clock.
    #[must_use]
    pub fn after(now: Instant, time: Duration) -> Self {
        const LONG: Duration = Duration::from_secs(30 * 366 * 24 * 60 * 60);
        Self(now.checked_add(time).unwrap_or(now + LONG))
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}
