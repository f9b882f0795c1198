//! What can be wrong with a database.

use std::io;

use super::Database;

/// Why a database could not be opened, read or written. `Display` is one line with a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text given as a database names none.
    #[error(
        "{given:?} is not a database: give a path, sqlite: followed by a path, or postgres://user:password@host/database"
    )]
    Name {
        /// The text, without what may be a password.
        given: String,
    },
    /// The text given as a schema cannot name one.
    #[error(
        "{given:?} cannot name a schema: give small letters, digits and _, at most 63, no digit first"
    )]
    Schema {
        /// The text.
        given: String,
    },
    /// The file cannot be created, read or written.
    #[error("the database {database} cannot be {doing}: {source}")]
    Unusable {
        /// The file.
        database: Database,
        /// What was tried: `created`, `opened`, `locked`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server cannot be reached; another time it may.
    #[error("the database {database} cannot be reached: {source}")]
    Unreachable {
        /// The database.
        database: Database,
        /// What happened.
        source: sqlx::Error,
    },
    /// The server can be reached and does not let us do what must be done.
    #[error("the database {database} cannot be used: {source}")]
    Refused {
        /// The database.
        database: Database,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The database is not there.
    #[error("there is no database {database}: run `pipedrive sync` first")]
    Missing {
        /// The database.
        database: Database,
    },
    /// The database was made by another program; it was not touched.
    #[error("{database} is {what}, not a database of this program; it was left as it is")]
    Foreign {
        /// The database.
        database: Database,
        /// What it is.
        what: &'static str,
    },
    /// The database was made by a newer version of this program; it was not touched.
    #[error(
        "{database} has schema {found}, made by a newer pipedrive; this one knows up to {known}"
    )]
    Newer {
        /// The database.
        database: Database,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// Another sync holds the database.
    #[error("another sync{} is using {database}: wait for it, or give another --database", holder(*pid))]
    Locked {
        /// The database.
        database: Database,
        /// The other process, if it told its number.
        pid: Option<u32>,
    },
    /// The database holds another company's data; it was not touched.
    #[error(
        "{database} holds company {held}, but the token belongs to company {given}: give another --database"
    )]
    OtherCompany {
        /// The database.
        database: Database,
        /// Company in the database.
        held: String,
        /// Company of the token.
        given: String,
    },
    /// The connection broke while work was under way.
    #[error(
        "the connection to the database was lost; what was committed stays, and the same command goes on from there: {0}"
    )]
    Lost(#[source] sqlx::Error),
    /// While the connection was lost, somebody else has written the database, or the server that answers now has not seen
    /// what was committed last.
    #[error(
        "{database} is not as it was left when the connection to it was lost; run the same command again, it goes on from what is there"
    )]
    Overtaken {
        /// The database.
        database: Database,
    },
    /// The file was deleted, moved or replaced while it was written.
    #[error(
        "the database {database} was deleted, moved or replaced while it was open ({what}); nothing more is written: put it back, or run the same command again, which begins with what is there"
    )]
    Moved {
        /// The file.
        database: Database,
        /// What is there now.
        what: String,
    },
    /// The disk is full. What was not committed is undone.
    #[error(
        "there is no room for the database; what was committed stays, make room and go on: {0}"
    )]
    Full(#[source] sqlx::Error),
    /// The database may be read only.
    #[error("the database cannot be written: {0}")]
    ReadOnly(#[source] sqlx::Error),
    /// Somebody else kept the database locked for too long.
    #[error("the database is locked by somebody else; try again when they are done: {0}")]
    Busy(#[source] sqlx::Error),
    /// The file is damaged.
    #[error("the database is damaged; restore it, or copy the account into a new one: {0}")]
    Damaged(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(#[source] sqlx::Error),
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

impl StoreError {
    /// Of what happens before there is anything to lose.
    pub(super) fn from_server(source: sqlx::Error, database: &Database) -> Self {
        let database = database.clone();
        match Self::from(source) {
            Self::Lost(source) => Self::Unreachable { database, source },
            Self::ReadOnly(source) | Self::Sql(source) => Self::Refused { database, source },
            other => other,
        }
    }

    /// Whether another time may heal it.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Lost(_)
                | Self::Overtaken { .. }
                | Self::Busy(_)
                | Self::Locked { .. }
        )
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => return Self::Lost(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                return Self::Content { what: "a value", detail: error.to_string() };
            }
            _ => {}
        }
        let Some(database) = error.as_database_error() else { return Self::Sql(error) };
        let code = database.code().unwrap_or_default().into_owned();
        if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            // The low byte is the kind, what is above tells more.
            return match code.parse::<i32>().unwrap_or(0) & 0xff {
                5 | 6 => Self::Busy(error),
                8 | 14 => Self::ReadOnly(error),
                11 | 26 => Self::Damaged(error),
                13 => Self::Full(error),
                _ => Self::Sql(error),
            };
        }
        match code.as_str() {
            "25006" | "42501" => Self::ReadOnly(error),
            "53100" => Self::Full(error),
            // A lock or a statement took too long; a deadlock; too many connections.
            "55P03" | "57014" | "40P01" | "40001" | "53300" => Self::Busy(error),
            "XX001" | "XX002" => Self::Damaged(error),
            // The server goes, comes, or has ended a connection that stood still too long.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Self::Lost(error),
            code if code.starts_with("08") => Self::Lost(error),
            _ => Self::Sql(error),
        }
    }
}
