//! What layers, permits and registries ask of a circuit.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, PoisonError},
};

use tokio::{sync::watch, time::Instant};

use super::{Audience, CLEAN, Circuit, FLAGS, Listener, PASSES, word};
use crate::{
    Open, Permit, State, Throttled, Transition, Verdict,
    breaker::{Breaker, Moment, Pass, Stamp},
    place::Place,
    sync::{MutexGuard, Ordering},
    waiters::Waiters,
};

impl Circuit {
    /// Whether a call would be let through; if not, when that may change, if it is known.
    pub(crate) fn glance(&self) -> Result<(), Option<Instant>> {
        if self.shared.word.load(Ordering::Acquire) & PASSES == PASSES {
            return Ok(());
        }
        self.update(Breaker::glance)
    }

    /// As `glance`, and takes a trial place if half-open.
    pub(crate) fn reserve(&self) -> Result<Option<Place>, Option<Instant>> {
        if self.shared.word.load(Ordering::Acquire) & PASSES == PASSES {
            return Ok(None);
        }
        let pass = self.update(Breaker::reserve)?;
        Ok(pass.map(|pass| Place::new(self.clone(), pass)))
    }

    /// As [`admit`](Self::admit), with the refusal in the box in which it leaves a service.
    pub(crate) fn enter(&self) -> Result<Permit, Box<Open>> {
        let shared = &*self.shared;
        let word = shared.word.load(Ordering::Acquire);
        if word & PASSES == PASSES {
            // The line that all calls write is asked for once: the clock comes after it, and
            // when the answer is there before it.
            let (circuit, timed, measures) = (self.clone(), shared.times, shared.measures);
            let rules = &*shared.settings.rules;
            let began = measures.then(|| Stamp::new(rules.epoch, Instant::now()));
            let pass = Pass { generation: word >> FLAGS, trial: None, began, timed };
            return Ok(Permit::new(circuit, pass));
        }
        self.permit(Breaker::admit)
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.audience().waiters
    }

    pub(super) fn audience(&self) -> &Audience {
        self.shared.audience.get().map(Box::as_ref).unwrap_or_else(|| self.make_audience())
    }

    #[cold]
    fn make_audience(&self) -> &Audience {
        // Under the lock, so that no change falls between the look and the making.
        let breaker = self.lock();
        let make = || {
            Box::new(Audience {
                newest: watch::Sender::new(breaker.last()),
                waiters: Waiters::default(),
            })
        };
        self.shared.audience.get_or_init(make)
    }

    pub(super) fn stamp(&self, now: Instant) -> Stamp {
        Stamp::new(self.shared.settings.rules.epoch, now)
    }

    /// Turns a reserved place into leave to make the call.
    pub(crate) fn send(&self, pass: Pass) -> Result<Permit, Box<Open>> {
        self.permit(|breaker, at| breaker.send(pass, at))
    }

    /// Asks the breaker for leave.
    pub(super) fn permit(
        &self,
        ask: impl FnOnce(&mut Breaker, Moment) -> Result<Pass, Open>,
    ) -> Result<Permit, Box<Open>> {
        match self.update(ask) {
            Ok(pass) => Ok(Permit::new(self.clone(), pass)),
            Err(open) => {
                let open = Box::new(open);
                self.tell_refused(&open);
                Err(open)
            }
        }
    }

    pub(crate) fn cancelled(&self) -> Verdict {
        self.shared.settings.rules.cancelled
    }

    pub(crate) fn record(&self, pass: Pass, verdict: Verdict) {
        match verdict {
            Verdict::Ignore if pass.trial.is_none() => {}
            Verdict::Throttled if pass.trial.is_none() && !self.counts_throttled() => {}
            Verdict::Success if self.is_counted_as_fine(pass) => {}
            Verdict::Success if pass.trial.is_none() && !self.shared.keeps_window => {
                // The usual success ends no streak, and asks for no lock.
                if self.shared.word.load(Ordering::Acquire) & CLEAN == 0 {
                    let mut breaker = self.lock();
                    breaker.end_streak(pass);
                    self.shared.word.store(word(&breaker), Ordering::Release);
                }
            }
            verdict => {
                self.update(|breaker, at| breaker.record(pass, verdict, at));
                if matches!(verdict, Verdict::Failure | Verdict::Down(_)) {
                    self.ask_peers(pass);
                }
            }
        }
    }

