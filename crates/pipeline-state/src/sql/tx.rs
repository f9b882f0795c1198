//! A transaction on either database, and what statements are given.

use std::borrow::Cow;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, Sqlite, Transaction};

use super::Result;
use crate::{PipelineId, StateError, plan::Delta};

/// A parameter. Statements number theirs `$1`, `$2` in both databases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    Int(i64),
    OptInt(Option<i64>),
    Text(&'a str),
    OptText(Option<&'a str>),
    Bytes(&'a [u8]),
    OptBytes(Option<&'a [u8]>),
    Ids(&'a [i64]),
    Texts(&'a [&'a str]),
    /// Numbers, categories, messages. Must be the last: it is three parameters in PostgreSQL.
    Failures(&'a [i64], &'a [(&'a str, Cow<'a, str>)]),
}

impl From<Timestamp> for Arg<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.as_microsecond())
    }
}

impl From<PipelineId> for Arg<'_> {
    fn from(id: PipelineId) -> Self {
        Self::Int(id.0)
    }
}

/// A row of either database.
pub(super) trait Fields {
    fn int(&self, at: usize) -> Result<i64>;
    fn opt_int(&self, at: usize) -> Result<Option<i64>>;
    fn text(&self, at: usize) -> Result<String>;
    fn bytes(&self, at: usize) -> Result<Vec<u8>>;
    fn opt_bytes(&self, at: usize) -> Result<Option<Vec<u8>>>;

    fn count(&self, at: usize) -> Result<u64> {
        let count = self.int(at)?;
        u64::try_from(count).map_err(|_| StateError::Content(format!("the count {count}")))
    }

    fn number(&self, at: usize) -> Result<u32> {
        let number = self.int(at)?;
        u32::try_from(number).map_err(|_| StateError::Content(format!("the number {number}")))
    }

    fn time(&self, at: usize) -> Result<Timestamp> {
        let micros = self.int(at)?;
        Timestamp::from_microsecond(micros)
            .map_err(|_| StateError::Content(format!("the time {micros}")))
    }
}

macro_rules! fields {
    ($row:ty) => {
        impl Fields for $row {
            fn int(&self, at: usize) -> Result<i64> {
                Ok(self.try_get(at)?)
            }

            fn opt_int(&self, at: usize) -> Result<Option<i64>> {
                Ok(self.try_get(at)?)
            }

            fn text(&self, at: usize) -> Result<String> {
                Ok(self.try_get(at)?)
            }

            fn bytes(&self, at: usize) -> Result<Vec<u8>> {
                Ok(self.try_get(at)?)
            }

            fn opt_bytes(&self, at: usize) -> Result<Option<Vec<u8>>> {
                Ok(self.try_get(at)?)
            }
        }
    };
}

fields!(sqlx::sqlite::SqliteRow);
#[cfg(feature = "postgres")]
fields!(sqlx::postgres::PgRow);

/// What the statements need to know of a pipeline, which nobody else changes meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) id: PipelineId,
    /// The number of its newest checkpoint ever.
    pub(super) epoch: u32,
    /// Items settled since then.
    pub(super) settled: u64,
    /// When that was, or when the pipeline was made.
    pub(super) checkpoint_at: Timestamp,
}

