//! Pure: the requests that were sent and of whose end somebody wants to hear.
//!
//! They are kept here and not by whoever hears of the end: a record is written
//! where it stays, and only what a request has paid of is written at all.

use super::{Core, Grant, Takings};
use crate::{Charge, accounts::At, budget::Slot, charge::MAX_BUDGETS, moment::Nanos};

/// Names one request that is under way; whoever has it ends it, once.
#[derive(Debug)]
#[must_use = "its record stays until its end is told"]
pub(crate) struct SentId {
    place: u32,
    tracked: bool,
}

impl SentId {
    /// Whether the budgets are to hear of the end, whatever it is.
    pub(crate) const fn is_tracked(&self) -> bool {
        self.tracked
    }
}

/// What is known of one request that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(super) grant: Grant,
    pub(super) sent_at: Nanos,
    /// The first is 1.
    pub(super) seq: u64,
    pub(super) tracked: bool,
    /// What the budgets returned; only for those that it paid from.
    pub(super) marks: [u64; MAX_BUDGETS],
}

// The crate's page says so.
const _: () = assert!(std::mem::size_of::<Sent>() + std::mem::size_of::<u32>() <= 256);

impl Sent {
    #[inline]
    pub(super) fn slot(&self, budget: usize) -> Slot {
        Slot {
            n: self.grant.charge.amount(budget),
            sent_at: self.sent_at,
            seq: self.seq,
            mark: self.marks[budget],
            taking: self.grant.takings.numbers[budget],
            tracked: self.tracked,
        }
    }
}

/// All of them. As many places as were ever under way at once.
#[derive(Debug, Default)]
pub(crate) struct Sendings {
    places: Vec<Sent>,
    free: Vec<u32>,
}

impl Sendings {
    /// A record to write to; what it holds is an older one.
    #[inline(always)]
    pub(super) fn open(&mut self, tracked: bool) -> (SentId, &mut Sent) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => self.grow(),
        };
        (SentId { place, tracked }, &mut self.places[place as usize])
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        let grant = Grant::reserved(0, Charge::new(), At::default(), Takings::NONE);
        let marks = [0; MAX_BUDGETS];
        self.places.push(Sent { grant, sent_at: 0, seq: 0, tracked: false, marks });
        // So that a place that is given back never has to be made room for.
        self.free.reserve(self.places.len());
        (self.places.len() - 1) as u32
    }

    /// A record that is not needed any more, to be read once.
    #[inline]
    pub(super) fn close(&mut self, id: &SentId) -> &Sent {
        self.free.push(id.place);
        &self.places[id.place as usize]
    }
}

impl Core {
    /// Does something with a record, and then forgets it.
    #[inline]
    pub(super) fn end<T>(&mut self, id: &SentId, act: impl FnOnce(&mut Self, &Sent) -> T) -> T {
        // Taken out meanwhile, so that it need not be copied.
        let mut sendings = std::mem::take(&mut self.sendings);
        let result = act(self, &sendings.places[id.place as usize]);
        sendings.free.push(id.place);
        self.sendings = sendings;
        result
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{self, Future},
        pin::pin,
        task::{Context, Waker},
        time::Duration,
    };

    use tokio::time::Instant;
    use tower::{Service, ServiceBuilder, service_fn};

    use crate::{BoxError, Budget, Charge, Limiter, Outcome, Settle, Terms, TokenLimitLayer};

    /// However a call ends, its record goes: one after the other need one place.
    #[test]
    fn a_record_goes_with_its_call() {
        for freed_by_answer in [false, true] {
            let mut limits = Limiter::builder();
            let mut burst = Budget::rolling(1_000, Duration::from_secs(1));
            if freed_by_answer {
                burst = burst.freed_by_answer(Duration::from_secs(1));
            }
            let burst = limits.budget("burst", burst);
            let (limiter, charge) = (limits.build().unwrap(), Charge::new().with(burst, 1));
            let settle = |outcome: Outcome<'_, bool, BoxError>| match outcome {
                Ok(true) => Settle::Keep,
                _ => Settle::Refund,
            };
            let mut service = ServiceBuilder::new()
                .layer(TokenLimitLayer::new(limiter.clone(), charge).settle(settle))
                .service(service_fn(|end: Option<bool>| async move {
                    match end {
                        Some(end) => Ok::<_, Infallible>(end),
                        None => future::pending().await,
                    }
                }));
            let mut cx = Context::from_waker(Waker::noop());
            for end in [Some(true), Some(false), None, Some(true), None] {
                assert!(Service::<Option<bool>>::poll_ready(&mut service, &mut cx).is_ready());
                let mut call = pin!(service.call(end));
                assert_eq!(call.as_mut().poll(&mut cx).is_ready(), end.is_some());
            }
            for answered in [true, false] {
                let mut ticket = limiter.try_acquire(charge, Terms::new()).unwrap();
                ticket.sent(Instant::now());
                if answered {
                    ticket.answered(Instant::now(), Settle::Keep);
                }
            }
            let (places, free) = limiter.with(Instant::now(), |core, _, _| {
                (core.sendings.places.len(), core.sendings.free.len())
            });
            assert_eq!((places, free), (1, 1));
        }
    }
}