    /// Counts a success without the lock, if it can change nothing but the number of calls in the window.
    #[inline]
    fn is_counted_as_fine(&self, pass: Pass) -> bool {
        if pass.trial.is_some() {
            return false;
        }
        let now = pass.timed.then(Instant::now);
        let shared = &*self.shared;
        let Some((era, until)) = shared.fine.era() else { return false };
        if pass.generation != shared.word.load(Ordering::Acquire) >> FLAGS {
            return false;
        }
        if let Some(now) = now {
            let now = self.stamp(now);
            if now.as_word() >= until || shared.settings.rules.is_slow(pass.took(now)) {
                return false;
            }
        }
        shared.fine.count(era)
    }

    fn counts_throttled(&self) -> bool {
        self.shared.settings.rules.throttled == Throttled::RatioOnly && self.shared.keeps_window
    }

    /// After a failure that did not open the circuit: do the peers see it, too?
    fn ask_peers(&self, pass: Pass) {
        let Some(quorum) = &self.shared.settings.quorum else { return };
        let word = self.shared.word.load(Ordering::Acquire);
        if word & PASSES == 0 || word >> FLAGS != pass.generation {
            return;
        }
        let view = self.guarded(|| quorum.peers.view(self.name())).unwrap_or_default();
        if quorum.is_reached(view) {
            self.update(|breaker, at| breaker.outvote(pass, view, at));
        }
    }

    /// Runs code of the user's; its panic is logged and goes no further.
    fn guarded<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let result = panic::catch_unwind(AssertUnwindSafe(act));
        if result.is_err() {
            tracing::error!(
                name: "circuit.callback_panicked",
                target: "tower_circuit",
                circuit = &*self.shared.name,
                "a listener or a view of the peers panicked"
            );
        }
        result.ok()
    }

    /// Whether a registry must not forget it when it is idle.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.lock().holds(now, self.shared.settings.enabled)
    }

    /// Whether somebody has it in hand beside the one who asks.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    pub(super) fn tell_refused(&self, open: &Open) {
        tracing::debug!(
            name: "circuit.refused",
            target: "tower_circuit",
            circuit = %self.shared.name,
            state = open.state.as_str(),
            reason = %open.reason(),
            "call refused"
        );
    }

    /// The only way to change the breaker: what `change` did is told outside the lock.
    #[inline]
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Breaker, Moment) -> T) -> T {
        let at = Moment { now: Instant::now(), random: fastrand::f64 };
        let mut breaker = self.lock();
        if self.shared.keeps_window {
            breaker.add_fine(self.shared.fine.shut());
        }
        // Computed and not read: a read here would hide the other reads from the model checker.
        let before = word(&breaker);
        let result = change(&mut breaker, at);
        let (after, freed) = (word(&breaker), breaker.take_freed());
        if after != before {
            self.shared.word.store(after, Ordering::Release);
        }
        if let Some(until) = breaker.leaves_fine_ones_alone() {
            self.shared.fine.open(until);
        }
        if after == before && !freed {
            return result;
        }
        let changed = after >> FLAGS != before >> FLAGS;
        let newest = changed.then(|| breaker.last());
        drop(breaker);
        if changed || freed {
            if let Some(audience) = self.shared.audience.get() {
                audience.waiters.wake();
            }
        }
        if let Some(newest) = newest {
            self.publish(newest);
        }
        result
    }

    #[cold]
    pub(super) fn publish(&self, transition: Transition) {
        let circuit = &*self.shared.name;
        let Transition { number, from, to, mode, reason, until, .. } = &transition;
        let mode = mode.as_str();
        let (from, open_for) =
            (from.as_str(), until.map(|until| until.duration_since(transition.at)));
        match to {
            State::Open => tracing::warn!(
                name: "circuit.transition",
                target: "tower_circuit",
                circuit, number, from, to = to.as_str(), mode, reason = %reason, open_for = ?open_for,
                "circuit opened"
            ),
            State::HalfOpen | State::Closed => tracing::info!(
                name: "circuit.transition",
                target: "tower_circuit",
                circuit, number, from, to = to.as_str(), mode, reason = %reason,
                "circuit changed its state"
            ),
        }
        for Listener(listener) in &self.shared.settings.listeners {
            self.guarded(|| listener(self, &transition));
        }
        if let Some(quorum) = &self.shared.settings.quorum {
            self.guarded(|| quorum.tell(circuit, &transition));
        }
        let Some(audience) = self.shared.audience.get() else { return };
        // Two threads may come here in the wrong order.
        audience.newest.send_if_modified(|seen| {
            let newer = transition.number > seen.number;
            if newer {
                *seen = transition;
            }
            newer
        });
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Breaker> {
        // No user code runs under the lock, so a poisoned breaker is still whole.
        self.shared.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
