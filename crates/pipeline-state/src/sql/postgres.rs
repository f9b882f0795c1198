use std::{fmt, time::Duration};

use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, Executor as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Backend, Result, schema, tx::Tx};
use crate::{SCHEMA_VERSION, StateError};

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// What each connection is set to: nobody waits for a lock for ever, and a process that stops in the
/// middle of a transaction does not keep the others from the pipeline for longer than that.
const SETTINGS: &str = "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '30s'";

/// Pipelines in a PostgreSQL database, for many machines. Feature `postgres`.
///
/// The tables lie in the first schema of the search path. A call holds its pipeline's row, so calls that
/// write on one pipeline are one after the other; different pipelines do not wait for each other, and
/// reading waits for nobody. Leases run by the server's clock.
///
/// # What is shared
///
/// Clones share one pool of up to ten connections.
///
/// ```no_run
/// # async fn example() -> Result<(), pipeline_state::StateError> {
/// use pipeline_state::{PipelineConfig, PostgresStore, StateTracker};
///
/// let store = PostgresStore::open("postgres://worker@db.example.org/pipelines").await?;
/// let tracker = StateTracker::new(store, PipelineConfig::default());
/// let pipeline = tracker.initialize("nightly", &["search", "company"]).await?;
/// assert!(pipeline.progress().await?.whole().is_finished());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, and makes the tables if they are not there.
    ///
    /// # Errors
    ///
    /// [`StateError::Name`] if the URL cannot be understood, [`StateError::Unreachable`] if nobody answers
    /// within ten seconds, [`StateError::Sql`] if the server refuses, [`StateError::Newer`] if a newer
    /// version of this crate made the tables, [`StateError::ReadOnly`] if they may not be made.
    pub async fn open(url: &str) -> Result<Self> {
        // The error would hold the URL, and the URL a password.
        let options: PgConnectOptions =
            url.parse().map_err(|_| StateError::Name { given: "postgres://...".to_owned() })?;
        let options = options.application_name("pipeline-state");
        let pool = PgPoolOptions::new()
            .acquire_timeout(ACQUIRE)
            .after_connect(|conn, _| {
                Box::pin(async move { conn.execute(SETTINGS).await.map(|_| ()) })
            })
            .connect_with(options)
            .await
            .map_err(unreachable)?;
        Self::with_pool(pool).await
    }

    /// On a pool of connections that somebody else made: with a schema of its own, say.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn with_pool(pool: PgPool) -> Result<Self> {
        if version(&pool).await? < SCHEMA_VERSION {
            migrate(&pool).await?;
        }
        Ok(Self { pool })
    }

    /// Closes the connections. What was written is safe without this, too.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// While a server is down, the pool tries to connect until the time is up.
fn unreachable(error: sqlx::Error) -> StateError {
    match error {
        sqlx::Error::PoolTimedOut => StateError::Unreachable(error),
        error => StateError::from_sqlx(error),
    }
}

const VERSION: &str = "SELECT version FROM pipeline_schema";

async fn version(pool: &PgPool) -> Result<i64> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('pipeline_schema') IS NOT NULL")
        .fetch_one(pool)
        .await
        .map_err(unreachable)?;
    if !there {
        return Ok(0);
    }
    let found: Option<i64> = sqlx::query_scalar(VERSION).fetch_optional(pool).await?;
    check(found.unwrap_or(0))
}

fn check(version: i64) -> Result<i64> {
    if version > SCHEMA_VERSION {
        return Err(StateError::Newer { found: version, known: SCHEMA_VERSION });
    }
    Ok(version)
}

/// All steps in one transaction: the tables are there whole or not at all.
async fn migrate(pool: &PgPool) -> Result<()> {
    let mut tx = pool.begin().await.map_err(unreachable)?;
    // `IF NOT EXISTS` alone lets two that begin at once collide.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('pipeline_schema'))")
        .execute(&mut *tx)
        .await?;
    sqlx::query(schema::VERSION_TABLE).execute(&mut *tx).await?;
    let found: Option<i64> = sqlx::query_scalar(VERSION).fetch_optional(&mut *tx).await?;
    for from in check(found.unwrap_or(0))?..SCHEMA_VERSION {
        let id = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY";
        let Some(step) = schema::migration(from, id, "(phase, id)") else { break };
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *tx).await?;
    }
    sqlx::query("DELETE FROM pipeline_schema").execute(&mut *tx).await?;
    let sql = "INSERT INTO pipeline_schema (version) VALUES ($1)";
    sqlx::query(sql).bind(SCHEMA_VERSION).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

impl Backend for PostgresStore {
    async fn begin(&self) -> Result<Tx> {
        // Whatever the database's default is: the locked row orders all.
        let tx = self.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await;
        tx.map(Tx::Postgres).map_err(unreachable)
    }

    async fn look(&self) -> Result<Tx> {
        let tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
        tx.map(Tx::Postgres).map_err(unreachable)
    }

    async fn clock(&self) -> Result<Timestamp> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let micros: i64 =
            sqlx::query_scalar(sql).fetch_one(&self.pool).await.map_err(unreachable)?;
        Timestamp::from_microsecond(micros).map_err(|e| StateError::Content(e.to_string()))
    }
}
