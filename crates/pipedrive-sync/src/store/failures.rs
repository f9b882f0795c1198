//! What failed, and what came of it: for `pipedrive errors`.

use jiff::Timestamp;
use sqlx::{Connection as _, Row as _};
use tower_retry_classify::{Event, RetryRecord};

use super::{Reader, Store, StoreError, has_table};

/// So many records are kept; the oldest make room.
const KEPT: i64 = 20_000;

/// One row of `retry_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRow {
    /// When.
    pub at: Timestamp,
    /// Method and path, without identifiers.
    pub endpoint: String,
    /// What went wrong.
    pub class: String,
    /// Which attempt: 1 is the first.
    pub attempt: u32,
    /// `retried`, `recovered`, `gave_up` or `final`.
    pub event: String,
    /// Why it was given up.
    pub reason: Option<String>,
}

/// To the millisecond, so that texts sort as times do.
fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl Store {
    /// Writes down what failed in a run.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_failures(
        &mut self,
        run: i64,
        records: &[RetryRecord],
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut all = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        for record in records {
            let (event, reason, wait) = match record.event {
                Event::Retried { wait } => ("retried", None, Some(wait)),
                Event::Recovered => ("recovered", None, None),
                Event::GaveUp { reason } => ("gave_up", Some(reason.name()), None),
                _ => ("final", None, None),
            };
            let at = Timestamp::try_from(record.at).unwrap_or_default();
            sqlx::query(
                "INSERT INTO retry_history (run, at, endpoint, class, attempt, event, reason, wait_ms)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(run)
            .bind(text(at))
            .bind(&record.endpoint)
            .bind(record.class.name())
            .bind(record.attempt)
            .bind(event)
            .bind(reason)
            .bind(wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
            .execute(&mut *all)
            .await?;
        }
        sqlx::query(
            "DELETE FROM retry_history WHERE id <= (SELECT max(id) FROM retry_history) - ?",
        )
        .bind(KEPT)
        .execute(&mut *all)
        .await?;
        Ok(all.commit().await?)
    }
}

impl Reader {
    /// What failed since then, the oldest first; nothing from a database of before this was written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn failures(&mut self, since: Timestamp) -> Result<Vec<FailureRow>, StoreError> {
        if !has_table(&mut self.conn, "retry_history").await? {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT * FROM retry_history WHERE at >= ? ORDER BY id")
            .bind(text(since))
            .fetch_all(&mut self.conn)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(FailureRow {
                at: row.try_get::<String, _>("at")?.parse().unwrap_or_default(),
                endpoint: row.try_get("endpoint")?,
                class: row.try_get("class")?,
                attempt: row.try_get("attempt")?,
                event: row.try_get("event")?,
                reason: row.try_get("reason")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
