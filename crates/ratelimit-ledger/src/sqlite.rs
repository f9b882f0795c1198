use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{
    Connection as _, Row as _, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;

use crate::{Exchange, Ledger, LedgerError, Reply, STATE_VERSION, state::State};

/// How long one process waits for another's exchange.
const BUSY: Duration = Duration::from_millis(1_000);

/// How long opening waits for others that make the same file.
const MADE_WITHIN: Duration = Duration::from_secs(5);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS ledger_state (
    prefix TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID";

/// A ledger in an SQLite file, for the processes of one machine.
///
/// An exchange is one `BEGIN IMMEDIATE` transaction, by the machine's wall clock,
/// which is never taken to run backwards. What was granted is on the disk before
/// anybody can spend it, so a day survives a restart and a kill. The file may hold
/// other tables; the ledger's one is `ledger_state`.
///
/// A file that is deleted, or replaced by another, while it is open ends in
/// [`LedgerError::Unreachable`] from the next exchange on: two files would grant twice. What was
/// granted before the new file knows nothing of. Put the old one back, or start again.
///
/// # What is shared
///
/// Clones share one connection. All ledgers with one prefix on one file are one
/// ledger.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ratelimit_ledger::{Driver, SqliteLedger};
/// use tower_ratelimit_tokens::{Budget, Charge, Limiter};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("budgets.db");
///
/// let mut limits = Limiter::builder();
/// let burst = Budget::rolling(100, std::time::Duration::from_secs(2)).leased();
/// let burst = limits.budget("burst", burst);
/// let limiter = limits.build()?;
///
/// let ledger = SqliteLedger::open(&path, "acme-pipedrive").await?;
/// tokio::spawn(Driver::new(&limiter, ledger).run());
/// let ticket = limiter.acquire(Charge::new().with(burst, 1), None).await?;
/// assert!(ticket.send_before().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteLedger {
    pool: SqlitePool,
    prefix: Arc<str>,
    /// `None` in memory.
    file: Option<Arc<File>>,
    /// Instead of the wall clock; for tests.
    clock: Option<u64>,
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl SqliteLedger {
    /// Opens the file, and makes it if it is not there. `prefix` names the ledger:
    /// the account, say.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Setup`] if the file cannot be opened or the table not made;
    /// [`LedgerError::Version`] if another version of this crate wrote it.
    pub async fn open(path: impl AsRef<Path>, prefix: &str) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY)
            .journal_mode(SqliteJournalMode::Wal)
            // A grant must be on the disk before it is spent.
            .synchronous(SqliteSynchronous::Full);
        // Several may turn a new file's journal to WAL at once, and for this alone SQLite
        // waits for nobody.
        let until = Instant::now() + MADE_WITHIN;
        let pool = loop {
            let pool = SqlitePoolOptions::new().max_connections(1);
            match pool.connect_with(options.clone()).await {
                Err(error) if is_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => break done.map_err(|error| LedgerError::Setup(Box::new(error)))?,
            }
        };
        Self::with_pool(pool, prefix).await
    }

    /// On a pool of connections that somebody else made. Its journal should be WAL
    /// and its busy time-out about a second.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn with_pool(pool: SqlitePool, prefix: &str) -> Result<Self, LedgerError> {
        let setup = |error: sqlx::Error| LedgerError::Setup(Box::new(error));
        sqlx::query(TABLE).execute(&pool).await.map_err(setup)?;
        let file = File::of(&pool).await;
        let ledger = Self { pool, prefix: prefix.into(), file: file.map(Arc::new), clock: None };
        let row = sqlx::query("SELECT version FROM ledger_state WHERE prefix = ?")
            .bind(&*ledger.prefix)
            .fetch_optional(&ledger.pool)
            .await
            .map_err(setup)?;
        if let Some(row) = row {
            check(row.try_get(0).map_err(setup)?)?;
        }
        Ok(ledger)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn at(mut self, micros: u64) -> Self {
        self.clock = Some(micros);
        self
    }

    #[allow(clippy::disallowed_methods, reason = "processes have no other clock in common")]
    fn now(&self) -> u64 {
        self.clock.unwrap_or_else(|| {
            let now = Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::MAX);
            u64::try_from(now.as_microsecond()).unwrap_or(0)
        })
    }
}

