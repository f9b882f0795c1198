//! What can be wrong with a database.

use std::{io, path::PathBuf};

/// Why a database could not be opened, read or written. `Display` is one line with a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text given as a database names no file.
    #[error("{given:?} is not a database: give a path, or sqlite: followed by a path")]
    Name {
        /// The text.
        given: String,
    },
    /// The file cannot be created, read or written.
    #[error("the database {} cannot be {doing}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was tried: `created`, `opened`, `locked`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not there.
    #[error("there is no database {}: run `pipedrive sync` first", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by another program; it was not touched.
    #[error("{} is {what}, not a database of this program; it was left as it is", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file was made by a newer version of this program; it was not touched.
    #[error("{} has schema {found}, made by a newer pipedrive; this one knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// Another sync holds the database.
    #[error("another sync{} is using {}: wait for it, or give another --database", holder(*pid), path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The other process, if it wrote its number.
        pid: Option<u32>,
    },
    /// The database holds another company's data; it was not touched.
    #[error("{} holds company {held}, but the token belongs to company {given}: give another --database", path.display())]
    OtherCompany {
        /// The file.
        path: PathBuf,
        /// Company in the database.
        held: String,
        /// Company of the token.
        given: String,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// What the database holds cannot be understood.
    #[error("the database holds {what} that cannot be read: {detail}")]
    Content {
        /// What.
        what: &'static str,
        /// Why.
        detail: String,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