/// A transaction. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => Ok(tx.commit().await?),
        }
    }

    pub(super) async fn rollback(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => Ok(tx.rollback().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => Ok(tx.rollback().await?),
        }
    }

    /// A test of the column `id` against a list of numbers.
    pub(super) fn id_in(&self, parameter: u8) -> String {
        match self {
            Self::Sqlite(_) => format!("id IN (SELECT value FROM json_each(${parameter}))"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!("id = ANY(${parameter}::bigint[])"),
        }
    }

    /// A list of texts as a table with the column `value`.
    pub(super) fn texts(&self, parameter: u8) -> String {
        match self {
            Self::Sqlite(_) => format!("json_each(${parameter})"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!("unnest(${parameter}::text[]) AS names (value)"),
        }
    }

    /// [`Arg::Failures`] as a table `failures` with the columns `id`, `category`, `message`.
    pub(super) fn failures(&self, parameter: u8) -> String {
        match self {
            Self::Sqlite(_) => format!(
                "(SELECT value ->> 0 AS id, value ->> 1 AS category, value ->> 2 AS message
                  FROM json_each(${parameter})) AS failures"
            ),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                let [a, b, c] = [parameter, parameter + 1, parameter + 2];
                format!(
                    "unnest(${a}::bigint[], ${b}::text[], ${c}::text[])
                     AS failures (id, category, message)"
                )
            }
        }
    }

    /// What makes a `SELECT` keep others from the row until the end of the transaction.
    const fn for_update(&self) -> &'static str {
        match self {
            // It began as a writer; there is only one.
            Self::Sqlite(_) => "",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => " FOR NO KEY UPDATE",
        }
    }

    pub(super) async fn execute(&mut self, sql: String, args: &[Arg<'_>]) -> Result<u64> {
        match self {
            Self::Sqlite(tx) => {
                Ok(sqlite_query(sql, args)?.execute(&mut **tx).await?.rows_affected())
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => {
                Ok(postgres_query(sql, args).execute(&mut **tx).await?.rows_affected())
            }
        }
    }

    pub(super) async fn rows<T: Send>(
        &mut self,
        sql: String,
        args: &[Arg<'_>],
        read: fn(&dyn Fields) -> Result<T>,
    ) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(tx) => {
                let rows = sqlite_query(sql, args)?.fetch_all(&mut **tx).await?;
                rows.iter().map(|row| read(row)).collect()
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => {
                let rows = postgres_query(sql, args).fetch_all(&mut **tx).await?;
                rows.iter().map(|row| read(row)).collect()
            }
        }
    }

    pub(super) async fn row<T: Send>(
        &mut self,
        sql: String,
        args: &[Arg<'_>],
        read: fn(&dyn Fields) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.rows(sql, args, read).await?.pop())
    }

    /// Keeps all other writers from a pipeline.
    pub(super) async fn lock(&mut self, pipeline: PipelineId) -> Result<Run> {
        self.run(pipeline, self.for_update()).await
    }

    /// Whether the pipeline is there.
    pub(super) async fn find(&mut self, pipeline: PipelineId) -> Result<()> {
        self.run(pipeline, "").await.map(|_| ())
    }

    async fn run(&mut self, pipeline: PipelineId, lock: &str) -> Result<Run> {
        let sql = format!(
            "SELECT id, epoch, settled, checkpoint_at FROM pipeline_runs WHERE id = $1{lock}"
        );
        let args = [pipeline.into()];
        let run = self.row(sql, &args, |row| {
            Ok(Run {
                id: row.int(0)?.into(),
                epoch: row.number(1)?,
                settled: row.count(2)?,
                checkpoint_at: row.time(3)?,
            })
        });
        run.await?.ok_or(StateError::NoPipeline(pipeline))
    }

    pub(super) async fn phase(&mut self, pipeline: PipelineId, name: &str) -> Result<i64> {
        let sql = "SELECT id FROM pipeline_phases WHERE pipeline = $1 AND name = $2".to_owned();
        let id = self.row(sql, &[pipeline.into(), Arg::Text(name)], |row| row.int(0)).await?;
        id.ok_or_else(|| StateError::NoPhase { pipeline, phase: name.to_owned() })
    }

    pub(super) async fn count(&mut self, phase: i64, delta: Delta) -> Result<()> {
        if delta == Delta::default() {
            return Ok(());
        }
        let [pending, processing, completed, failed, skipped, waiting] = delta.0.map(Arg::Int);
        let sql = "UPDATE pipeline_phases SET pending = pending + $2, processing = processing + $3,
                       completed = completed + $4, failed = failed + $5, skipped = skipped + $6,
                       waiting = waiting + $7
                   WHERE id = $1";
        let args = [Arg::Int(phase), pending, processing, completed, failed, skipped, waiting];
        self.execute(sql.to_owned(), &args).await?;
        Ok(())
    }
}

fn sqlite_query<'a>(
    sql: String,
    args: &[Arg<'a>],
) -> Result<sqlx::query::Query<'a, Sqlite, sqlx::sqlite::SqliteArguments>> {
    // Only our own words are in the text: what callers give is bound.
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for arg in args {
        query = match *arg {
            Arg::Int(int) => query.bind(int),
            Arg::OptInt(int) => query.bind(int),
            Arg::Text(text) => query.bind(text),
            Arg::OptText(text) => query.bind(text),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::OptBytes(bytes) => query.bind(bytes),
            Arg::Ids(ids) => query.bind(json(&ids)?),
            Arg::Texts(texts) => query.bind(json(&texts)?),
            Arg::Failures(ids, failures) => {
                let failures = ids.iter().zip(failures);
                let rows: Vec<_> =
                    failures.map(|(id, (category, text))| (id, category, text)).collect();
                query.bind(json(&rows)?)
            }
        };
    }
    Ok(query)
}

#[cfg(feature = "postgres")]
fn postgres_query<'a>(
    sql: String,
    args: &[Arg<'a>],
) -> sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for arg in args {
        query = match *arg {
            Arg::Int(int) => query.bind(int),
            Arg::OptInt(int) => query.bind(int),
            Arg::Text(text) => query.bind(text),
            Arg::OptText(text) => query.bind(text),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::OptBytes(bytes) => query.bind(bytes),
            Arg::Ids(ids) => query.bind(ids),
            Arg::Texts(texts) => query.bind(texts),
            Arg::Failures(ids, failures) => {
                let categories: Vec<&str> =
                    failures.iter().map(|(category, _)| *category).collect();
                let messages: Vec<&str> = failures.iter().map(|(_, text)| &**text).collect();
                query.bind(ids).bind(categories).bind(messages)
            }
        };
    }
    query
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StateError::Content(error.to_string()))
}
