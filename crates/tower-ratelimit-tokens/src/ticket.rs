use std::fmt;

use tokio::time::Instant;

use crate::{Charge, Limiter, Observation, Observations, Settle, core::Grant};

/// A charge that has been paid, for one request.
///
/// Say [`sent`](Self::sent) when the request goes out and
/// [`answered`](Self::answered) when the answer is there.
///
/// # Cancellation
///
/// Dropped before `sent`, it gives everything back. Dropped after `sent` and
/// before `answered`, it keeps its charge, as the server may have counted it; a
/// rolling window's slot is free one window and the transit bound after the
/// sending; what was held of a concurrency budget is given back at once.
#[must_use = "a ticket that is dropped gives its charge back"]
pub struct Ticket {
    limiter: Limiter,
    grant: Option<Grant>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("charge", &self.grant.as_ref().map(|grant| grant.charge))
            .field("sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}

impl Ticket {
    pub(crate) const fn new(limiter: Limiter, grant: Grant) -> Self {
        Self { limiter, grant: Some(grant) }
    }

    /// What was paid.
    #[must_use]
    pub fn charge(&self) -> Charge {
        self.grant.map_or(Charge::new(), |grant| grant.charge)
    }

    /// Whether the request has gone out.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.grant.is_some_and(|grant| grant.is_sent())
    }

    /// The request goes out now. Saying it again does nothing. A time in the future
    /// counts as now.
    pub fn sent(&mut self, now: Instant) {
        if let Some(grant) = self.grant.as_mut().filter(|grant| !grant.is_sent()) {
            self.limiter.send(grant, not_ahead(now), true);
        }
    }

    /// The answer is there. If [`sent`](Self::sent) was never said, the request
    /// counts as sent now.
    pub fn answered(self, now: Instant, settle: Settle) {
        self.observed(now, &Observations::none(), settle);
    }

    /// The answer is there, and says something about the budgets.
    pub fn observed(mut self, now: Instant, said: &Observations, settle: Settle) {
        self.sent(now);
        if let Some(grant) = self.grant.take() {
            self.limiter.answered(&grant, not_ahead(now), said, &settle);
        }
    }

    /// Takes one observation and the answer together.
    pub fn observed_one(self, now: Instant, said: Observation, settle: Settle) {
        self.observed(now, &Observations::from(said), settle);
    }

    /// Marks it as sent and hands the grant over to a service's future.
    pub(crate) fn hand_over(mut self, tracked: bool) -> Option<Grant> {
        if let Some(grant) = &mut self.grant {
            self.limiter.send(grant, Instant::now(), tracked);
        }
        self.grant.take()
    }
}

/// One caller's mistake must not move the time of all.
fn not_ahead(at: Instant) -> Instant {
    at.min(Instant::now())
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.grant.take() {
            Some(grant) if grant.is_sent() => self.limiter.lost(&grant),
            Some(grant) => self.limiter.unsend(&grant),
            None => {}
        }
    }
}
