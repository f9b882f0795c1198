use std::time::Duration;

use crate::{Action, Memory};

/// What a [`PageController`](crate::PageController) knows, all of one moment.
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
    /// How often the allocator was purged.
    pub purges: u64,
    /// Bytes that purging returned, as far as known.
    pub purged_bytes: u64,
    /// Whether there is something to purge the allocator with.
    pub can_purge: bool,
    /// The most that was seen in use, in bytes.
    pub peak: u64,
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

/// Tells that what memory asks for has changed.
pub(crate) fn report(action: Action, before: Action, memory: Option<Memory>, size: u32) {
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
