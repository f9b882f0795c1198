//! What failed, and what came of it: for `pipedrive errors`.

use jiff::Timestamp;
use tower_retry_classify::{Event, RetryRecord};

use super::{
    Reader, Store, StoreError,
    again::guarded,
    link::{Arg, Fields},
};

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
        guarded!(self, self.add_failures(run, records))
    }

    async fn add_failures(&mut self, run: i64, records: &[RetryRecord]) -> Result<(), StoreError> {
        let mut all = self.conn.begin().await?;
        for record in records {
            let (event, reason, wait) = match record.event {
                Event::Retried { wait } => ("retried", None, Some(wait)),
                Event::Recovered => ("recovered", None, None),
                Event::GaveUp { reason } => ("gave_up", Some(reason.name()), None),
                _ => ("final", None, None),
            };
            let at = Timestamp::try_from(record.at).unwrap_or_default();
            let wait = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            let sql =
                "INSERT INTO retry_history (run, at, endpoint, class, attempt, event, reason, wait_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let at = text(at);
            let args = [
                run.into(),
                (&at).into(),
                Arg::Text(&record.endpoint),
                record.class.name().into(),
                i64::from(record.attempt).into(),
                event.into(),
                reason.into(),
                wait.into(),
            ];
            all.link().execute(sql, &args).await?;
        }
        let sql = "DELETE FROM retry_history WHERE id <= (SELECT max(id) FROM retry_history) - $1";
        all.link().execute(sql, &[KEPT.into()]).await?;
        all.commit().await
    }
}

impl Reader {
    /// What failed since then, the oldest first; nothing from a database of before this was written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn failures(&mut self, since: Timestamp) -> Result<Vec<FailureRow>, StoreError> {
        let mut link = self.conn.link();
        if !link.has_table("retry_history").await? {
            return Ok(Vec::new());
        }
        let read = |row: &dyn Fields| {
            Ok(FailureRow {
                at: row.text("at")?.parse().unwrap_or_default(),
                endpoint: row.text("endpoint")?,
                class: row.text("class")?,
                attempt: u32::try_from(row.int("attempt")?).unwrap_or_default(),
                event: row.text("event")?,
                reason: row.opt_text("reason")?,
            })
        };
        let sql = "SELECT * FROM retry_history WHERE at >= $1 ORDER BY id";
        link.rows(sql, &[(&text(since)).into()], read).await
    }
}
