//! A row as it was at one moment, to be written later.

use super::base::{Base, Meta};
use super::entity::Table;
use super::store::{Found, Row};

/// A row that no longer changes, whatever happens to the account.
#[derive(Clone, Debug)]
pub(crate) enum Still {
    Base(Meta),
    Changed(Box<Row>),
}

impl Still {
    pub(crate) fn of(found: &Found<'_>) -> Self {
        match found {
            Found::Base(meta) => Self::Base(*meta),
            Found::Changed(row) => Self::Changed(Box::new((*row).clone())),
        }
    }

    /// Writes the row as its list endpoint shows it.
    pub(crate) fn write(&self, base: &Base, table: Table, out: &mut Vec<u8>) {
        match self {
            Self::Base(meta) => super::shape::write(base, table, meta, out),
            Self::Changed(row) => super::canonical::object(&row.json, out),
        }
    }
}
