//! The database: one SQLite file that holds the rows, where each walk stands, and what was spent.
//!
//! One connection writes. It runs in WAL mode with `synchronous = FULL`: each commit is on the disk
//! before it returns. That is what makes a lease durable. Measured on a shared virtual disk, it makes a
//! commit 1 to 4 ms longer than `NORMAL` does, which is an eighth of what a page of rows takes to write
//! anyway or less; an API token allows at most 60 requests a second, and pages that wait share a commit.
//! So rows get the same promise, and there is one connection to reason about and not two.

mod circuits;
mod error;
mod failures;
mod file;
mod gone;
mod health;
mod lease;
mod quarantine;
mod read;
mod runs;
pub mod schema;
mod state;
mod write;

pub use self::{
    circuits::reset_circuits,
    error::StoreError,
    failures::FailureRow,
    file::Database,
    health::HealthRow,
    lease::{BudgetRow, note_spent},
    quarantine::{FailedWalk, QuarantineRow, Quarantined, RAW_KEPT, RejectWrite},
    read::{Counts, Reader, RunRow},
    runs::RunRecord,
    state::{Mode, WalkState},
    write::{Finish, Id, PageWrite, RowWrite, Settled},
};

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use self::file::{Draft, Found, RunLock};

/// The one writer of a database, which holds its lock.
#[derive(Debug)]
pub struct Store {
    conn: SqliteConnection,
    database: Database,
    _lock: RunLock,
}

impl Store {
    /// Takes the lock, makes the file if there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another sync runs, [`StoreError::Foreign`] or
    /// [`StoreError::Newer`] if the file is not ours to write, [`StoreError::Unusable`] if it cannot be
    /// written. A file that is refused is not touched, and a new one is there whole or not at all.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        file::look(database)?;
        let lock = RunLock::take(database)?;
        // Again, now that nobody else can be making it.
        let version = match file::look(database)? {
            Found::Ours { version } => version,
            Found::Nothing => {
                create(database, &lock).await?;
                schema::VERSION
            }
        };
        let mut conn = options(database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await?;
        migrate(&mut conn, version).await?;
        Ok(Self { conn, database: database.clone(), _lock: lock })
    }

    /// The file.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Writes what is in the write-ahead log into the file itself and lets go of the lock.
    ///
    /// # Errors
    ///
    /// If the database cannot be closed; what was committed is safe all the same.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.conn.close().await?)
    }
}

fn options(database: &Database) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database.path())
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
}

/// Whether there is such a table. A file of an older version that only readers have seen since lacks the newer ones.
async fn has_table(conn: &mut SqliteConnection, name: &str) -> Result<bool, StoreError> {
    let there = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)",
    );
    Ok(there.bind(name).fetch_one(conn).await?)
}

async fn create(database: &Database, lock: &RunLock) -> Result<(), StoreError> {
    let draft = Draft::new(database, lock)?;
    let mut conn = SqliteConnectOptions::new()
        .filename(draft.path())
        .disable_statement_logging()
        .connect()
        .await?;
    migrate(&mut conn, 0).await?;
    conn.close().await?;
    draft.publish()
}

async fn migrate(conn: &mut SqliteConnection, from: u32) -> Result<(), StoreError> {
    for version in from..schema::VERSION {
        let Some(step) = schema::migration(version) else { break };
        let sql = format!(
            "BEGIN IMMEDIATE; {step} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;",
            schema::APPLICATION_ID,
            version + 1
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}
