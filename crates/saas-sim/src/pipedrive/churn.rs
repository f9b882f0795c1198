//! What changes in the account by itself: how much, how often, and what.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, parsed, text_of};
use super::data::{Entity, Table, table_of};

/// Changes that come by themselves, as if people worked with the account meanwhile.
///
/// Without ticks nothing changes; [`Churn::none`] is the default. What tick number n does depends
/// on the seed, on n and on the rows there are, so the same requests in the same order meet the
/// same changes. Amounts are per tick; of a fraction the seed decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    /// Seed of what changes. Default: 1.
    pub seed: u64,
    /// A tick after every so many requests that were answered from the data. Default: 0, none.
    pub every_requests: u64,
    /// A tick after every so many milliseconds of the account's clock. Default: 0, none.
    ///
    /// Of a long time without a request at most 10,000 ticks are made up for.
    pub every_ms: u64,
    /// Ticks after which nothing changes any more. Default: none.
    pub ticks: Option<u64>,
    /// New rows. Default: 0.
    pub creates: f64,
    /// Changed rows. Default: 0.
    pub updates: f64,
    /// Rows marked as deleted. Default: 0.
    pub deletes: f64,
    /// Rows that go without a trace, as what the API purges or hides from the token's user.
    /// Default: 0.
    pub removals: f64,
    /// Deals and leads that go into the archive, or come out of it. Default: 0.
    pub archives: f64,
    /// Pairs of deals, persons or organizations of which one is merged into the other: a deleted
    /// and a changed row. Default: 0.
    pub merges: f64,
    /// Share of the pages by offset, 0 to 1, after which the rows shift: one that was shown goes,
    /// or a hidden one before it comes back. Default: 0.
    pub shifts: f64,
    /// Seconds by which the update time of a change may lie in the past when it becomes visible.
    /// That it does with the real API is unconfirmed. Default: 0.
    pub late_s: u32,
    /// Whether each kind of rows changes as often as any other; else by the number of its rows.
    /// Default: false.
    pub even: bool,
    /// Names of the entities that change. Default: deals, persons, organizations, activities,
    /// products, notes, files, leads. Possible besides: pipelines, stages, users.
    pub entities: Vec<String>,
}

const USUAL: [Entity; 8] = [
    Entity::Deals,
    Entity::Persons,
    Entity::Organizations,
    Entity::Activities,
    Entity::Products,
    Entity::Notes,
    Entity::Files,
    Entity::Leads,
];

impl Default for Churn {
    fn default() -> Self {
        Self {
            seed: 1,
            every_requests: 0,
            every_ms: 0,
            ticks: None,
            creates: 0.0,
            updates: 0.0,
            deletes: 0.0,
            removals: 0.0,
            archives: 0.0,
            merges: 0.0,
            shifts: 0.0,
            late_s: 0,
            even: false,
            entities: USUAL.map(|entity| entity.name().to_owned()).to_vec(),
        }
    }
}

impl Churn {
    /// Nothing changes by itself.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything that can happen, all the time: several changes after each request, small kinds
    /// as often as large ones, every second page by offset followed by a shift, update times up
    /// to 2 s late.
    #[must_use]
    pub fn busy() -> Self {
        Self {
            every_requests: 1,
            creates: 0.5,
            updates: 2.0,
            deletes: 0.4,
            removals: 0.1,
            archives: 0.2,
            merges: 0.1,
            shifts: 0.5,
            late_s: 2,
            even: true,
            ..Self::default()
        }
    }

    /// Reads it from TOML; what is not named keeps its default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the text is not TOML, names something unknown, or cannot be meant.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        parsed::<Self>("churn", text)?.checked()
    }

    /// As [`from_toml`](Self::from_toml), from a file.
    ///
    /// # Errors
    ///
    /// The same, and if the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_toml(&text_of(path.as_ref())?)
    }

    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let mut wrong = Vec::new();
        self.check(&mut wrong);
        if wrong.is_empty() { Ok(self) } else { Err(ConfigError::all(wrong)) }
    }

    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        for (name, amount) in [
            ("creates", self.creates),
            ("updates", self.updates),
            ("deletes", self.deletes),
            ("removals", self.removals),
            ("archives", self.archives),
            ("merges", self.merges),
        ] {
            if !(0.0..=1e6).contains(&amount) {
                wrong.push(format!("churn.{name}: must lie between 0 and 1,000,000"));
            }
        }
        if !(0.0..=1.0).contains(&self.shifts) {
            wrong.push("churn.shifts: must lie between 0 and 1".to_owned());
        }
        for name in &self.entities {
            if Entity::by_name(name).and_then(table_of).is_none() {
                wrong.push(format!("churn.entities: {name} cannot change"));
            }
        }
    }

    /// The kinds of rows that change, each once.
    pub(super) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        for table in self.entities.iter().filter_map(|name| Entity::by_name(name)) {
            if let Some(table) = table_of(table).filter(|table| !tables.contains(table)) {
                tables.push(table);
            }
        }
        tables
    }
}
