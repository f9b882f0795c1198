use std::{error, fmt, mem};

use tokio::time::Instant;

use crate::{
    Charge, Limiter, Observation, Observations, Settle,
    core::{Grant, Hears, SentId},
    moment::Nanos,
};

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
    held: Held,
}

enum Held {
    Reserved(Grant),
    Sent(SentId, Charge),
    Nothing,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("charge", &self.charge())
            .field("sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}

impl Ticket {
    pub(crate) const fn new(limiter: Limiter, grant: Grant) -> Self {
        Self { limiter, held: Held::Reserved(grant) }
    }

    /// What was paid.
    #[must_use]
    pub fn charge(&self) -> Charge {
        match &self.held {
            Held::Reserved(grant) => grant.charge,
            Held::Sent(_, charge) => *charge,
            Held::Nothing => Charge::new(),
        }
    }

    /// Whether the request has gone out.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.held, Held::Sent(..))
    }

    /// The moment before which it must be sent, if it is not sent yet and a ledger has
    /// leased what it holds; see [`Leases`](crate::Leases).
    #[must_use]
    pub fn send_before(&self) -> Option<Instant> {
        match &self.held {
            Held::Reserved(grant) if grant.until() != Nanos::MAX => {
                Some(self.limiter.instant(grant.until()))
            }
            _ => None,
        }
    }

    /// As [`sent`](Self::sent), unless the lease ran out before.
    ///
    /// # Errors
    ///
    /// [`LeaseExpired`]: do not send. The ticket is as it was; drop it, which
    /// gives everything back, and acquire anew.
    pub fn try_sent(&mut self, now: Instant) -> Result<(), LeaseExpired> {
        let Held::Reserved(grant) = &self.held else { return Ok(()) };
        match self.limiter.send_in_time(grant, not_ahead(now), Hears::Limiter) {
            Some(sent) => {
                self.held = Held::of(sent, grant.charge);
                Ok(())
            }
            None => Err(LeaseExpired(())),
        }
    }

    /// The request goes out now. Saying it again does nothing. A time in the
    /// future counts as now.
    ///
    /// With budgets that a ledger leases, say it before
    /// [`send_before`](Self::send_before), or use [`try_sent`](Self::try_sent): a
    /// request that goes out later is counted, but its slot may have gone to
    /// another process by then, and together they may send one too many.
    pub fn sent(&mut self, now: Instant) {
        if let Held::Reserved(grant) = &self.held {
            let sent = self.limiter.send(grant, not_ahead(now), Hears::Limiter);
            self.held = Held::of(sent, grant.charge);
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
        if let Held::Sent(sent, _) = mem::replace(&mut self.held, Held::Nothing) {
            self.limiter.answered(&sent, not_ahead(now), said, &settle);
        }
    }

    /// Takes one observation and the answer together.
    pub fn observed_one(self, now: Instant, said: Observation, settle: Settle) {
        self.observed(now, &Observations::from(said), settle);
    }

    /// Sends it and hands its record over to a service's future, if somebody is to
    /// hear of the end; `None` if its lease ran out, and then everything is given
    /// back.
    pub(crate) fn hand_over(mut self, hears: Hears) -> Option<Option<SentId>> {
        let Held::Reserved(grant) = &self.held else { return None };
        let sent = self.limiter.send_in_time(grant, Instant::now(), hears)?;
        self.held = Held::Nothing;
        Some(sent)
    }
}

impl Held {
    fn of(sent: Option<SentId>, charge: Charge) -> Self {
        sent.map_or(Self::Nothing, |sent| Self::Sent(sent, charge))
    }
}

/// The lease of a ticket ran out before the request was sent.
///
/// Nothing was sent and nothing is spent. Drop the ticket and acquire anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseExpired(());

impl fmt::Display for LeaseExpired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ledger's lease ran out before the request was sent; acquire anew")
    }
}

impl error::Error for LeaseExpired {}

/// One caller's mistake must not move the time of all.
fn not_ahead(at: Instant) -> Instant {
    at.min(Instant::now())
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &self.held {
            Held::Reserved(grant) => self.limiter.unsend(grant),
            Held::Sent(sent, _) => self.limiter.lost(sent),
            Held::Nothing => {}
        }
    }
}
