use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Action, Memory, MemoryError, MemoryProbe, PageControllerBuilder, Room, controller::Controller,
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
    probe: Arc<dyn MemoryProbe>,
    sample_every: Duration,
    max_pause: Duration,
}

struct State {
    core: Controller,
    /// When memory is to be read again; `None` before the first reading.
    next_sample: Option<Instant>,
    took: Duration,
}

/// What a [`PageController`] knows, all of one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PageStatus {
    /// Rows to ask for now.
    pub size: u32,
    /// The smallest page, in rows.
    pub min: u32,
    /// The largest page: the smaller of the upper bound and the server's maximum.
    pub max: u32,
    /// Above which percentage pages shrink.
    pub shrink_above: u8,
    /// Above which percentage an alert is raised.
    pub alert_above: u8,
    /// Above which percentage no page is asked for.
    pub pause_above: u8,
    /// The last figures; `None` before the first reading or if it failed.
    pub memory: Option<Memory>,
    /// What those figures ask for.
    pub action: Action,
    /// Readings of memory that gave figures.
    pub samples: u64,
    /// Readings that gave none.
    pub blind_samples: u64,
    /// How often the page became smaller.
    pub shrinks: u64,
    /// How often the page became larger.
    pub grows: u64,
    /// How often the alert threshold was passed upwards.
    pub alerts: u64,
    /// How often the pause threshold was passed upwards.
    pub pauses: u64,
    /// How often an answer was too large to be held.
    pub too_large: u64,
    /// Pages that came.
    pub pages: u64,
    /// Rows in them, as far as known.
    pub rows: u64,
    /// Bytes in them, as far as known.
    pub bytes: u64,
    /// Time that asking for them took, summed over pages.
    pub took: Duration,
    /// Bytes of a row, weighted towards the heavy and the recent; 0 if unknown.
    pub bytes_per_row: u64,
    /// How much dearer a row is now than on the largest page, in percent.
    pub surcharge: u32,
    /// The largest page that time allows, in rows.
    pub time_bound: u32,
    /// How often a page took longer than it may, so that the next were smaller.
    pub slow_pages: u64,
    /// The smallest page that was asked for.
    pub smallest_used: Option<u32>,
    /// The largest page that was asked for.
    pub largest_used: Option<u32>,
    /// How many pages of which size came, ascending; the first 64 sizes seen.
    pub sizes_used: Vec<(u32, u64)>,
    /// Pages of sizes beyond those 64.
    pub other_sizes: u64,
}

impl PageController {
    /// Starts from the default configuration.
    pub const fn builder() -> PageControllerBuilder {
        PageControllerBuilder::new()
    }

    pub(crate) fn new(
        core: Controller,
        probe: Arc<dyn MemoryProbe>,
        sample_every: Duration,
        max_pause: Duration,
    ) -> Self {
        let state = Mutex::new(State { core, next_sample: None, took: Duration::ZERO });
        Self { shared: Arc::new(Shared { state, probe, sample_every, max_pause }) }
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
            state.next_sample = Some(now + self.shared.sample_every);
        }
        let memory = self.shared.probe.sample();
        let (before, after, size) = {
            let mut state = self.lock();
            let (before, after) = state.core.sense(memory, now);
            (before, after, state.core.size())
        };
        if before != after {
            report(after, before, memory, size);
        }
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
        let mut state = self.lock();
        state.took = state.took.saturating_add(sample.took);
        state.core.observe(sample, Instant::now());
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
        self.shared.sample_every
    }

    pub(crate) fn max_pause(&self) -> Duration {
        self.shared.max_pause
    }

    pub(crate) fn refusal(&self, memory: Memory, waited: Duration) -> MemoryError {
        let pause_above = self.lock().core.settings.pause;
        MemoryError { memory, pause_above, waited }
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

fn report(action: Action, before: Action, memory: Option<Memory>, size: u32) {
    let used = memory.map_or(0, |memory| memory.used);
    let limit = memory.map_or(0, |memory| memory.limit);
    match action {
        Action::Go => {
            tracing::info!(target: "tower_adaptive_page::memory", used, limit, size, ?before, "memory_ok");
        }
        Action::Shrink => {
            tracing::info!(target: "tower_adaptive_page::memory", used, limit, size, ?before, "memory_high");
        }
        Action::Alert => {
            tracing::warn!(target: "tower_adaptive_page::memory", used, limit, size, ?before, "memory_alert");
        }
        Action::Pause => {
            tracing::warn!(target: "tower_adaptive_page::memory", used, limit, size, ?before, "memory_pause");
        }
    }
}
