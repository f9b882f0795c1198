//! Wall time: a fixed start that goes on with Tokio's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The real time of day, for a simulator that is to start now.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
pub fn real_now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) origin: Instant,
    start: Timestamp,
}

impl Clock {
    pub(super) fn new(origin: Instant, start: Timestamp) -> Self {
        Self { origin, start }
    }

    pub(super) fn wall(&self, now: Instant) -> Timestamp {
        let elapsed: Duration = now.saturating_duration_since(self.origin);
        SignedDuration::try_from(elapsed)
            .ok()
            .and_then(|elapsed| self.start.checked_add(elapsed).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
