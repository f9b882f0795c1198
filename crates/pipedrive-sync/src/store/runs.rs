//! With which options a run began, for `pipedrive runs` and `resume`; and when each whole list was read last.

use std::collections::BTreeMap;

use super::{
    Reader, RunRow, Store, StoreError,
    again::repeated,
    link::{Fields, Link},
};

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
        let sql = "UPDATE runs SET options = $1 WHERE id = $2";
        repeated!(self, self.conn.link().execute(sql, &[options.into(), run.into()])).map(drop)
    }

    /// When the whole list of each entity was read last.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn swept(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        repeated!(self, swept(self.conn.link()))
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
        let mut link = self.conn.link();
        // A database that only readers have seen since an older version lacks the column.
        let sql = if link.has_table("sweeps").await? {
            "SELECT id, report, options FROM runs ORDER BY id DESC LIMIT $1"
        } else {
            "SELECT id, report, NULL AS options FROM runs ORDER BY id DESC LIMIT $1"
        };
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        let read = |row: &dyn Fields| {
            Ok((row.int("id")?, (json(row.opt_text("report")?), json(row.opt_text("options")?))))
        };
        let found = link.rows(sql, &[i64::from(most).into()], read).await?;
        let mut found: BTreeMap<i64, _> = found.into_iter().collect();
        let record = |run: RunRow| {
            let (walks, options) = found.remove(&run.id).unwrap_or_default();
            RunRecord { run, options, walks }
        };
        Ok(runs.into_iter().map(record).collect())
    }

    /// As [`Store::swept`]; nothing from a database of before this was written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn swept(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        let mut link = self.conn.link();
        if link.has_table("sweeps").await? { swept(link).await } else { Ok(BTreeMap::new()) }
    }
}

async fn swept(mut link: Link<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    let read = |row: &dyn Fields| Ok((row.text("entity")?, row.text("done_at")?));
    let rows = link.rows("SELECT entity, done_at FROM sweeps", &[], read).await?;
    Ok(rows.into_iter().collect())
}
