use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use self::{
    table::{Entry, Found, Sweep, Table, name_turn},
    target::{Rules, Target, Turns},
};
use crate::{
    FailureKind, LoopHandle, NotRegistered, Operation, TargetChange, TargetState, TargetStatus,
    TooManyTargets, stop::stoppable,
};

mod beats;
mod config;
mod hash;
mod phi;
pub(crate) mod status;
mod table;
mod target;

pub use self::config::DetectorBuilder;

type Listener = Box<dyn Fn(&TargetChange) + Send + Sync>;

/// Tells which of many targets are alive and well: workers, nodes, zones.
///
/// A target is registered, beats, and tells of its operations, or those who use it do. Silence,
/// failures and latency make its [`TargetState`]. Clones are the same detector. See the
/// [crate page](crate#many-targets) for the states, and [`DetectorBuilder`] for the defaults.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::advance;
/// use tower_health::{FailureDetector, FailureKind, TargetState};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (failed, mut jobs_to_move) = tokio::sync::mpsc::unbounded_channel();
/// let detector = FailureDetector::builder("workers")
///     .heartbeat_interval(Duration::from_secs(30))
///     .misses(3)
///     .on_failure(move |change| drop(failed.send(change.target.clone())))
///     .build()?;
/// let (handle, watching) = detector.watch_over();
/// tokio::spawn(watching);
///
/// detector.register("worker-1", "10.0.0.1")?;
/// detector.register("worker-2", "10.0.0.2")?;
/// for _ in 0..4 {
///     detector.heartbeat("worker-1")?;
///     detector.record_success("worker-1", "job_execution", Duration::from_millis(1_500))?;
///     tokio::time::sleep(Duration::from_secs(30)).await;
/// }
/// // Nobody ever heard of the second.
/// assert_eq!(jobs_to_move.recv().await.as_deref(), Some("worker-2"));
/// assert_eq!(detector.healthy(), ["worker-1".into()]);
///
/// for _ in 0..3 {
///     let took = Duration::from_secs(5);
///     detector.record_failure("worker-1", "network_call", FailureKind::Timeout, took)?;
/// }
/// let status = detector.health("worker-1").ok_or("not registered")?;
/// assert_eq!((*status.info, status.state), ("10.0.0.1", TargetState::Unhealthy));
/// assert_eq!(status.reason.to_string(), "3 operations failed in a row");
/// handle.stop();
/// # Ok(())
/// # }
/// ```
pub struct FailureDetector<I = ()> {
    shared: Arc<Shared<I>>,
}

struct Shared<I> {
    name: Arc<str>,
    interval: Duration,
    forget_after: Option<Duration>,
    table: Mutex<Table<I>>,
    listeners: Vec<Listener>,
}

impl<I> FailureDetector<I> {
    /// Starts from the default configuration; the name appears in events.
    pub fn builder(name: impl Into<Arc<str>>) -> DetectorBuilder<I> {
        DetectorBuilder::new(name.into())
    }

    fn new(
        name: Arc<str>,
        rules: Rules,
        max_targets: usize,
        forget_after: Option<Duration>,
        listeners: Vec<Listener>,
    ) -> Self {
        let table = Mutex::new(Table::new(rules, max_targets));
        let interval = rules.interval;
        Self { shared: Arc::new(Shared { name, interval, forget_after, table, listeners }) }
    }

    /// The name given to the builder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Registers a target, with whatever is to be remembered of it. One that is registered
    /// already starts anew, as a worker does that came back; what it was registered with is returned.
    ///
    /// It is unknown until its first sign of life, and unhealthy if none comes.
    ///
    /// # Errors
    ///
    /// [`TooManyTargets`] if [`max_targets`](DetectorBuilder::max_targets) others are registered.
    pub fn register(
        &self,
        target: impl Into<Arc<str>>,
        info: I,
    ) -> Result<Option<Arc<I>>, TooManyTargets> {
        let (target, info) = (target.into(), Arc::new(info));
        // What is refused or replaced is dropped after the lock: it may be a user's.
        let inserted = self.shared.lock().insert(Instant::now(), target, info);
        match inserted {
            Ok(replaced) => Ok(replaced.map(Entry::into_info)),
            Err((_info, max_targets)) => Err(TooManyTargets { max_targets }),
        }
    }

    /// Forgets a target, and returns what it was registered with.
    pub fn deregister(&self, target: &str) -> Option<Arc<I>> {
        let removed = self.shared.lock().remove(target);
        removed.map(Entry::into_info)
    }

    /// A target beats. Returns its state after that.
    ///
    /// # Errors
    ///
    /// [`NotRegistered`] if it is not, as after a restart of this process: then it should register again.
    pub fn heartbeat(&self, target: &str) -> Result<TargetState, NotRegistered> {
        let now = Instant::now();
        self.update(target, |target, rules, turns| target.heartbeat(now, rules, turns))
    }

    /// A target did what it was asked; that is a sign of life too. `operation` says what, for
    /// the status. Returns its state after that.
    ///
    /// # Errors
    ///
    /// [`NotRegistered`] if it is not.
    pub fn record_success(
        &self,
        target: &str,
        operation: &'static str,
        took: Duration,
    ) -> Result<TargetState, NotRegistered> {
        let done = Operation { name: operation, failed: None, took, at: Instant::now() };
        self.update(target, |target, rules, turns| target.success(done, rules, turns))
    }

