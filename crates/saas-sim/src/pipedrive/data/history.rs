//! Which rows were shown when: what a walk between two moments must have seen.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::entity::{Entity, Table};
use super::{Account, Order, table_of};

/// Which list shows a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Plain,
    Archived,
    Nowhere,
}

impl Shown {
    pub(crate) fn by(table: Table, deleted: bool, archived: bool) -> Self {
        match (deleted, archived) {
            // The list of users shows the inactive ones too.
            (true, _) if table != Table::Users => Self::Nowhere,
            (_, true) => Self::Archived,
            _ => Self::Plain,
        }
    }

    pub(crate) fn plain(self) -> bool {
        self == Self::Plain
    }

    pub(crate) fn on(self, entity: Entity) -> bool {
        match entity {
            Entity::ArchivedDeals => self == Self::Archived,
            _ => self == Self::Plain,
        }
    }
}

/// One change of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) id: u64,
    pub(crate) was: Shown,
    pub(crate) is: Shown,
}

impl Account {
    /// How many changes there have been: the present moment in the history of the rows.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.read().revision()
    }

    /// Names of the rows that the entity's list showed at every moment from one revision to
    /// another. A walk that began and ended between these must have seen each of them.
    ///
    /// In the order of their ids. Lists that never change show all of their rows throughout; they,
    /// and definitions of fields, are left out here.
    #[must_use]
    pub fn throughout(&self, entity: Entity, from: u64, to: u64) -> Vec<String> {
        let Some(table) = table_of(entity) else { return Vec::new() };
        let reader = self.read();
        let view = reader.view(table);
        let mut shown = BTreeSet::new();
        view.walk(Order::Id, false, None, |_, found| {
            let meta = found.meta();
            if Shown::by(table, meta.deleted, meta.archived).on(entity) {
                shown.insert(meta.id);
            }
            ControlFlow::Continue(())
        });
        // Back in time to the end of the interval, and then through it.
        for event in view.changes.history.iter().rev().take_while(|event| event.revision > from) {
            if event.revision > to {
                if event.was.on(entity) {
                    shown.insert(event.id);
                } else {
                    shown.remove(&event.id);
                }
            } else if !event.was.on(entity) || !event.is.on(entity) {
                shown.remove(&event.id);
            }
        }
        shown.into_iter().map(|id| self.base.id_text(table, id)).collect()
    }

    /// Names of the rows that changed, came or went after one revision and up to another, each
    /// once, in the order of their ids.
    #[must_use]
    pub fn changed(&self, entity: Entity, from: u64, to: u64) -> Vec<String> {
        let Some(table) = table_of(entity) else { return Vec::new() };
        let reader = self.read();
        let history = &reader.view(table).changes.history;
        let within = history.iter().filter(|event| {
            (from + 1..=to).contains(&event.revision)
                && (event.was.on(entity) || event.is.on(entity))
        });
        let ids: BTreeSet<u64> = within.map(|event| event.id).collect();
        ids.into_iter().map(|id| self.base.id_text(table, id)).collect()
    }
}
