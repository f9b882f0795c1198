//! What a sync is asked to do, as a value that can be kept and sent.

use std::time::Duration;

use jiff::SignedDuration;
use pipedrive_service::{Config, Entity, Priority};
use serde::{Deserialize, Serialize};

use super::{
    Settings,
    plan::{ByRecents, Wanted, entities},
};
use crate::exit::{Code, Failure};

/// What a sync is asked to do: the options of `pipedrive sync`, which are also written down with each run.
///
/// ```
/// use pipedrive_sync::engine::{SyncOptions, plan::Wanted};
///
/// let options: SyncOptions = serde_json::from_str(r#"{"entities":["deals"],"mode":"full"}"#)?;
/// let same = SyncOptions { entities: vec!["deals".into()], mode: Wanted::Full, ..SyncOptions::default() };
/// assert_eq!(options, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncOptions {
    /// Names of entities. Default: none, which means all that the configuration enables.
    pub entities: Vec<String>,
    /// All, or what has changed. Default: [`Wanted::Auto`].
    pub mode: Wanted,
    /// Begins every walk anew although it is known where it stopped. Default: no.
    ///
    /// Rows are overwritten by what the API shows with it and without, but for one that is newer in the database (a deal
    /// that two lists show).
    pub force: bool,
    /// Rows after which each entity stops, without being complete. Default: none.
    pub limit: Option<u64>,
    /// Whether to begin what one day's budget cannot finish. Default: no.
    pub across_days: bool,
    /// Whether to wait for the next day when the day's budget is spent; then days may be crossed. Default: no.
    pub wait: bool,
    /// By how much an incremental walk reaches back behind what it has seen, in seconds. Default: 60.
    pub overlap_s: u32,
    /// Tokens that are leased at a time. Default: one hundredth of the day's limit, at least 100.
    pub lease: Option<u64>,
    /// How urgent the requests are, 0 to 10. Default: 2.
    pub priority: u8,
    /// How old the last reading of a whole list may be before an incremental sync reads it whole again, to find what
    /// was deleted silently; if the day has the tokens for it. None: never. Default: 7 days.
    pub sweep_every: Option<SignedDuration>,
    /// The kinds whose lists are not read while recents show no change of them: users, activity types, filters, pipelines,
    /// stages, files. Default: all of these.
    pub by_recents: ByRecents,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            entities: Vec::new(),
            mode: Wanted::Auto,
            force: false,
            limit: None,
            across_days: false,
            wait: false,
            overlap_s: 60,
            lease: None,
            priority: 2,
            sweep_every: Some(SignedDuration::from_hours(7 * 24)),
            by_recents: ByRecents::default(),
        }
    }
}

impl SyncOptions {
    /// The entities that the names stand for, in the best order for reading.
    ///
    /// # Errors
    ///
    /// The sentence that says which name is unknown.
    pub fn entities(&self, config: &Config) -> Result<Vec<Entity>, Failure> {
        entities_of(&self.entities, config)
    }

    /// How to go about it, with what the configuration says.
    #[must_use]
    pub fn settings(&self, config: &Config) -> Settings {
        let patience: Duration = Settings::default().patience;
        Settings {
            limit: self.limit,
            across_days: self.across_days || self.wait,
            overlap: SignedDuration::from_secs(self.overlap_s.into()),
            lease_chunk: self.lease,
            page: config.memory_management.max_batch_size,
            priority: Priority::new(self.priority),
            // A day that is spread evenly makes calls wait for longer than a busy window does.
            patience: patience.max(2 * config.rate_limiting.queue_timeout),
            force: self.force,
            sweep_every: self.sweep_every,
            by_recents: self.by_recents.clone(),
            ..Settings::default()
        }
    }

    /// The same for going on with it: what was begun anew is not begun anew again.
    #[must_use]
    pub fn resumed(mut self) -> Self {
        self.force = false;
        self
    }
}

/// The entities that were named, else those that the configuration enables.
pub(crate) fn entities_of(names: &[String], config: &Config) -> Result<Vec<Entity>, Failure> {
    if names.is_empty() {
        return Ok(config.enabled_entities.clone());
    }
    entities(names).map_err(|line| Failure::new(Code::Usage, line))
}