    /// A target did not do what it was asked; that is no sign of life, since a time-out may come
    /// from a dead one. Returns its state after that.
    ///
    /// # Errors
    ///
    /// [`NotRegistered`] if it is not.
    pub fn record_failure(
        &self,
        target: &str,
        operation: &'static str,
        kind: FailureKind,
        took: Duration,
    ) -> Result<TargetState, NotRegistered> {
        let failed = Operation { name: operation, failed: Some(kind), took, at: Instant::now() };
        self.update(target, |target, rules, turns| target.failure(failed, kind, rules, turns))
    }

    fn update(
        &self,
        name: &str,
        change: impl FnOnce(&mut Target, &Rules, &mut Turns),
    ) -> Result<TargetState, NotRegistered> {
        let mut turns = Turns::new();
        let (state, named) = {
            let mut table = self.shared.lock();
            let (target, rules, name) = table.get(name).ok_or(NotRegistered(()))?;
            change(target, rules, &mut turns);
            let state = target.state;
            if turns.is_empty() {
                return Ok(state);
            }
            (state, Arc::clone(name))
        };
        turns.into_iter().for_each(|turn| self.shared.tell(&name_turn(&named, turn)));
        Ok(state)
    }

    /// All that is known of a target now. `None` if it is not registered.
    #[must_use]
    pub fn health(&self, target: &str) -> Option<TargetStatus<I>> {
        let now = Instant::now();
        self.update(target, |target, _, turns| target.settle(now, turns)).ok()?;
        self.shared.lock().status(target, now)
    }

    /// The names of all healthy targets, in no order.
    #[must_use]
    pub fn healthy(&self) -> Vec<Arc<str>> {
        let mut healthy = Vec::new();
        self.look(|entry, _, _| {
            if entry.state().is_healthy() {
                healthy.push(Arc::clone(entry.name()));
            }
        });
        healthy
    }

    /// All that is known of all targets now, in no order.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus<I>> {
        let mut all = Vec::new();
        self.look(|entry, rules, now| all.push(entry.status(rules, now)));
        all
    }

    /// How many targets are in each state, in the order of [`TargetState::ALL`].
    #[must_use]
    pub fn counts(&self) -> [usize; TargetState::ALL.len()] {
        let mut counts = [0; TargetState::ALL.len()];
        self.look(|entry, _, _| counts[entry.state() as usize] += 1);
        counts
    }

    /// How many targets are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Whether no target is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds out now who has been silent for too long, and tells the listeners. To have that
    /// done in time, spawn [`watch_over`](Self::watch_over).
    pub fn check(&self) {
        self.look(|_, _, _| {});
    }

    /// A loop that finds in time who has been silent for too long: within a hundredth of the
    /// heartbeat interval (at least a millisecond) of the deadline. Spawn the future; it stops
    /// when the handle is dropped.
    ///
    /// Without it, silence is found when somebody asks: [`health`](Self::health),
    /// [`healthy`](Self::healthy), [`check`](Self::check).
    pub fn watch_over(&self) -> (LoopHandle, impl Future<Output = ()> + Send + 'static + use<I>)
    where
        I: Send + Sync + 'static,
    {
        let detector = self.clone();
        let interval = self.shared.interval;
        let least = (interval / 100).max(Duration::from_millis(1));
        stoppable(async move {
            loop {
                let due = detector.look(|_, _, _| {});
                let now = Instant::now();
                // Nobody who registers meanwhile is due before an interval has passed.
                let next = due.unwrap_or(now + interval).clamp(now + least, now + interval);
                sleep_until(next).await;
            }
        })
    }

    /// Settles all targets and shows each, some at a time. Returns when one is due next.
    fn look(&self, mut look: impl FnMut(&mut Entry<I>, &Rules, Instant)) -> Option<Instant> {
        let now = Instant::now();
        let mut sweep = Sweep::default();
        while !sweep.done {
            let mut found = Found::new();
            let forget_after = self.shared.forget_after;
            self.shared.lock().sweep(&mut sweep, now, forget_after, &mut found, &mut look);
            found.changes.iter().for_each(|change| self.shared.tell(change));
            for entry in found.forgotten {
                tracing::info!(
                    name: "detector.forgotten",
                    target: "tower_health",
                    detector = &*self.shared.name, target_name = &**entry.name(),
                    "target was unhealthy for too long and is forgotten"
                );
            }
        }
        sweep.due
    }
}

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, Table<I>> {
        // No user code runs under the lock, so a poisoned table is still whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn tell(&self, change: &TargetChange) {
        let TargetChange { target, number, from, to, reason, .. } = change;
        let (detector, target, from) = (&*self.name, &**target, from.as_str());
        if matches!(to, TargetState::Unhealthy | TargetState::Degraded) {
            tracing::warn!(
                name: "detector.changed",
                target: "tower_health",
                detector, target_name = target, number, from, to = to.as_str(), reason = %reason,
                "target got worse"
            );
        } else {
            tracing::info!(
                name: "detector.changed",
                target: "tower_health",
                detector, target_name = target, number, from, to = to.as_str(), reason = %reason,
                "target changed"
            );
        }
        self.listeners.iter().for_each(|listener| listener(change));
    }
}

impl<I> Clone for FailureDetector<I> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<I> fmt::Debug for FailureDetector<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureDetector")
            .field("name", &self.name())
            .field("targets", &self.len())
            .finish_non_exhaustive()
    }
}
