//! Time as the pure types see it: nanoseconds since the limiter was built.
//!
//! One conversion at the door, then plain `u64` arithmetic that cannot panic;
//! the range is 584 years.

use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since the limiter was built.
pub(crate) type Nanos = u64;

/// The longest wait that is turned back into an [`Instant`]: thirty years.
const FAR: Nanos = 30 * 365 * 24 * 60 * 60 * 1_000_000_000;

/// `duration` in nanoseconds, or as many as fit.
pub(crate) const fn nanos(duration: Duration) -> Nanos {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// The instant that counts as zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(pub(crate) Instant);

impl Epoch {
    pub(crate) fn nanos(self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.0))
    }

    /// An instant at most thirty years away, so that no addition overflows.
    pub(crate) fn instant(self, at: Nanos) -> Instant {
        self.0 + Duration::from_nanos(at.min(FAR))
    }
}
