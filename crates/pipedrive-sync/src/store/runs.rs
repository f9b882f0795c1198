//! With which options a run began, for `pipedrive runs` and `resume`; and when each whole list was read last.

use std::collections::BTreeMap;

use sqlx::{Row as _, query};

use super::{Reader, RunRow, Store, StoreError, has_table};

/// A run, and what it was asked to do.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RunRecord {
    /// The run.
    #[serde(flatten)]
    pub run: RunRow,
    /// Its options, as JSON; none of a run of before they were written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
    /// What each walk brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walks: Option<serde_json::Value>,
}

impl Store {
    /// Writes down with which options a run began.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_options(&mut self, run: i64, options: &str) -> Result<(), StoreError> {
        query("UPDATE runs SET options = $1 WHERE id = $2")
            .bind(options)
            .bind(run)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// When the whole list of each entity was read last.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn swept(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = query("SELECT entity, done_at FROM sweeps").fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

impl Reader {
    /// The last runs with what they were asked to do, the newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn run_records(&mut self, most: u32) -> Result<Vec<RunRecord>, StoreError> {
        let runs = self.runs(most).await?;
        // A file that only readers have seen since an older version lacks the column.
        let with_options = has_table(&mut self.conn, "sweeps").await?;
        let mut records = Vec::with_capacity(runs.len());
        for run in runs {
            let sql = if with_options {
                "SELECT report, options FROM runs WHERE id = $1"
            } else {
                "SELECT report, NULL AS options FROM runs WHERE id = $1"
            };
            let row = query(sql).bind(run.id).fetch_one(&mut self.conn).await?;
            let json =
                |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
            let (walks, options) = (json(row.try_get("report")?), json(row.try_get("options")?));
            records.push(RunRecord { run, options, walks });
        }
        Ok(records)
    }

    /// As [`Store::swept`]; nothing from a database of before this was written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn swept(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        if !has_table(&mut self.conn, "sweeps").await? {
            return Ok(BTreeMap::new());
        }
        let rows = query("SELECT entity, done_at FROM sweeps").fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
