//! Reading beside a running sync, without its lock.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
};

use super::{
    BudgetRow, Database, Store, StoreError, WalkState, file, lease, options, schema::ENTITIES,
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
    pub(super) conn: SqliteConnection,
}

impl Reader {
    /// Opens a database that is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] if there is none, [`StoreError::Foreign`] or [`StoreError::Newer`] if it is not ours.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        match file::look(database)? {
            file::Found::Ours { .. } => {}
            file::Found::Nothing => {
                return Err(StoreError::Missing { path: database.path().to_owned() });
            }
        }
        Ok(Self { conn: options(database).read_only(true).connect().await? })
    }

    /// Where every walk stands.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn walks(&mut self) -> Result<Vec<WalkState>, StoreError> {
        walks(&mut self.conn).await
    }

    /// Rows per entity.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn counts(&mut self) -> Result<Counts, StoreError> {
        counts(&mut self.conn).await
    }

    /// The last runs, newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn runs(&mut self, most: u32) -> Result<Vec<RunRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM runs ORDER BY id DESC LIMIT ?")
            .bind(most)
            .fetch_all(&mut self.conn)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RunRow {
                    id: row.try_get("id")?,
                    command: row.try_get("command")?,
                    started_at: row.try_get("started_at")?,
                    ended_at: row.try_get("ended_at")?,
                    exit_code: row.try_get("exit_code")?,
                    outcome: row.try_get("outcome")?,
                })
            })
            .collect()
    }

    /// The newest day that was spent from.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn last_budget(&mut self) -> Result<Option<BudgetRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM budget ORDER BY day DESC LIMIT 1")
            .fetch_optional(&mut self.conn)
            .await?;
        row.as_ref().map(lease::read).transpose()
    }

    /// The company whose data this is.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn company(&mut self) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT value FROM meta WHERE key = 'company'")
            .fetch_optional(&mut self.conn)
            .await?)
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
        let sql = format!("SELECT id, data FROM {entity} WHERE is_deleted = 0 ORDER BY id");
        sqlx::query(AssertSqlSafe(sql))
            .fetch(&mut self.conn)
            .map(|row| {
                let row = row?;
                Ok((id(&row)?, row.try_get(1)?))
            })
            .boxed()
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
        let sql =
            format!("SELECT id, data FROM {entity} WHERE is_deleted = 0 ORDER BY random() LIMIT ?");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(most).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| Ok((id(row)?, row.try_get(1)?))).collect()
    }
}

impl Store {
    /// Where every walk stands.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn walks(&mut self) -> Result<Vec<WalkState>, StoreError> {
        walks(&mut self.conn).await
    }

    /// Rows per entity.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn counts(&mut self) -> Result<Counts, StoreError> {
        counts(&mut self.conn).await
    }
}

fn id(row: &sqlx::sqlite::SqliteRow) -> Result<String, StoreError> {
    let value = row.try_get_raw(0)?;
    if value.type_info().name() == "INTEGER" {
        return Ok(row.try_get_unchecked::<i64, _>(0)?.to_string());
    }
    Ok(row.try_get_unchecked(0)?)
}

async fn walks(conn: &mut SqliteConnection) -> Result<Vec<WalkState>, StoreError> {
    let rows = sqlx::query("SELECT * FROM sync_state ORDER BY walk").fetch_all(conn).await?;
    rows.iter().map(WalkState::read).collect()
}

async fn counts(conn: &mut SqliteConnection) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    for entity in ENTITIES {
        let sql = format!("SELECT count(*), coalesce(sum(is_deleted), 0) FROM {entity}");
        let (all, deleted): (i64, i64) =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *conn).await?;
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        counts.insert(entity, (count(all - deleted), count(deleted)));
    }
    Ok(counts)
}
