//! How the API was doing, sample by sample: for `pipedrive health`.

use std::time::Duration;

use jiff::Timestamp;
use tower_health::{Report, State, TargetState, TargetStatus};

use super::{
    Reader, Store, StoreError,
    again::{guarded, repeated},
    link::Fields,
};
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

/// How the API's host was doing, as the failure detector saw it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// When.
    pub at: Timestamp,
    /// How it was doing.
    pub state: TargetState,
    /// Why.
    pub reason: String,
    /// Attempts in the five minutes before.
    pub calls: u64,
    /// Failed ones among them.
    pub bad: u64,
}

/// The key of the newest in the table `meta`.
const HOST: &str = "host";

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Writes down how the API's host is doing, in place of what was there.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_host(&mut self, status: &TargetStatus) -> Result<(), StoreError> {
        let row = HostRow {
            host: status.target.to_string(),
            at: wall::now(),
            state: status.state,
            reason: status.reason.to_string(),
            calls: status.calls,
            bad: status.bad,
        };
        let text = serde_json::to_string(&row).unwrap_or_default();
        let sql = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
        repeated!(self, self.conn.link().execute(sql, &[HOST.into(), (&text).into()])).map(drop)
    }

    /// Writes down how the API is doing.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_health(&mut self, run: i64, report: &Report) -> Result<(), StoreError> {
        guarded!(self, self.add_sample(run, report))
    }

    async fn add_sample(&mut self, run: i64, report: &Report) -> Result<(), StoreError> {
        let mut both = self.conn.begin().await?;
        let sql =
            "INSERT INTO health_samples (run, at, state, reason, calls, bad, average_ms, p50_ms, p95_ms, p99_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let (now, reason) = (wall::now_text(), report.reason.to_string());
        let args = [
            run.into(),
            (&now).into(),
            report.state.as_str().into(),
            (&reason).into(),
            report.calls.into(),
            report.bad.into(),
            millis(report.average).into(),
            report.p50.map(millis).into(),
            report.p95.map(millis).into(),
            report.p99.map(millis).into(),
        ];
        both.link().execute(sql, &args).await?;
        let sql =
            "DELETE FROM health_samples WHERE id <= (SELECT max(id) FROM health_samples) - $1";
        both.link().execute(sql, &[KEPT.into()]).await?;
        both.commit().await
    }
}

impl Reader {
    /// What [`Store::note_host`] kept last.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn host(&mut self) -> Result<Option<HostRow>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = $1";
        let text = self.conn.link().row(sql, &[HOST.into()], |row| row.text("value")).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The newest samples, at most so many, the newest first; none from a database of before they were written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn health(&mut self, most: u32) -> Result<Vec<HealthRow>, StoreError> {
        let mut link = self.conn.link();
        if !link.has_table("health_samples").await? {
            return Ok(Vec::new());
        }
        let read = |row: &dyn Fields| {
            let state = row.text("state")?;
            Ok(HealthRow {
                at: wall::parse(&row.text("at")?).unwrap_or_default(),
                state: State::ALL
                    .into_iter()
                    .find(|known| known.as_str() == state)
                    .unwrap_or(State::Unknown),
                reason: row.text("reason")?,
                calls: row.count("calls")?,
                bad: row.count("bad")?,
                average_ms: row.count("average_ms")?,
                p50_ms: row.opt_count("p50_ms")?,
                p95_ms: row.opt_count("p95_ms")?,
                p99_ms: row.opt_count("p99_ms")?,
            })
        };
        let sql = "SELECT * FROM health_samples ORDER BY id DESC LIMIT $1";
        link.rows(sql, &[i64::from(most).into()], read).await
    }
}
