use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day. Only calendar days and HTTP dates need it; it is read
/// at most once a minute, when a reset has passed, and for a `Retry-After` that
/// is a date.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// The time now. Must not block.
    fn now(&self) -> Timestamp;
}

/// The system's clock: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where wall time comes in")]
    fn now(&self) -> Timestamp {
        Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::MAX)
    }
}

/// A wall clock that goes by Tokio's: under a paused clock whole days pass in
/// no time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{AnchoredClock, WallClock};
///
/// let clock = AnchoredClock::new("2026-11-23T23:59:00Z".parse()?);
/// tokio::time::advance(Duration::from_secs(120)).await;
/// assert_eq!(clock.now(), "2026-11-24T00:01:00Z".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnchoredClock {
    base: Timestamp,
    since: Instant,
}

impl AnchoredClock {
    /// It is `base` now.
    #[must_use]
    pub fn new(base: Timestamp) -> Self {
        Self { base, since: Instant::now() }
    }
}

impl WallClock for AnchoredClock {
    fn now(&self) -> Timestamp {
        let passed: Duration = self.since.elapsed();
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        self.base.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }
}
