use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Charge, Limiter, Refused, Terms, Ticket,
    core::{Claim, Polled},
    queue::Key,
};

/// A place in the queue, given up on drop.
struct Place {
    limiter: Limiter,
    key: Option<Key>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.limiter.with(Instant::now(), |core, now, effects| core.cancel(now, key, effects));
        }
    }
}

pin_project! {
    /// The future of [`Limiter::acquire`].
    ///
    /// # Cancellation
    ///
    /// Dropping it gives its place in the queue up; nothing is spent. A grant that
    /// it had not yet seen is given back.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        place: Place,
        charge: Charge,
        terms: Terms,
        since: Option<Instant>,
        done: bool,
        // Set while this one keeps the time for all, and in no other.
        #[pin]
        timer: Option<Sleep>,
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("charge", &self.charge)
            .field("waiting", &self.place.key.is_some())
            .finish_non_exhaustive()
    }
}

impl Acquire {
    pub(crate) fn new(limiter: Limiter, charge: Charge, terms: Terms) -> Self {
        let place = Place { limiter, key: None };
        Self { place, charge, terms, since: None, done: false, timer: None }
    }

    /// To wait once more, from the time of its first arrival and until the deadline
    /// that it had.
    pub(crate) fn again(self: Pin<&mut Self>) {
        let this = self.project();
        *this.done = false;
        if let Some(since) = *this.since {
            this.terms.arrived = this.terms.arrived.or(Some(since));
            if this.terms.deadline.is_none() {
                this.terms.deadline = this.place.limiter.latest_after(since);
            }
        }
    }
}

impl Future for Acquire {
    type Output = Result<Ticket, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let place = this.place;
        assert!(!*this.done, "`Acquire` polled after completion");
        loop {
            let at = Instant::now();
            this.since.get_or_insert(at);
            let polled = place.limiter.with(at, |core, now, effects| {
                let key = match place.key {
                    Some(key) => key,
                    None => {
                        let claim = Claim::of(this.terms, core.epoch);
                        if let Some(grant) = core.try_admit(now, this.charge, claim) {
                            effects.leases |= core.leases_wanted();
                            return Polled::Granted(grant);
                        }
                        if this.terms.no_wait {
                            return Polled::Refused(core.refuse_now(now, this.charge, claim));
                        }
                        let deadline = this.terms.deadline.map(|at| core.epoch.nanos(at));
                        match core.enqueue(now, this.charge, claim, deadline, effects) {
                            Ok(key) => *place.key.insert(key),
                            Err(refusal) => return Polled::Refused(refusal),
                        }
                    }
                };
                core.poll(now, key, cx.waker(), effects)
            });
            match polled {
                Polled::Granted(grant) => {
                    (place.key, *this.done) = (None, true);
                    return Poll::Ready(Ok(Ticket::new(place.limiter.clone(), grant)));
                }
                Polled::Refused(refusal) => {
                    (place.key, *this.done) = (None, true);
                    return Poll::Ready(Err(*place.limiter.refused(&refusal, at)));
                }
                Polled::Parked => {
                    this.timer.set(None);
                    return Poll::Pending;
                }
                Polled::Sleep(until) => {
                    let until = place.limiter.instant(until);
                    match this.timer.as_mut().as_pin_mut() {
                        Some(timer) if timer.deadline() == until => {}
                        Some(timer) => timer.reset(until),
                        None => this.timer.set(Some(sleep_until(until))),
                    }
                    let timer = this.timer.as_mut().as_pin_mut();
                    ready!(timer.expect("set just above").poll(cx));
                }
            }
        }
    }
}
