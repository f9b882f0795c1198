use std::{
    borrow::Cow,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    CircuitBuilder, Mode, Open, Permit, State, Status, Transition, Verdict,
    breaker::{Breaker, Moment, Pass, Refusal},
    rules::Rules,
};

/// A circuit: the state that gates and guards share, and the handle to see and steer it.
///
/// Clones are the same circuit.
///
/// Time alone opens the way from open to half-open, but nobody watches the clock:
/// the change is made, and [`watch`](Self::watch) told, by the next call,
/// [`state`](Self::state) or [`status`](Self::status).
#[derive(Clone)]
pub struct Circuit {
    shared: Arc<Shared>,
}

/// What the builder has checked. Circuits that were built alike share it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) rules: Arc<Rules>,
    pub(crate) base: Mode,
    pub(crate) enabled: bool,
    pub(crate) listeners: Vec<Listener>,
}

type Hear = dyn Fn(&Circuit, &Transition) + Send + Sync;

/// Is told of each transition.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<Hear>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

struct Shared {
    /// The generation, shifted by two; in the lowest bit whether all calls go
    /// through, in the next whether no call has failed since the last success.
    /// Written under the lock, read without it: whoever reads an old value came,
    /// for all that anybody can tell, just before the change.
    word: AtomicU64,
    keeps_window: bool,
    measures: bool,
    breaker: Mutex<Breaker>,
    settings: Arc<Settings>,
    name: Arc<str>,
    /// Made when somebody watches.
    newest: OnceLock<watch::Sender<Transition>>,
}

const PASSES: u64 = 1;
const CLEAN: u64 = 2;
const FLAGS: u32 = 2;

fn word(breaker: &Breaker) -> u64 {
    let passes = if breaker.state() == State::Closed { PASSES } else { 0 };
    let clean = if breaker.streak() == 0 { CLEAN } else { 0 };
    breaker.generation() << FLAGS | clean | passes
}

impl Circuit {
    /// Starts from the default configuration; the name appears in errors and events.
    pub fn builder(name: impl Into<Arc<str>>) -> CircuitBuilder {
        CircuitBuilder::new(name.into())
    }

