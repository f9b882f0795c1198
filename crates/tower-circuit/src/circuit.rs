mod inside;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    CircuitBuilder, Mode, Open, Permit, State, Status, Transition,
    breaker::Breaker,
    fine::Fine,
    peers::Quorum,
    rules::Rules,
    sync::{AtomicU64, Mutex, Ordering},
    waiters::Waiters,
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
    pub(crate) quorum: Option<Quorum>,
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

/// In this order, so that what each call reads lies well behind the counts of the `Arc`, which
/// each call writes: in another cache line.
#[repr(C)]
struct Shared {
    breaker: Mutex<Breaker>,
    /// The generation, shifted by two; in the lowest bit whether all calls go
    /// through, in the next whether no call has failed since the last success.
    /// Written under the lock, read without it: whoever reads an old value came,
    /// for all that anybody can tell, just before the change.
    word: AtomicU64,
    fine: Fine,
    keeps_window: bool,
    measures: bool,
    times: bool,
    settings: Arc<Settings>,
    name: Arc<str>,
    /// Made when somebody watches or waits.
    audience: OnceLock<Box<Audience>>,
}

struct Audience {
    newest: watch::Sender<Transition>,
    waiters: Waiters,
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
        let mut breaker =
            Breaker::new(Arc::clone(&name), Arc::clone(&settings.rules), settings.base, now);
        if !settings.enabled {
            breaker.disable(now);
        }
        let shared = Shared {
            word: AtomicU64::new(word(&breaker)),
            keeps_window: settings.rules.keeps_window(),
            fine: Fine::new(),
            measures: settings.rules.slow.is_some(),
            times: settings.rules.times_ends(),
            breaker: Mutex::new(breaker),
            settings,
            name,
            audience: OnceLock::new(),
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
        self.audience().newest.subscribe()
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
        self.enter().map_err(|open| *open)
    }

    /// As [`admit`](Self::admit), for a call that is to find out whether the service is back: an open circuit
    /// becomes half-open at once, however much of the open time is left, and the call is its trial. For an active health
    /// check, whose calls are few. Success and failure lead on as those of any trial.
    ///
    /// # Errors
    ///
    /// [`Open`] if an operator holds the circuit open, or all trial places are taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_circuit::{Circuit, State, Verdict};
    ///
    /// let circuit = Circuit::builder("api").consecutive(1).build()?;
    /// circuit.admit()?.record(Verdict::Failure);
    /// circuit.probe()?.record(Verdict::Success);
    /// assert_eq!(circuit.state(), State::Closed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn probe(&self) -> Result<Permit, Open> {
        self.permit(Breaker::probe).map_err(|open| *open)
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
        self.update(Breaker::look).inspect_err(|open| self.tell_refused(open))
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
