use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Action, Memory, MemoryError, MemoryProbe, Monitor, PageControllerBuilder, PageStatus, Room,
    advice::ENOUGH, controller::Controller, status::report,
};

/// What is known of a page that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSample {
    /// How many rows were asked for.
    pub asked: u32,
    /// How many came, if known.
    pub rows: Option<u32>,
    /// The size of the answer in bytes, if known.
    pub bytes: Option<u64>,
    /// From the request to the answer; it is held against the time that a page may take.
    pub took: Duration,
}

/// Says how many rows to ask for at a time.
///
/// A handle: clones share one state. Memory is read by whoever asks next once
/// the sampling interval has passed, so an idle controller costs nothing.
#[derive(Clone)]
pub struct PageController {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    given: Given,
}

/// What a controller was built with, besides the settings of the decision.
pub(crate) struct Given {
    pub(crate) probe: Arc<dyn MemoryProbe>,
    pub(crate) sample_every: Duration,
    pub(crate) max_pause: Duration,
    pub(crate) purge: Option<Purge>,
    pub(crate) purge_every: Duration,
}

/// Gives memory that the allocator holds and does not need back to the system, and says how many
/// bytes that were, if it knows.
pub(crate) type Purge = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

struct State {
    core: Controller,
    /// When memory is to be read again; `None` before the first reading.
    next_sample: Option<Instant>,
    /// When the allocator may be purged again; `None` before the first time.
    next_purge: Option<Instant>,
    took: Duration,
    /// The peaks of the operations that are watched.
    watches: Vec<Arc<AtomicU64>>,
    /// Whether it was said that the limit is small.
    warned: bool,
}

impl PageController {
    /// Starts from the default configuration.
    pub const fn builder() -> PageControllerBuilder {
        PageControllerBuilder::new()
    }