    pub(crate) fn new(name: Arc<str>, settings: Arc<Settings>) -> Self {
        let now = Instant::now();
        let mut breaker = Breaker::new(Arc::clone(&settings.rules), settings.base, now);
        if !settings.enabled {
            breaker.disable(now);
        }
        let shared = Shared {
            word: AtomicU64::new(word(&breaker)),
            keeps_window: settings.rules.keeps_window(),
            measures: settings.rules.slow.is_some(),
            breaker: Mutex::new(breaker),
            settings,
            name,
            newest: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The name given to the builder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where the circuit stands now.
    #[must_use]
    pub fn state(&self) -> State {
        self.update(|breaker, at| {
            breaker.tick(at);
            breaker.state()
        })
    }

    /// A consistent picture of the circuit now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.update(|breaker, at| {
            breaker.tick(at);
            let (trials_running, trial_successes) = breaker.trials();
            let figures = breaker.figures(at.now);
            Status {
                name: Arc::clone(&self.shared.name),
                state: breaker.state(),
                mode: breaker.mode(),
                consecutive_failures: figures.consecutive_failures,
                window: figures.window,
                openings: figures.openings,
                trials_running,
                trial_successes,
                refused: figures.refused,
                let_pass: figures.let_pass,
                transitions: breaker.generation(),
                last: breaker.last(),
            }
        })
    }

    /// Watches the changes of state. The receiver starts with the newest one seen;
    /// it may miss one that is quickly followed by another, as the numbers show.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Transition> {
        // Under the lock, so that no change falls between the look and the making.
        let breaker = self.lock();
        let make = || watch::Sender::new(breaker.last());
        self.shared.newest.get_or_init(make).subscribe()
    }

    /// Asks for leave to make one call, outside of any service.
    ///
    /// # Errors
    ///
    /// [`Open`] if the circuit is open, or half-open with all trial places taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_circuit::{Circuit, State, Verdict};
    ///
    /// let circuit = Circuit::builder("disk").consecutive(1).build()?;
    /// circuit.admit()?.record(Verdict::Failure);
    /// assert_eq!(circuit.state(), State::Open);
    /// assert!(circuit.admit().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn admit(&self) -> Result<Permit, Open> {
        let word = self.shared.word.load(Ordering::Acquire);
        let pass = if word & PASSES == PASSES {
            let began = self.shared.measures.then(Instant::now);
            Pass { generation: word >> FLAGS, trial: None, began }
        } else {
            self.update(|breaker, at| breaker.admit(at).map_err(|refusal| (refusal, at.now)))
                .map_err(|(refusal, now)| self.refused(refusal, now))?
        };
        Ok(Permit::new(self.clone(), pass))
    }

    /// Says whether a call would be let through now, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Open`] if it would be refused. It is counted as a refusal.
    pub fn look(&self) -> Result<(), Open> {
        if self.shared.word.load(Ordering::Acquire) & PASSES == PASSES {
            return Ok(());
        }
        self.update(|breaker, at| breaker.look(at).map_err(|refusal| (refusal, at.now)))
            .map_err(|(refusal, now)| self.refused(refusal, now))
    }

    /// Opens the circuit until an instant that somebody else named, as a response may do.
    /// Then trials begin.
    ///
    /// Never shortens: nothing happens if the circuit is open for longer already,
    /// or if the instant has passed. Nothing happens either while the circuit
    /// is [forced closed](Self::force_closed) or [disabled](Self::disable).
    pub fn open_until(&self, until: Instant, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.update(|breaker, at| breaker.open_until(at.now, until, reason));
    }

    /// Opens the circuit by hand, for so long, after which trials begin; or, with
    /// `None`, until [`reset`](Self::reset) or [`force_closed`](Self::force_closed).
    pub fn force_open(&self, time: Option<Duration>) {
        self.update(|breaker, at| breaker.force_open(at.now, time));
    }

    /// Closes the circuit by hand and keeps it closed, whatever happens, until
    /// [`reset`](Self::reset) or [`force_open`](Self::force_open). Outcomes are counted all the same.
    pub fn force_closed(&self) {
        self.update(|breaker, at| breaker.force_closed(at.now));
    }

    /// Switches the circuit off until [`reset`](Self::reset): all calls go through and nothing is counted.
    pub fn disable(&self) {
        self.update(|breaker, at| breaker.disable(at.now));
    }

    /// Closes the circuit with a clean slate, and leaves the rest to the outcomes of the calls.
    pub fn reset(&self) {
        self.update(|breaker, at| breaker.reset(at.now));
    }

    /// Looks on only from now on, or enforces again; see [`CircuitBuilder::observe_only`]. Either way
    /// the circuit starts over as after a [reset](Self::reset), unless it did so already.
    pub fn observe_only(&self, observe_only: bool) {
        let base = if observe_only { Mode::Observing } else { Mode::Automatic };
        self.update(|breaker, at| breaker.rebase(at.now, base));
    }

    pub(crate) fn cancelled(&self) -> Verdict {
        self.shared.settings.rules.cancelled
    }

    pub(crate) fn record(&self, pass: Pass, verdict: Verdict) {
        match verdict {
            Verdict::Ignore if pass.trial.is_none() => {}
            Verdict::Success if pass.trial.is_none() && !self.shared.keeps_window => {
                // The usual success ends no streak, and asks for no lock.
                if self.shared.word.load(Ordering::Acquire) & CLEAN == 0 {
                    let mut breaker = self.lock();
                    breaker.end_streak(pass);
                    self.shared.word.store(word(&breaker), Ordering::Release);
                }
            }
            verdict => self.update(|breaker, at| breaker.record(pass, verdict, at)),
        }
    }

    /// Whether a registry must not forget it when it is idle.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.lock().holds(now, self.shared.settings.enabled)
    }

    /// Whether somebody has it in hand beside the one who asks.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    #[cold]
    fn refused(&self, refusal: Refusal, now: Instant) -> Open {
        let Refusal { state, reason, retry_at } = refusal;
        tracing::debug!(
            name: "circuit.refused",
            target: "tower_circuit",
            circuit = %self.shared.name,
            state = state.as_str(),
            reason = %reason,
            "call refused"
        );
        Open { name: Arc::clone(&self.shared.name), state, reason, refused_at: now, retry_at }
    }

    /// The only way to change the breaker: what `change` did is told outside the lock.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Breaker, Moment) -> T) -> T {
        let at = Moment { now: Instant::now(), random: fastrand::f64 };
        let mut breaker = self.lock();
        let before = word(&breaker);
        let result = change(&mut breaker, at);
        let after = word(&breaker);
        if after == before {
            return result;
        }
        self.shared.word.store(after, Ordering::Release);
        if after >> FLAGS == before >> FLAGS {
            return result;
        }
        let newest = breaker.last();
        drop(breaker);
        self.publish(newest);
        result
    }

    #[cold]
    fn publish(&self, transition: Transition) {
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
            let heard = panic::catch_unwind(AssertUnwindSafe(|| listener(self, &transition)));
            if heard.is_err() {
                tracing::error!(
                    name: "circuit.listener_panicked",
                    target: "tower_circuit",
                    circuit, number,
                    "a listener panicked"
                );
            }
        }
        let Some(newest) = self.shared.newest.get() else { return };
        // Two threads may come here in the wrong order.
        newest.send_if_modified(|seen| {
            let newer = transition.number > seen.number;
            if newer {
                *seen = transition;
            }
            newer
        });
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // No user code runs under the lock, so a poisoned breaker is still whole.
        self.shared.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, mode) = {
            let breaker = self.lock();
            (breaker.state(), breaker.mode())
        };
        f.debug_struct("Circuit")
            .field("name", &self.name())
            .field("state", &state)
            .field("mode", &mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_published_late_does_not_hide_a_newer_one() {
        let circuit = Circuit::builder("test").build().unwrap();
        let older = circuit.status().last;
        let newer = Transition { number: 2, to: State::Open, ..older.clone() };
        let watch = circuit.watch();
        circuit.publish(newer.clone());
        circuit.publish(Transition { number: 1, ..older });
        assert_eq!(*watch.borrow(), newer);
    }
}
