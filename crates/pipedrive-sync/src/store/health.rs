//! How the API was doing, sample by sample: for `pipedrive health`.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection as _, Row as _};
use tower_health::{Report, State};

use super::{Reader, Store, StoreError, has_table};
use crate::wall;

/// So many samples are kept; the oldest make room.
const KEPT: i64 = 20_000;

/// One row of `health_samples`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HealthRow {
    /// When.
    pub at: Timestamp,
    /// How the API was doing.
    pub state: State,
    /// Why.
    pub reason: String,
    /// Attempts in the minute before.
    pub calls: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// Their average latency in milliseconds.
    pub average_ms: u64,
    /// Half of them were at most this slow, in milliseconds.
    pub p50_ms: Option<u64>,
    /// 95 of 100 were at most this slow, in milliseconds.
    pub p95_ms: Option<u64>,
    /// 99 of 100 were at most this slow, in milliseconds.
    pub p99_ms: Option<u64>,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

impl Store {
    /// Writes down how the API is doing.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_health(&mut self, run: i64, report: &Report) -> Result<(), StoreError> {
        let mut both = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO health_samples (run, at, state, reason, calls, bad, average_ms, p50_ms, p95_ms, p99_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(run)
        .bind(wall::now_text())
        .bind(report.state.as_str())
        .bind(report.reason.to_string())
        .bind(i64::try_from(report.calls).unwrap_or(i64::MAX))
        .bind(i64::try_from(report.bad).unwrap_or(i64::MAX))
        .bind(millis(report.average))
        .bind(report.p50.map(millis))
        .bind(report.p95.map(millis))
        .bind(report.p99.map(millis))
        .execute(&mut *both)
        .await?;
        sqlx::query(
            "DELETE FROM health_samples WHERE id <= (SELECT max(id) FROM health_samples) - ?",
        )
        .bind(KEPT)
        .execute(&mut *both)
        .await?;
        Ok(both.commit().await?)
    }
}

impl Reader {
    /// The newest samples, at most so many, the newest first; none from a database of before they were written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn health(&mut self, most: u32) -> Result<Vec<HealthRow>, StoreError> {
        if !has_table(&mut self.conn, "health_samples").await? {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT * FROM health_samples ORDER BY id DESC LIMIT ?")
            .bind(most)
            .fetch_all(&mut self.conn)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let state: String = row.try_get("state")?;
            let time =
                |name: &str| row.try_get::<Option<i64>, _>(name).map(|millis| millis.map(count));
            Ok(HealthRow {
                at: wall::parse(row.try_get("at")?).unwrap_or_default(),
                state: State::ALL
                    .into_iter()
                    .find(|known| known.as_str() == state)
                    .unwrap_or(State::Unknown),
                reason: row.try_get("reason")?,
                calls: count(row.try_get("calls")?),
                bad: count(row.try_get("bad")?),
                average_ms: count(row.try_get("average_ms")?),
                p50_ms: time("p50_ms")?,
                p95_ms: time("p95_ms")?,
                p99_ms: time("p99_ms")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
