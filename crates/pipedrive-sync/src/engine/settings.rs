//! How a sync goes about its work.

use std::time::Duration;

use jiff::SignedDuration;
use pipedrive_service::Priority;

use super::plan::ByRecents;

/// How a sync goes about its work. Every field has a default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Walks under way at once. Default: 32, which is all of them.
    pub concurrency: usize,
    /// Pages that a walk asks for ahead of the writer. Default: 2.
    pub prefetch: usize,
    /// Pages of a walk under way at once, where it is known where they are: in lists by offsets, as far as they went the
    /// last time, while pages are as large as they can be. Default: 4.
    pub at_once: usize,
    /// Rows after which each entity stops, without being complete. Default: none.
    pub limit: Option<u64>,
    /// How often a page that failed finally is asked again. Default: 8.
    pub rounds: u32,
    /// The pause before the first time; each further one is twice as long. Default: 1 s.
    pub first_pause: Duration,
    /// The longest pause. Default: 60 s.
    pub longest_pause: Duration,
    /// How long a walk waits in all for a page, whatever refuses it. Default: 10 minutes.
    pub patience: Duration,
    /// Tokens that are leased at a time. Default: one hundredth of the day's limit, at least 100.
    pub lease_chunk: Option<u64>,
    /// By how much an incremental walk reaches back behind what it has seen. Default: 60 s.
    pub overlap: SignedDuration,
    /// Whether to begin what one day's budget cannot finish. Default: no.
    pub across_days: bool,
    /// Whether to begin every walk anew although it is known where it stopped. Default: no.
    pub force: bool,
    /// How old the last reading of a whole list may be; see [`SyncOptions::sweep_every`](super::SyncOptions::sweep_every).
    /// Default: 7 days.
    pub sweep_every: Option<SignedDuration>,
    /// The kinds whose lists are not read while recents show no change of them. Default: all that can be named.
    pub by_recents: ByRecents,
    /// The largest page, for the plan. Default: 500.
    pub page: u32,
    /// How urgent the requests are. Default: [`Priority::LOW`], so that calls for which somebody waits go first.
    pub priority: Priority,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 32,
            prefetch: 2,
            at_once: 4,
            limit: None,
            rounds: 8,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            patience: Duration::from_secs(600),
            lease_chunk: None,
            overlap: SignedDuration::from_secs(60),
            across_days: false,
            force: false,
            sweep_every: Some(SignedDuration::from_hours(7 * 24)),
            by_recents: ByRecents::default(),
            page: 500,
            priority: Priority::LOW,
        }
    }
}

impl Settings {
    pub(super) fn pause(&self, round: u32) -> Duration {
        let factor = 1_u32.checked_shl(round.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_pause.saturating_mul(factor).min(self.longest_pause)
    }
}
