//! Pure: closed for everybody until an instant, then opened without a herd.

use std::time::Duration;

use crate::{
    GateReason,
    moment::{Nanos, nanos},
};

/// How late a timer may be and still be made up for.
const LATE: Nanos = nanos(Duration::from_millis(5));

#[derive(Debug)]
pub(crate) struct Gate {
    until: Nanos,
    reason: GateReason,
    /// After opening, admissions lie this far apart ...
    gap: Nanos,
    /// ... for this long ...
    ramp: Nanos,
    /// ... that is, until then.
    paced_until: Nanos,
    next: Nanos,
}

impl Gate {
    pub(crate) fn new(gap: Duration, ramp: Duration) -> Self {
        let (gap, ramp) = (nanos(gap), nanos(ramp));
        Self { until: 0, reason: GateReason::Manual, gap, ramp, paced_until: 0, next: 0 }
    }

    /// Never shortens. Returns whether it is now closed for longer than before.
    pub(crate) fn close(&mut self, now: Nanos, until: Nanos, reason: GateReason) -> bool {
        if until <= self.until || until <= now {
            return false;
        }
        (self.until, self.reason, self.next) = (until, reason, until);
        self.paced_until = until.saturating_add(self.ramp);
        true
    }

    /// Open, but one after the other for a while: many have waited.
    pub(crate) fn pace(&mut self, now: Nanos) {
        if now >= self.paced_until {
            (self.next, self.paced_until) = (now, now.saturating_add(self.ramp));
        }
    }

    /// When the next call may pass; not later than `now` if at once.
    #[inline]
    pub(crate) const fn opens(&self, now: Nanos) -> Nanos {
        if now >= self.paced_until {
            0
        } else if self.next < self.paced_until {
            self.next
        } else {
            self.paced_until
        }
    }

    /// Whether anybody may pass at any pace.
    #[inline]
    pub(crate) const fn is_open(&self, now: Nanos) -> bool {
        now >= self.paced_until
    }

    #[inline]
    pub(crate) fn passed(&mut self, now: Nanos) {
        if now < self.paced_until {
            // A timer that fires late costs nothing.
            self.next = self.next.max(now.saturating_sub(LATE)).saturating_add(self.gap);
        }
    }

    /// Until when it is closed, and why.
    pub(crate) fn closed(&self, now: Nanos) -> Option<(Nanos, GateReason)> {
        (now < self.until).then_some((self.until, self.reason))
    }
}
