//! Reading beside a running sync, without its lock.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::AssertSqlSafe;

use super::{
    Access, BudgetRow, Database, Store, StoreError, WalkState,
    again::repeated,
    beside, lease,
    link::{Conn, Fields, Link},
    schema::ENTITIES,
};

/// Rows per entity: present, and known to be deleted.
pub type Counts = BTreeMap<&'static str, (u64, u64)>;

/// One row of `runs`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RunRow {
    /// Number of the run.
    pub id: i64,
    /// What ran.
    pub command: String,
    /// When it began.
    pub started_at: String,
    /// When it ended; none if it is under way or was killed.
    pub ended_at: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// Its last line.
    pub outcome: Option<String>,
}

/// Reads a database; a sync may run beside it.
#[derive(Debug)]
pub struct Reader {
    pub(super) conn: Conn,
}

impl Reader {
    /// Opens a database that is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] if there is none, [`StoreError::Foreign`] or [`StoreError::Newer`] if it is not ours.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        Ok(Self { conn: beside(database, Access::Read).await? })
    }

    /// Where every walk stands.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn walks(&mut self) -> Result<Vec<WalkState>, StoreError> {
        walks(self.conn.link()).await
    }

    /// Rows per entity.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn counts(&mut self) -> Result<Counts, StoreError> {
        counts(self.conn.link()).await
    }

    /// The last runs, newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn runs(&mut self, most: u32) -> Result<Vec<RunRow>, StoreError> {
        let read = |row: &dyn Fields| {
            Ok(RunRow {
                id: row.int("id")?,
                command: row.text("command")?,
                started_at: row.text("started_at")?,
                ended_at: row.opt_text("ended_at")?,
                exit_code: row.opt_int("exit_code")?,
                outcome: row.opt_text("outcome")?,
            })
        };
        let sql = "SELECT * FROM runs ORDER BY id DESC LIMIT $1";
        self.conn.link().rows(sql, &[i64::from(most).into()], read).await
    }

    /// The newest day that was spent from.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn last_budget(&mut self) -> Result<Option<BudgetRow>, StoreError> {
        let sql = "SELECT * FROM budget ORDER BY day DESC LIMIT 1";
        self.conn.link().row(sql, &[], lease::read).await
    }

    /// The company whose data this is.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn company(&mut self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = 'company'";
        self.conn.link().row(sql, &[], |row| row.text("value")).await
    }

    /// Identifier and JSON of every row that is not deleted, numbers first by value, then texts.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub fn rows(
        &mut self,
        entity: &'static str,
    ) -> BoxStream<'_, Result<(String, String), StoreError>> {
        assert!(ENTITIES.contains(&entity), "no table for {entity}");
        let kind = self.conn.link().kind();
        let ((id, order), data) = (kind.id(), kind.data());
        let sql = format!(
            "SELECT {id}, {data} AS data FROM {entity} WHERE NOT is_deleted ORDER BY {order}"
        );
        self.conn.stream(AssertSqlSafe(sql)).map(|row| id_and_data(&*row?)).boxed()
    }

    /// JSON of some rows, chosen at random.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub async fn sample(
        &mut self,
        entity: &'static str,
        most: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        assert!(ENTITIES.contains(&entity), "no table for {entity}");
        let mut link = self.conn.link();
        let ((id, _), data) = (link.kind().id(), link.kind().data());
        let sql = format!(
            "SELECT {id}, {data} AS data FROM {entity} WHERE NOT is_deleted ORDER BY random() LIMIT $1"
        );
        link.rows(AssertSqlSafe(sql), &[i64::from(most).into()], id_and_data).await
    }
}

impl Store {
    /// Where every walk stands.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn walks(&mut self) -> Result<Vec<WalkState>, StoreError> {
        repeated!(self, walks(self.conn.link()))
    }

    /// Rows per entity.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn counts(&mut self) -> Result<Counts, StoreError> {
        repeated!(self, counts(self.conn.link()))
    }
}

fn id_and_data(row: &dyn Fields) -> Result<(String, String), StoreError> {
    Ok((row.id()?, row.text("data")?))
}

async fn walks(mut link: Link<'_>) -> Result<Vec<WalkState>, StoreError> {
    link.rows("SELECT * FROM sync_state ORDER BY walk", &[], WalkState::read).await
}

async fn counts(mut link: Link<'_>) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    for entity in ENTITIES {
        let sql = format!(
            "SELECT count(*) AS held, count(*) FILTER (WHERE is_deleted) AS deleted FROM {entity}"
        );
        let read = |row: &dyn Fields| Ok((row.count("held")?, row.count("deleted")?));
        let (all, deleted) = link.row(AssertSqlSafe(sql), &[], read).await?.unwrap_or_default();
        counts.insert(entity, (all - deleted, deleted));
    }
    Ok(counts)
}
