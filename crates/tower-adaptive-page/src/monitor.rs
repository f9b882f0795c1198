use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{Advice, Memory, PageController, PageStatus};

/// Watches memory during an operation; see [`PageController::monitor`].
///
/// Dropping it ends the operation as [`finish`](Self::finish) does, but for the report.
#[must_use = "it watches until it is finished or dropped"]
pub struct Monitor {
    controller: PageController,
    operation: Cow<'static, str>,
    since: Instant,
    start: PageStatus,
    peak: Arc<AtomicU64>,
    told: bool,
}

/// What an operation did to memory.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemoryReport {
    /// Its name.
    pub operation: Cow<'static, str>,
    /// How long it took.
    pub took: Duration,
    /// The figures at its start.
    pub start: Option<Memory>,
    /// The figures at its end.
    pub end: Option<Memory>,
    /// The most that was seen in use meanwhile, in bytes; 0 if memory could not be read.
    pub peak: u64,
    /// Pages that came meanwhile, whoever asked for them.
    pub pages: u64,
    /// Rows in them, as far as known.
    pub rows: u64,
    /// Bytes in them, as far as known.
    pub bytes: u64,
    /// How often pages became smaller.
    pub shrinks: u64,
    /// How often calls had to begin to wait.
    pub pauses: u64,
    /// Bytes that purging the allocator returned.
    pub purged_bytes: u64,
    /// What would make it better, of all that the controller has seen.
    pub advice: Vec<Advice>,
}

impl Monitor {
    pub(crate) fn new(controller: PageController, operation: Cow<'static, str>) -> Self {
        let (peak, small) = controller.watch();
        let start = controller.status();
        if small {
            let limit = start.memory.map_or(0, |memory| memory.limit);
            tracing::warn!(
                target: "tower_adaptive_page::memory",
                %operation,
                limit,
                "memory_small"
            );
        }
        Self { controller, operation, since: Instant::now(), start, peak, told: false }
    }

    /// The most that was seen in use since the start, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Ends the operation and says what it did.
    #[must_use = "to end it without a report, drop it"]
    pub fn finish(mut self) -> MemoryReport {
        self.tell()
    }

    fn tell(&mut self) -> MemoryReport {
        self.told = true;
        self.controller.unwatch(&self.peak);
        let (start, end) = (&self.start, self.controller.status());
        let report = MemoryReport {
            operation: self.operation.clone(),
            took: Instant::now() - self.since,
            start: start.memory,
            end: end.memory,
            peak: self.peak(),
            pages: end.pages - start.pages,
            rows: end.rows - start.rows,
            bytes: end.bytes - start.bytes,
            shrinks: end.shrinks - start.shrinks,
            pauses: end.pauses - start.pauses,
            purged_bytes: end.purged_bytes - start.purged_bytes,
            advice: end.advice(),
        };
        let MemoryReport { operation, took, peak, pages, rows, bytes, .. } = &report;
        let took_ms = took.as_millis() as u64;
        tracing::info!(
            target: "tower_adaptive_page::memory",
            %operation,
            took_ms,
            peak,
            pages,
            rows,
            bytes,
            "memory_operation"
        );
        report
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if !self.told {
            let _ = self.tell();
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("operation", &self.operation)
            .field("since", &self.since)
            .field("peak", &self.peak())
            .finish_non_exhaustive()
    }
}
