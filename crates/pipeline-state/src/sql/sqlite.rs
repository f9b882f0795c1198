use std::{fmt, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, Connection as _, SqlStr, Sqlite, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;

use super::{Backend, Result, file::File, schema, tx::Tx};
use crate::{SCHEMA_VERSION, StateError};

/// How long one process waits for another's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Pipelines in an SQLite file, for the processes of one machine.
///
/// It runs in WAL mode with `synchronous = FULL`: what a call has written is on the disk when the call
/// returns. Only a claim and a renewal need not be yet, and cost no wait for the disk: a power cut that
/// loses them has ended their worker, too. The file may hold other tables; those of this store begin with `pipeline_`.
///
/// # What is shared
///
/// Clones share one connection that writes, so what they write is one after the other, and two that
/// read; processes wait for each other up to five seconds and then get [`StateError::Busy`].
///
/// # A file that goes away
///
/// Whoever opens the file anew would not see what is written into one that was deleted, moved or replaced meanwhile, so
/// that is [`StateError::Unreachable`] until it is where it was.
#[derive(Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    /// For what only reads, so that it waits for no writer. The same pool where the file is not ours.
    readers: SqlitePool,
    /// Whether the connection's settings are ours to change.
    is_ours: bool,
    /// `None` in memory.
    file: Option<Arc<File>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file, and makes it and its tables if they are not there.
    ///
    /// # Errors
    ///
    /// [`StateError::Unreachable`] if it cannot be opened, [`StateError::Damaged`] if it is no SQLite
    /// file, [`StateError::Newer`] if a newer version of this crate made its tables; such files are left
    /// as they are. [`StateError::ReadOnly`], [`StateError::Full`], [`StateError::Busy`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY)
            // Before a worker is told that an item is done, it is.
            .synchronous(SqliteSynchronous::Full);
        let pool = pool(1).connect_with(options.clone()).await?;
        // Looked at before anything is changed, the journal's mode included.
        check(version(&pool).await?)?;
        write_ahead(&pool).await?;
        let store = Self::with_pool(pool).await?;
        Ok(Self { readers: self::pool(2).connect_lazy_with(options), is_ours: true, ..store })
    }

    /// In memory, for tests and for pipelines that need not survive their process.
    ///
    /// # Errors
    ///
    /// If SQLite does not start.
    pub async fn in_memory() -> Result<Self> {
        let options = SqliteConnectOptions::new().in_memory(true);
        Self::with_pool(pool(1).connect_with(options).await?).await
    }

    /// On a pool of connections that somebody else made, so that the tables can lie beside others. It
    /// should have one connection, its journal be WAL.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn with_pool(pool: SqlitePool) -> Result<Self> {
        if check(version(&pool).await?)? < SCHEMA_VERSION {
            migrate(&pool).await?;
        }
        let file = File::of(&pool).await.map(Arc::new);
        Ok(Self { readers: pool.clone(), pool, is_ours: false, file })
    }

    fn in_place(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    /// Closes the file. What was written is safe without this, too.
    pub async fn close(&self) {
        self.readers.close().await;
        self.pool.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not go away as a server does. And a connection whose test is dropped is closed: with
        // it would go what is in memory.
        .test_before_acquire(false)
}

/// Turns a new file's journal to WAL. Several may do so at once, and for this alone SQLite waits for nobody.
async fn write_ahead(pool: &SqlitePool) -> Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        let done = sqlx::query("PRAGMA journal_mode = WAL").execute(pool).await;
        match done.map_err(StateError::from) {
            Err(StateError::Busy(_)) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done => return done.map(drop),
        }
    }
}

