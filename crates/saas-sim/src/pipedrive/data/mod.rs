//! The simulated company's data: made from a seed, changed by requests.

mod base;
mod canonical;
mod custom;
mod entity;
mod fields;
mod fixed;
mod history;
mod json;
mod options;
mod shape;
mod still;
mod store;
mod uuid;
mod words;
mod write;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde_json::Value;

pub use self::entity::{Entity, Sizes};
pub use self::options::{AccountOptions, LastPage, Recents, RecentsDeleted, RecentsTooOld};
pub use self::write::Unknown;
pub use super::routes::Reply;
pub(crate) use super::routes::{OffsetPage, Rest};

pub(crate) use self::base::{Base, Meta, Status};
pub(crate) use self::canonical::{object, value};
pub(crate) use self::entity::Table;
pub(crate) use self::fields::{FieldKind, Fields};
pub(crate) use self::fixed::Fixed;
pub(crate) use self::history::Shown;
pub(crate) use self::json::{moment_text, string};
pub(crate) use self::still::Still;
pub(crate) use self::store::{Found, Json, Key, Order, View};
pub(crate) use self::write::seconds;

/// The moment up to which a new account has changed: 2026-03-01T00:00:00Z.
pub const EPOCH: i64 = 1_772_323_200;

/// How long a deleted row can still be asked for, in seconds: 30 days.
pub(crate) const PURGE: i64 = 30 * 86_400;

/// One company's data.
///
/// Rows are made from the seed when they are asked for; only changed rows are kept. All methods
/// take `&self`: readers run side by side, a writer alone.
#[derive(Debug)]
pub struct Account {
    pub(crate) base: Base,
    pub(crate) options: AccountOptions,
    pub(crate) fields: Fields,
    pub(crate) fixed: Fixed,
    state: RwLock<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    changes: [store::Changes; Table::COUNT],
}

impl Account {
    /// An account of that size; the same seed and size make the same account.
    #[must_use]
    pub fn new(seed: u64, sizes: Sizes) -> Self {
        Self::with_options(seed, sizes, AccountOptions::default())
    }

    /// As [`new`](Self::new), with options.
    #[must_use]
    pub fn with_options(seed: u64, sizes: Sizes, options: AccountOptions) -> Self {
        let mut base = Base::new(seed, sizes, options.epoch);
        base.row_bytes = options.row_bytes;
        let changes = Table::ALL.map(|table| store::Changes::new(&base, table));
        let fields = Fields::new(&base);
        let fixed = Fixed::new(&base);
        Self { base, options, fields, fixed, state: RwLock::new(State { revision: 0, changes }) }
    }

    pub(crate) fn read(&self) -> Reader<'_> {
        Reader {
            base: &self.base,
            state: self.state.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Adds a row with these properties of its list shape; gives its id.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if rows of this kind cannot be made.
    pub fn create(&self, entity: Entity, row: &Value, now: Timestamp) -> Result<String, Unknown> {
        let table = table_of(entity).ok_or(Unknown)?;
        let json =
            self.insert(table, row.as_object().cloned().unwrap_or_default(), now.as_second());
        Ok(match &json["id"] {
            Value::String(id) => id.clone(),
            id => id.to_string(),
        })
    }

    /// Sets properties of a row, in the names of its list shape. Anything goes: nothing is
    /// checked. The update time becomes `now` unless it is among them. Activity types and filters can be
    /// changed and deleted too, although no request does so.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if there is no such row.
    pub fn update(
        &self,
        entity: Entity,
        id: &str,
        changes: &Value,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        let Some(table) = table_of(entity) else {
            let done = self.fixed.change(entity, id, Some(changes), now.as_second());
            return done.then_some(()).ok_or(Unknown);
        };
        let id = self.base.id_of(table, id).ok_or(Unknown)?;
        let changes = changes.as_object().cloned().unwrap_or_default();
        self.change(table, id, changes, now.as_second()).map(drop).ok_or(Unknown)
    }

    /// Marks a row as deleted.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if there is no such row, or it is deleted already.
    pub fn delete(&self, entity: Entity, id: &str, now: Timestamp) -> Result<(), Unknown> {
        let Some(table) = table_of(entity) else {
            let done = self.fixed.change(entity, id, None, now.as_second());
            return done.then_some(()).ok_or(Unknown);
        };
        let id = self.base.id_of(table, id).ok_or(Unknown)?;
        if self.remove(table, id, now.as_second()) { Ok(()) } else { Err(Unknown) }
    }

    /// Takes a row away without a trace, as the API does with what it purges or what the token's
    /// user may no longer see: no list and no `recents` tells of it.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if there is no such row.
    pub fn vanish(&self, entity: Entity, id: &str) -> Result<(), Unknown> {
        let table = table_of(entity).ok_or(Unknown)?;
        let id = self.base.id_of(table, id).ok_or(Unknown)?;
        if self.erase(table, id) { Ok(()) } else { Err(Unknown) }
    }

    /// The row as its list endpoint shows it, deleted ones too.
    #[must_use]
    pub fn row(&self, entity: Entity, id: &str) -> Option<Value> {
        let table = table_of(entity)?;
        let reader = self.read();
        let view = reader.view(table);
        let found = view.get(self.base.id_of(table, id)?)?;
        Some(Value::Object(view.json(&found)))
    }
}

/// The state, held for reading.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    base: &'a Base,
    state: RwLockReadGuard<'a, State>,
}

impl Reader<'_> {
    pub(crate) fn revision(&self) -> u64 {
        self.state.revision
    }

    pub(crate) fn view(&self, table: Table) -> View<'_> {
        View { base: self.base, table, changes: &self.state.changes[table as usize] }
    }

    /// What a row is called, if there is one.
    pub(crate) fn name(&self, table: Table, id: u64) -> Option<String> {
        match self.view(table).get(id)? {
            Found::Base(_) => Some(shape::name(self.base, table, id)),
            Found::Changed(row) => ["name", "title", "subject", "content"]
                .iter()
                .find_map(|key| row.json.get(*key)?.as_str())
                .map(str::to_owned),
        }
    }
}

pub(crate) fn table_of(entity: Entity) -> Option<Table> {
    match entity {
        Entity::Deals | Entity::ArchivedDeals => Some(Table::Deals),
        other => Table::by_path(other.name()),
    }
}
