//! Pure: closed for everybody until an instant, then opened without a herd.

use std::time::Duration;

use crate::{
    GateReason,
    moment::{Nanos, nanos},
};

#[derive(Debug)]
pub(crate) struct Gate {
    until: Nanos,
    reason: GateReason,
    /// After opening, admissions lie this far apart ...
    gap: Nanos,
    /// ... for this long.
    ramp: Nanos,
    next: Nanos,
}

impl Gate {
    pub(crate) fn new(gap: Duration, ramp: Duration) -> Self {
        Self { until: 0, reason: GateReason::Manual, gap: nanos(gap), ramp: nanos(ramp), next: 0 }
    }

    /// Never shortens. Returns whether it now closes for longer than before.
    pub(crate) fn close(&mut self, now: Nanos, until: Nanos, reason: GateReason) -> bool {
        if until <= self.until || until <= now {
            return false;
        }
        (self.until, self.reason, self.next) = (until, reason, until);
        true
    }

    /// When the next call may pass; not later than `now` if at once.
    #[inline]
    pub(crate) fn opens(&self, now: Nanos) -> Nanos {
        if now >= self.until.saturating_add(self.ramp) { 0 } else { self.next }
    }

    #[inline]
    pub(crate) fn passed(&mut self, now: Nanos) {
        if now < self.until.saturating_add(self.ramp) {
            self.next = self.next.max(now) + self.gap;
        }
    }

    /// Until when it is closed, and why.
    pub(crate) fn closed(&self, now: Nanos) -> Option<(Nanos, GateReason)> {
        (now < self.until).then_some((self.until, self.reason))
    }
}