    pub(crate) fn new(core: Controller, given: Given) -> Self {
        let state = Mutex::new(State {
            core,
            next_sample: None,
            next_purge: None,
            took: Duration::ZERO,
            watches: Vec::new(),
            warned: false,
        });
        Self { shared: Arc::new(Shared { state, given }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock, so a poisoned state is still whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads memory if that is due. The lock is not held while the probe works.
    fn refresh(&self, now: Instant) {
        {
            let mut state = self.lock();
            if state.next_sample.is_some_and(|next| now < next) {
                return;
            }
            // Taken before the reading, so that one caller reads and not all.
            state.next_sample = Some(now + self.shared.given.sample_every);
        }
        let given = &self.shared.given;
        let memory = given.probe.sample();
        let (before, after, size, purge) = {
            let mut state = self.lock();
            let (before, after) = state.core.sense(memory, now);
            state.note_peak(memory);
            let due = state.next_purge.is_none_or(|next| now >= next);
            let purge = given.purge.as_ref().filter(|_| after > Action::Go && due);
            if purge.is_some() {
                state.next_purge = Some(now + given.purge_every);
            }
            (before, after, state.core.size(), purge)
        };
        if before != after {
            report(after, before, memory, size);
        }
        if let Some(purge) = purge {
            self.purge(memory, &**purge);
        }
    }

    /// Purges the allocator, and looks what that was of use.
    fn purge(&self, before: Option<Memory>, purge: &(dyn Fn() -> Option<u64> + Send + Sync)) {
        let said = purge();
        let memory = self.shared.given.probe.sample();
        let (used_before, used) = (before.map_or(0, |it| it.used), memory.map_or(0, |it| it.used));
        let fell = memory.map_or(0, |_| used_before.saturating_sub(used));
        let returned = said.unwrap_or(fell);
        self.lock().core.purged(returned, memory);
        let limit = memory.map_or(0, |it| it.limit);
        tracing::info!(target: "tower_adaptive_page::memory", returned, used, limit, "memory_purged");
    }

    /// How many rows to ask for now.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.refresh(Instant::now());
        self.lock().core.size()
    }

    /// What memory asks for now.
    #[must_use]
    pub fn action(&self) -> Action {
        self.refresh(Instant::now());
        self.lock().core.action
    }

    /// The size, or the figures that forbid asking now.
    pub(crate) fn admit(&self, now: Instant) -> Result<u32, Memory> {
        self.refresh(now);
        let state = self.lock();
        match (state.core.action, state.core.memory) {
            (Action::Pause, Some(memory)) => Err(memory),
            _ => Ok(state.core.size()),
        }
    }

    /// Waits until there is memory for a page, for as long as the configuration
    /// allows, and says how many rows to ask for.
    ///
    /// # Errors
    ///
    /// The future ends in [`MemoryError`] if memory stays above the pause
    /// threshold for too long.
    pub fn room(&self) -> Room {
        Room::new(self.clone())
    }

    /// Learns from a page that came. The layer and the walkers do so by
    /// themselves.
    pub fn observe(&self, sample: PageSample) {
        let now = Instant::now();
        {
            let mut state = self.lock();
            state.took = state.took.saturating_add(sample.took);
            state.core.observe(sample, now);
        }
        // With a page in hand memory is at its fullest.
        self.refresh(now);
    }

    /// Watches memory during an operation: how much was in use at its start, at most and at its
    /// end, what pages it took, and what would make the next one better. The event
    /// `memory_operation` tells it at the end. If there is less than 1 GiB, too little to copy
    /// large accounts at full speed, the first operation sends the event `memory_small`.
    ///
    /// ```
    /// use tower_adaptive_page::{Advice, Memory, PageController};
    ///
    /// let probe = || Some(Memory { used: 90 << 20, limit: 256 << 20 });
    /// let pages = PageController::builder().probe(probe).build()?;
    /// let operation = pages.monitor("full copy");
    /// // .. walk, with this controller in the layer or the walk ..
    /// let report = operation.finish();
    /// assert_eq!((report.operation.as_ref(), report.peak), ("full copy", 90 << 20));
    /// assert_eq!(report.advice, [Advice::SmallLimit { limit: 256 << 20 }]);
    /// # Ok::<(), tower_adaptive_page::ConfigError>(())
    /// ```
    pub fn monitor(&self, operation: impl Into<Cow<'static, str>>) -> Monitor {
        Monitor::new(self.clone(), operation.into())
    }

    /// The current figures go into the peak of a new watch. The second says whether the limit is
    /// small and that was not said yet.
    pub(crate) fn watch(&self) -> (Arc<AtomicU64>, bool) {
        self.refresh(Instant::now());
        let mut state = self.lock();
        let memory = state.core.memory;
        let peak = Arc::new(AtomicU64::new(memory.map_or(0, |memory| memory.used)));
        state.watches.push(Arc::clone(&peak));
        let small = memory.is_some_and(|memory| memory.limit < ENOUGH);
        let say = small && !state.warned;
        state.warned |= small;
        (peak, say)
    }

    pub(crate) fn unwatch(&self, peak: &Arc<AtomicU64>) {
        self.refresh(Instant::now());
        self.lock().watches.retain(|watch| !Arc::ptr_eq(watch, peak));
    }

    /// Says that the answer to a request for `asked` rows was too large to be
    /// held. The next pages are at most half of that.
    pub fn too_large(&self, asked: u32) {
        self.lock().core.too_large(asked, Instant::now());
    }

    /// Says how many rows the server gives at most, when that is learnt only from its answers. A
    /// page that has not shrunk becomes that large at once; the upper bound holds all the same, and
    /// the smallest page is no larger than that.
    pub fn set_server_max(&self, rows: u32) {
        self.lock().core.server_max(rows);
    }

    /// All that is known, of one moment. Reads no memory.
    #[must_use]
    pub fn status(&self) -> PageStatus {
        let state = self.lock();
        let (core, counts) = (&state.core, state.core.counts.clone());
        PageStatus {
            size: core.size(),
            min: core.settings.min,
            max: core.settings.max,
            shrink_above: core.settings.shrink,
            alert_above: core.settings.alert,
            pause_above: core.settings.pause,
            memory: core.memory,
            action: core.action,
            samples: counts.samples,
            blind_samples: counts.blind,
            shrinks: counts.shrinks,
            grows: counts.grows,
            alerts: counts.alerts,
            pauses: counts.pauses,
            purges: counts.purges,
            purged_bytes: counts.purged_bytes,
            can_purge: self.shared.given.purge.is_some(),
            peak: counts.peak,
            too_large: counts.too_large,
            pages: counts.pages,
            rows: counts.rows,
            bytes: counts.bytes,
            took: state.took,
            bytes_per_row: core.bytes_per_row as u64,
            surcharge: core.settings.price.surcharge(core.size(), core.settings.max),
            time_bound: core.pace.rows(),
            slow_pages: counts.slow,
            smallest_used: counts.smallest,
            largest_used: counts.largest,
            sizes_used: counts.sizes,
            other_sizes: counts.other_sizes,
        }
    }

    pub(crate) fn sample_every(&self) -> Duration {
        self.shared.given.sample_every
    }

    pub(crate) fn min(&self) -> u32 {
        self.lock().core.settings.min
    }

    pub(crate) fn max_pause(&self) -> Duration {
        self.shared.given.max_pause
    }

    pub(crate) fn refusal(&self, memory: Memory, waited: Duration) -> MemoryError {
        let pause_above = self.lock().core.settings.pause;
        MemoryError { memory, pause_above, waited }
    }
}

impl State {
    fn note_peak(&mut self, memory: Option<Memory>) {
        let Some(Memory { used, .. }) = memory else { return };
        for watch in &self.watches {
            watch.fetch_max(used, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for PageController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("PageController")
            .field("size", &state.core.size())
            .field("action", &state.core.action)
            .field("memory", &state.core.memory)
            .finish_non_exhaustive()
    }
}
