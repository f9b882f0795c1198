//! Where circuits stood when they were last seen, and what a person wants of them.
//!
//! A sync writes the one and obeys the other; `pipedrive circuits` does the opposite, also while a sync runs.

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tower_circuit::Snapshot;

use super::{Database, Reader, Store, StoreError, file, has_table, options};
use crate::wall;

impl Store {
    /// The circuits as they were kept. What another version of this program kept in another way is passed over.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn circuits(&mut self) -> Result<Vec<Snapshot>, StoreError> {
        circuits(&mut self.conn).await
    }

    /// Keeps circuits, each in place of what was kept of it before. One that is to be reset is passed over: where it
    /// stood does not count any more.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_circuits(&mut self, snapshots: &[Snapshot]) -> Result<(), StoreError> {
        for snapshot in snapshots {
            let text = serde_json::to_string(snapshot).unwrap_or_default();
            sqlx::query(
                "INSERT INTO circuits (name, at, snapshot)
                 SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM circuit_resets WHERE name = ?1)
                 ON CONFLICT (name) DO UPDATE SET at = ?2, snapshot = ?3",
            )
            .bind(&snapshot.name)
            .bind(wall::now_text())
            .bind(text)
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    /// The circuits that somebody wants to be reset since this was last asked.
    ///
    /// # Errors
    ///
    /// If the database cannot be read or written.
    pub async fn take_resets(&mut self) -> Result<Vec<String>, StoreError> {
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM circuit_resets)")
            .fetch_one(&mut self.conn)
            .await?;
        if !any {
            // Nothing is written, so that nothing has to reach the disk.
            return Ok(Vec::new());
        }
        let taken = sqlx::query_scalar("DELETE FROM circuit_resets RETURNING name");
        Ok(taken.fetch_all(&mut self.conn).await?)
    }
}

impl Reader {
    /// The circuits that are to be reset, which no sync has heard yet.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn resets(&mut self) -> Result<Vec<String>, StoreError> {
        if !has_table(&mut self.conn, "circuit_resets").await? {
            return Ok(Vec::new());
        }
        let names = sqlx::query_scalar("SELECT name FROM circuit_resets ORDER BY name");
        Ok(names.fetch_all(&mut self.conn).await?)
    }

    /// As [`Store::circuits`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn circuits(&mut self) -> Result<Vec<Snapshot>, StoreError> {
        circuits(&mut self.conn).await
    }
}

async fn circuits(conn: &mut SqliteConnection) -> Result<Vec<Snapshot>, StoreError> {
    if !has_table(conn, "circuits").await? {
        return Ok(Vec::new());
    }
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT snapshot FROM circuits ORDER BY name").fetch_all(conn).await?;
    let read = kept.iter().filter_map(|text| serde_json::from_str(text).ok());
    Ok(read.filter(|snapshot: &Snapshot| snapshot.version == Snapshot::VERSION).collect())
}

/// Forgets where circuits stood, all or the one of that name, and tells a sync that runs to reset them. Returns their
/// names.
///
/// # Errors
///
/// If there is no database, or it cannot be written.
pub async fn reset_circuits(
    database: &Database,
    name: Option<&str>,
) -> Result<Vec<String>, StoreError> {
    if matches!(file::look(database)?, file::Found::Nothing) {
        return Err(StoreError::Missing { path: database.path().to_owned() });
    }
    let mut conn = options(database).connect().await?;
    let names: Vec<String> = circuits(&mut conn)
        .await?
        .into_iter()
        .map(|snapshot| snapshot.name)
        .filter(|known| name.is_none_or(|name| name == known))
        .collect();
    for name in &names {
        let mut both = conn.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM circuits WHERE name = ?").bind(name).execute(&mut *both).await?;
        sqlx::query("INSERT OR REPLACE INTO circuit_resets (name, at) VALUES (?, ?)")
            .bind(name)
            .bind(wall::now_text())
            .execute(&mut *both)
            .await?;
        both.commit().await?;
    }
    conn.close().await?;
    Ok(names)
}