/// The file that is open, and its name.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    async fn of(pool: &SqlitePool) -> Option<Self> {
        let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let path: String = sqlx::query_scalar(sql).fetch_one(pool).await.ok()?;
        let path = PathBuf::from(path);
        // What is in memory has no name.
        let identity = identity(&path).ok()?;
        Some(Self { path, identity })
    }

    /// Whether its name is still its name: others open by the name, and would not see what is granted here.
    fn check(&self) -> Result<(), LedgerError> {
        let what = match identity(&self.path) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => "another file has its name".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "the file {} was deleted or replaced while it was open ({what}); \
             put it back, or start this program again",
            self.path.display(),
        );
        Err(LedgerError::Unreachable(text.into()))
    }
}

/// The same for all names of one file, and for no two files at once.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|of| (of.dev(), of.ino()))
}

/// Only whether there is one.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|_| (0, 0))
}

/// SQLite ends a transaction by itself if the disk is full or cannot be read. The
/// `ROLLBACK` of sqlx then fails, sqlx takes the transaction for one that goes on,
/// and refuses all that follow. Another connection would do, but with this one would
/// go what is in memory, and the settings of whoever made the pool.
async fn forget_what_has_ended(
    mut connection: PoolConnection<Sqlite>,
) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
    let forget = async move {
        // Outside a transaction a savepoint begins one: then there is what can be rolled back.
        drop(connection.begin().await);
        // Refused, and dropped as a transaction is: with a `ROLLBACK`.
        drop(connection.begin_with("BEGIN").await);
        connection
    };
    // In a task, for sqlx ends a connection that nobody listens to while it refuses.
    tokio::spawn(forget).await.map_err(|_| sqlx::Error::WorkerCrashed)
}

/// `SQLITE_BUSY`, whatever its extended code says of why.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

fn check(version: i64) -> Result<(), LedgerError> {
    if version == i64::from(STATE_VERSION) {
        return Ok(());
    }
    Err(LedgerError::Version { found: version.to_string(), known: STATE_VERSION })
}

fn unreachable(error: sqlx::Error) -> LedgerError {
    LedgerError::Unreachable(Box::new(error))
}

impl Ledger for SqliteLedger {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        // A look at the name takes a microsecond; writing to the disk takes a thousand. Before a
        // connection is asked for: the pool may open one, and make a file that is not there.
        self.file.as_ref().map_or(Ok(()), |file| file.check())?;
        let mut connection = self.pool.acquire().await.map_err(unreachable)?;
        if connection.is_in_transaction() {
            connection = forget_what_has_ended(connection).await.map_err(unreachable)?;
        }
        // Read and then written: a deferred transaction could not wait its turn.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(unreachable)?;
        let row = sqlx::query("SELECT version, state FROM ledger_state WHERE prefix = ?")
            .bind(&*self.prefix)
            .fetch_optional(&mut *tx)
            .await
            .map_err(unreachable)?;
        let now = self.now();
        let mut state = match row {
            Some(row) => {
                check(row.try_get(0).map_err(unreachable)?)?;
                let text: &str = row.try_get(1).map_err(unreachable)?;
                serde_json::from_str(text).map_err(|e| LedgerError::Corrupt(e.to_string()))?
            }
            // A new file: whoever held leases before wrote them into it.
            None => State::new(now, &exchange.nonce, false),
        };
        let reply = state.exchange(now, exchange)?;
        let text =
            serde_json::to_string(&state).map_err(|e| LedgerError::Corrupt(e.to_string()))?;
        sqlx::query("INSERT INTO ledger_state (prefix, version, state) VALUES (?, ?, ?) ON CONFLICT (prefix) DO UPDATE SET version = excluded.version, state = excluded.state")
            .bind(&*self.prefix)
            .bind(i64::from(STATE_VERSION))
            .bind(text)
            .execute(&mut *tx)
            .await
            .map_err(unreachable)?;
        tx.commit().await.map_err(unreachable)?;
        Ok(reply)
    }
}
