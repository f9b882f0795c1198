use crate::PipelineId;

/// Why a store could not do what it was asked. Whatever it is, the transaction left nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// What the caller gave cannot be kept. All of it is listed.
    #[error("cannot be kept: {}", problems.join("; "))]
    Input {
        /// One sentence for each problem.
        problems: Vec<String>,
    },
    /// The store's name is none.
    #[error("{given:?} names no store: use sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Name {
        /// What was given, without a password.
        given: String,
    },
    /// There is no such pipeline.
    #[error("there is no pipeline {0} here")]
    NoPipeline(PipelineId),
    /// The pipeline has no such phase.
    #[error("pipeline {pipeline} has no phase {phase:?}")]
    NoPhase {
        /// The pipeline.
        pipeline: PipelineId,
        /// The phase.
        phase: String,
    },
    /// The pipeline has no such checkpoint: it was never made, or newer ones took its place.
    #[error("pipeline {pipeline} has no checkpoint {seq}")]
    NoCheckpoint {
        /// The pipeline.
        pipeline: PipelineId,
        /// The checkpoint's number.
        seq: u32,
    },
    /// The lease has run out and its items have gone to others, or all of them are settled.
    #[error("the lease is gone: its items are settled, or others have them")]
    LeaseLost,
    /// A checkpoint is not what was written.
    #[error(
        "checkpoint {seq} of pipeline {pipeline} is corrupt ({what}); \
         nothing was changed: resume from an earlier one or from a phase, or forget it"
    )]
    CorruptCheckpoint {
        /// The pipeline.
        pipeline: PipelineId,
        /// The checkpoint's number.
        seq: u32,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version of this crate has written the tables. They were not touched.
    #[error("the tables have version {found}, this program knows {known}: use a newer program")]
    Newer {
        /// What was found.
        found: i64,
        /// [`SCHEMA_VERSION`](crate::SCHEMA_VERSION).
        known: i64,
    },
    /// The file is no database, or it or the server's is broken.
    #[error("the store is damaged, or the file is not an SQLite database; it was left as it is")]
    Damaged(#[source] sqlx::Error),
    /// The file or the database may only be read.
    #[error("the store may only be read, and this needs to write")]
    ReadOnly(#[source] sqlx::Error),
    /// The disk is full, or what the database may use of it.
    #[error("the disk is full; nothing of the transaction was written")]
    Full(#[source] sqlx::Error),
    /// Somebody else holds the database for too long.
    #[error("the store is locked by somebody else, or too many wait for it; try again")]
    Busy(#[source] sqlx::Error),
    /// The file cannot be opened, or the server not be reached, or the connection broke. If it broke
    /// while committing, what was written may be there: an update that is repeated is then `stale`.
    #[error("the store cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// What the store holds cannot be understood.
    #[error("the store holds what cannot be read: {0}")]
    Content(String),
    /// A statement failed for another reason.
    #[error("the store failed")]
    Sql(#[source] sqlx::Error),
}

impl StateError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unreachable(_))
    }

    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        use sqlx::error::DatabaseError as _;
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return Self::Unreachable(error),
            sqlx::Error::PoolTimedOut => return Self::Busy(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                return Self::Content(error.to_string());
            }
            _ => {}
        }
        let Some(database) = error.as_database_error() else { return Self::Sql(error) };
        if let Some(sqlite) = database.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
            let code = sqlite.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
            // The low byte is the kind, what is above tells more.
            return match code & 0xff {
                5 | 6 => Self::Busy(error),
                8 => Self::ReadOnly(error),
                11 | 26 => Self::Damaged(error),
                13 => Self::Full(error),
                10 | 14 => Self::Unreachable(error),
                _ => Self::Sql(error),
            };
        }
        #[cfg(feature = "postgres")]
        if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            let code = database.code().unwrap_or_default();
            return match &*code {
                "25006" | "42501" => Self::ReadOnly(error),
                "53100" => Self::Full(error),
                // A lock or a statement took too long; a deadlock; too many connections.
                "55P03" | "57014" | "40P01" | "40001" | "53300" => Self::Busy(error),
                "XX001" | "XX002" => Self::Damaged(error),
                // The server goes, comes, or has ended a connection that stood still too long.
                "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Self::Unreachable(error),
                code if code.starts_with("08") => Self::Unreachable(error),
                _ => Self::Sql(error),
            };
        }
        Self::Sql(error)
    }
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        Self::from_sqlx(error)
    }
}
