//! The day's budget: what may be spent is on the disk before it is spent.

use sqlx::{Row as _, SqliteConnection};

use super::{Reader, Store, StoreError};
use crate::wall;

/// The key in `meta` under which the limits of the last sync are kept.
const LIMITS: &str = "limits";

/// One row of `budget`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BudgetRow {
    /// The day, in the budget's own time zone.
    pub day: String,
    /// Tokens that may have been spent: never less than what was.
    pub leased: u64,
    /// Tokens known to be spent at the last commit of a page.
    pub settled: u64,
    /// The day's budget, where known.
    pub limit: Option<u64>,
}

impl Store {
    /// Writes that up to `leased` tokens of the day may be spent. On the disk when it returns.
    ///
    /// # Errors
    ///
    /// If the database cannot be written; then nothing may be spent.
    pub async fn lease(
        &mut self,
        day: &str,
        leased: u64,
        limit: Option<u64>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO budget (day, leased, day_limit, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (day) DO UPDATE SET leased = ?2, day_limit = coalesce(?3, day_limit), updated_at = ?4",
        )
        .bind(day)
        .bind(i64::try_from(leased).unwrap_or(i64::MAX))
        .bind(limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)))
        .bind(wall::now_text())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// The day's limit as the server said it last, on whatever day.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn known_limit(&mut self) -> Result<Option<u64>, StoreError> {
        known_limit(&mut self.conn).await
    }

    /// What is known about a day.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn budget(&mut self, day: &str) -> Result<Option<BudgetRow>, StoreError> {
        budget(&mut self.conn, day).await
    }

    /// Keeps a picture of the limits for `pipedrive limits`, in place of the one before.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_limits(&mut self, picture: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")
            .bind(LIMITS)
            .bind(picture)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

impl Reader {
    /// As [`Store::known_limit`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn known_limit(&mut self) -> Result<Option<u64>, StoreError> {
        known_limit(&mut self.conn).await
    }

    /// As [`Store::budget`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn budget(&mut self, day: &str) -> Result<Option<BudgetRow>, StoreError> {
        budget(&mut self.conn, day).await
    }

    /// What [`Store::note_limits`] kept last.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn limits(&mut self) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(LIMITS)
            .fetch_optional(&mut self.conn)
            .await?)
    }
}

async fn known_limit(conn: &mut SqliteConnection) -> Result<Option<u64>, StoreError> {
    let limit: Option<i64> = sqlx::query_scalar(
        "SELECT day_limit FROM budget WHERE day_limit IS NOT NULL ORDER BY day DESC LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(limit.and_then(|limit| u64::try_from(limit).ok()))
}

async fn budget(conn: &mut SqliteConnection, day: &str) -> Result<Option<BudgetRow>, StoreError> {
    let row =
        sqlx::query("SELECT * FROM budget WHERE day = ?").bind(day).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

pub(super) fn read(row: &sqlx::sqlite::SqliteRow) -> Result<BudgetRow, StoreError> {
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(BudgetRow {
        day: row.try_get("day")?,
        leased: count(row.try_get("leased")?),
        settled: count(row.try_get("settled")?),
        limit: row.try_get::<Option<i64>, _>("day_limit")?.map(count),
    })
}

/// Adds to a day's lease without the run lock, for a program that spends a little beside a sync.
///
/// A sync that runs meanwhile learns of it from the server's next answer.
///
/// # Errors
///
/// If the database cannot be written.
pub async fn note_spent(
    database: &super::Database,
    day: &str,
    tokens: u64,
) -> Result<(), StoreError> {
    use sqlx::{ConnectOptions as _, Connection as _};
    let mut conn = super::options(database)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::query(
        "INSERT INTO budget (day, leased, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (day) DO UPDATE SET leased = leased + ?2, updated_at = ?3",
    )
    .bind(day)
    .bind(i64::try_from(tokens).unwrap_or(i64::MAX))
    .bind(wall::now_text())
    .execute(&mut conn)
    .await?;
    conn.close().await?;
    Ok(())
}