/// A transaction on a connection of the pool, whatever became of the last one on it.
async fn begin(pool: &SqlitePool, how: &'static str) -> Result<Transaction<'static, Sqlite>> {
    let mut conn = pool.acquire().await?;
    if conn.is_in_transaction() {
        conn = forget_what_has_ended(conn).await?;
    }
    Ok(Transaction::begin(conn, Some(SqlStr::from_static(how))).await?)
}

/// SQLite ends a transaction by itself if the disk is full or cannot be read. The `ROLLBACK` of sqlx then
/// fails, sqlx takes the transaction for one that goes on, and refuses all that follow. Another connection
/// would do, but with this one would go what is in memory, and the settings of whoever made the pool.
async fn forget_what_has_ended(
    mut conn: PoolConnection<Sqlite>,
) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
    let forget = async move {
        // Outside a transaction a savepoint begins one: then there is what can be rolled back.
        drop(conn.begin().await);
        // Refused, and dropped as a transaction is: with a `ROLLBACK`.
        drop(conn.begin_with("BEGIN").await);
        conn
    };
    // In a task, for sqlx ends a connection that nobody listens to while it refuses.
    tokio::spawn(forget).await.map_err(|_| sqlx::Error::WorkerCrashed)
}

const VERSION: &str = "SELECT version FROM pipeline_schema";

async fn version(pool: &SqlitePool) -> Result<i64> {
    let there: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'pipeline_schema'")
            .fetch_one(pool)
            .await?;
    if there == 0 {
        return Ok(0);
    }
    Ok(sqlx::query_scalar(VERSION).fetch_optional(pool).await?.unwrap_or(0))
}

fn check(version: i64) -> Result<i64> {
    if version > SCHEMA_VERSION {
        return Err(StateError::Newer { found: version, known: SCHEMA_VERSION });
    }
    Ok(version)
}

/// All steps in one transaction: the tables are there whole or not at all.
async fn migrate(pool: &SqlitePool) -> Result<()> {
    let mut tx = begin(pool, "BEGIN IMMEDIATE").await?;
    sqlx::query(schema::VERSION_TABLE).execute(&mut *tx).await?;
    // Somebody else may have been faster.
    let found: Option<i64> = sqlx::query_scalar(VERSION).fetch_optional(&mut *tx).await?;
    for from in check(found.unwrap_or(0))?..SCHEMA_VERSION {
        let id = "INTEGER PRIMARY KEY AUTOINCREMENT";
        let Some(step) = schema::migration(from, id, "(phase)") else { break };
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *tx).await?;
    }
    sqlx::query("DELETE FROM pipeline_schema").execute(&mut *tx).await?;
    let sql = "INSERT INTO pipeline_schema (version) VALUES (?)";
    sqlx::query(sql).bind(SCHEMA_VERSION).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

impl Backend for SqliteStore {
    async fn begin(&self) -> Result<Tx> {
        self.in_place()?;
        // Read and then written: a deferred transaction could not wait its turn.
        let begin = match self.is_ours {
            true => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            false => "BEGIN IMMEDIATE",
        };
        Ok(Tx::Sqlite(self::begin(&self.pool, begin).await?))
    }

    async fn begin_lightly(&self) -> Result<Tx> {
        self.in_place()?;
        let begin = match self.is_ours {
            true => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            false => "BEGIN IMMEDIATE",
        };
        Ok(Tx::Sqlite(self::begin(&self.pool, begin).await?))
    }

    async fn look(&self) -> Result<Tx> {
        self.in_place()?;
        Ok(Tx::Sqlite(begin(&self.readers, "BEGIN").await?))
    }

    #[allow(clippy::disallowed_methods, reason = "processes have no other clock in common")]
    async fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_settles_waits_for_the_disk_and_what_claims_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("state.db")).await.unwrap();
        let level = async |mut tx: Tx| {
            let sql = "PRAGMA synchronous".to_owned();
            tx.row(sql, &[], |row| row.int(0)).await.unwrap().unwrap()
        };
        for _ in 0..2 {
            assert_eq!(level(store.begin_lightly().await.unwrap()).await, 1, "normal");
            assert_eq!(level(store.begin().await.unwrap()).await, 2, "full");
        }
        // Who reads waits for nobody who writes.
        let writing = store.begin().await.unwrap();
        assert_eq!(level(store.look().await.unwrap()).await, 2);
        drop(writing);
    }
}
