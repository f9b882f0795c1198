//! The database: an SQLite file, or a schema of a PostgreSQL database, that holds the rows, where each walk stands, and
//! what was spent.
//!
//! One connection writes, on either. PostgreSQL is told to commit durably whatever its settings say. SQLite runs in WAL mode with `synchronous = FULL`: each commit is on the disk
//! before it returns. That is what makes a lease durable. Measured on a shared virtual disk, it makes a
//! commit 1 to 4 ms longer than `NORMAL` does, which is an eighth of what a page of rows takes to write
//! anyway or less; an API token allows at most 60 requests a second, and pages that wait share a commit.
//! So rows get the same promise, and there is one connection to reason about and not two.

mod again;
mod circuits;
mod database;
mod error;
mod export;
mod failures;
mod fields;
mod file;
mod gone;
mod health;
mod lease;
mod link;
mod postgres;
mod quarantine;
mod read;
mod runs;
pub mod schema;
mod seen;
mod sqlite;
mod state;
mod upsert;
mod views;
mod write;

pub use self::{
    circuits::reset_circuits,
    database::{DEFAULT_SCHEMA, Database},
    error::StoreError,
    export::{ColumnType, Columns, Selection},
    failures::FailureRow,
    health::{HealthRow, HostRow},
    lease::{BudgetRow, note_spent},
    quarantine::{FailedWalk, QuarantineRow, Quarantined, RAW_KEPT, RejectWrite},
    read::{Counts, Reader, RunRow},
    runs::RunRecord,
    state::{Mode, WalkState},
    write::{Finish, Id, PageWrite, RowWrite, Settled, Written},
};

use self::{
    again::Thread,
    database::Place,
    file::{InPlace, RunLock},
    link::Conn,
};

/// What is there under a name before it is touched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Ours { version: u32 },
}

/// The one writer of a database, which holds its lock.
///
/// Once a run has begun, a connection to a server that is lost is made anew (see [`Database`]), and what was being written
/// is written again, unless it was committed.
#[derive(Debug)]
pub struct Store {
    conn: Conn,
    database: Database,
    /// PostgreSQL ties its lock to the connection.
    _lock: Option<RunLock>,
    /// A file only.
    place: Option<InPlace>,
    thread: Thread,
}

impl Store {
    /// Takes the lock, makes the tables if there are none, and brings them up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another sync runs, [`StoreError::Foreign`] or [`StoreError::Newer`] if the
    /// database is not ours to write, [`StoreError::Unusable`] if a file cannot be written,
    /// [`StoreError::Unreachable`] or [`StoreError::Refused`] if a server cannot be reached or does not let us in. A
    /// database that is refused is not touched, and a new one is there whole or not at all.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let (conn, _lock, place) = match &database.0 {
            Place::File(file) => {
                let (conn, lock, place) = sqlite::open(file).await?;
                (Conn::Sqlite(Box::new(conn)), Some(lock), Some(place))
            }
            Place::Server(server) => {
                (Conn::Postgres(Box::new(postgres::open(server, database).await?)), None, None)
            }
        };
        let thread = Thread::default();
        let mut store = Self { conn, database: database.clone(), _lock, place, thread };
        store.follow_definitions().await;
        Ok(store)
    }

    /// Brings the views up to date. That one cannot be is noted in the log and no more: no row depends on it.
    async fn follow_definitions(&mut self) {
        let _ = self.refresh_views().await;
    }

    /// Where it is.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Ends the connection, which lets go of the lock. SQLite writes what is in the write-ahead log into the file.
    ///
    /// # Errors
    ///
    /// If the database cannot be closed; what was committed is safe all the same.
    pub async fn close(self) -> Result<(), StoreError> {
        let Self { conn, thread, _lock, .. } = self;
        tokio::select! {
            biased;
            closed = conn.close() => closed,
            () = thread.stands_still() => Ok(()),
        }
    }
}

/// Whether what is done on a connection beside the writer's changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    /// A little, and on the disk when it returns.
    Write,
}

/// A connection to a database that is there, without the writer's lock.
async fn beside(database: &Database, access: Access) -> Result<Conn, StoreError> {
    Ok(match &database.0 {
        Place::File(file) => Conn::Sqlite(Box::new(sqlite::beside(file, access).await?)),
        Place::Server(server) => {
            Conn::Postgres(Box::new(postgres::beside(server, database, access).await?))
        }
    })
}
