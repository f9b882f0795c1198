//! Where circuits stood when they were last seen, and what a person wants of them.
//!
//! A sync writes the one and obeys the other; `pipedrive circuits` does the opposite, also while a sync runs.

use tower_circuit::Snapshot;

use super::{
    Access, Database, Reader, Store, StoreError,
    again::{guarded, repeated},
    beside,
    link::Link,
};
use crate::wall;

impl Store {
    /// The circuits as they were kept. What another version of this program kept in another way is passed over.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn circuits(&mut self) -> Result<Vec<Snapshot>, StoreError> {
        repeated!(self, circuits(self.conn.link()))
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
            let sql = "INSERT INTO circuits (name, at, snapshot)
                 SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM circuit_resets WHERE name = $1)
                 ON CONFLICT (name) DO UPDATE SET at = $2, snapshot = $3";
            let now = wall::now_text();
            let args = [(&snapshot.name).into(), (&now).into(), (&text).into()];
            repeated!(self, self.conn.link().execute(sql, &args))?;
        }
        Ok(())
    }

    /// Forgets where a circuit stood, as one that is none any more.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn forget_circuit(&mut self, name: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM circuits WHERE name = $1";
        repeated!(self, self.conn.link().execute(sql, &[name.into()])).map(drop)
    }

    /// The circuits that somebody wants to be reset since this was last asked.
    ///
    /// # Errors
    ///
    /// If the database cannot be read or written.
    pub async fn take_resets(&mut self) -> Result<Vec<String>, StoreError> {
        guarded!(self, self.take_once())
    }

    async fn take_once(&mut self) -> Result<Vec<String>, StoreError> {
        let mut link = self.conn.link();
        let any = link.row("SELECT name FROM circuit_resets LIMIT 1", &[], |row| row.text("name"));
        if any.await?.is_none() {
            // Nothing is written, so that nothing has to reach the disk.
            return Ok(Vec::new());
        }
        link.rows("DELETE FROM circuit_resets RETURNING name", &[], |row| row.text("name")).await
    }
}

impl Reader {
    /// The circuits that are to be reset, which no sync has heard yet.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn resets(&mut self) -> Result<Vec<String>, StoreError> {
        let mut link = self.conn.link();
        if !link.has_table("circuit_resets").await? {
            return Ok(Vec::new());
        }
        let sql = "SELECT name FROM circuit_resets ORDER BY name";
        link.rows(sql, &[], |row| row.text("name")).await
    }

    /// As [`Store::circuits`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn circuits(&mut self) -> Result<Vec<Snapshot>, StoreError> {
        circuits(self.conn.link()).await
    }
}

async fn circuits(mut link: Link<'_>) -> Result<Vec<Snapshot>, StoreError> {
    if !link.has_table("circuits").await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT snapshot FROM circuits ORDER BY name";
    let kept = link.rows(sql, &[], |row| row.text("snapshot")).await?;
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
    let mut conn = beside(database, Access::Write).await?;
    let names: Vec<String> = circuits(conn.link())
        .await?
        .into_iter()
        .map(|snapshot| snapshot.name)
        .filter(|known| name.is_none_or(|name| name == known))
        .collect();
    for name in &names {
        let mut both = conn.begin().await?;
        both.link().execute("DELETE FROM circuits WHERE name = $1", &[name.into()]).await?;
        let sql = "INSERT INTO circuit_resets (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = $2";
        let now = wall::now_text();
        both.link().execute(sql, &[name.into(), (&now).into()]).await?;
        both.commit().await?;
    }
    conn.close().await?;
    Ok(names)
}
