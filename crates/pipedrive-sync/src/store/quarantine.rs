//! Rows that could not be used, and walks that failed finally: for `pipedrive failed-items` and `retry-failed`.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;

use super::{
    Id, Mode, PageWrite, Reader, Store, StoreError, WalkState,
    again::repeated,
    link::{Arg, Fields, Link, storable},
    schema::ENTITIES,
};
use crate::wall;

/// So many bytes of a row are kept at most: 64 KiB.
pub const RAW_KEPT: usize = 64 * 1024;

/// A row of a page that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectWrite<'a> {
    /// What tells it apart from the others of its kind: its identifier, or a hash of its bytes.
    pub item: String,
    /// Its identifier, where that much could be read.
    pub id: Option<Id<'a>>,
    /// Where the page was asked for.
    pub position: String,
    /// Its place on the page; 0 is the first.
    pub place: usize,
    /// Why it could not be used, as [`RowFault::name`](pipedrive_service::RowFault::name) has it.
    pub reason: &'a str,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// A row that could not be used, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct QuarantineRow {
    /// The entity.
    pub entity: String,
    /// What tells it apart: its identifier, or `#` and a hash of its bytes.
    pub item: String,
    /// Its identifier, where that much could be read; then it can be asked for again.
    pub row_id: Option<String>,
    /// Where the page was asked for.
    pub position: String,
    /// Its place on the page; 0 is the first.
    pub place: u64,
    /// Why it could not be used, such as `wrong_id`.
    pub reason: String,
    /// Its bytes, at most [`RAW_KEPT`]; those that are no UTF-8 as `\xNN`.
    pub raw: String,
    /// How many bytes it had.
    pub raw_bytes: u64,
    /// What was done to `raw`: `escaped`, `cut`, or both; none if it is as it came.
    pub note: Option<String>,
    /// When it was seen last.
    pub at: String,
    /// The run whose walk has seen it last.
    pub run: i64,
}

/// A walk that failed finally.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FailedWalk {
    /// Its name.
    pub walk: String,
    /// Its entity.
    pub entity: String,
    /// What kind of failure it was, such as `server` or `auth`.
    pub category: String,
    /// The line for people.
    pub reason: String,
    /// When.
    pub at: String,
    /// In which run.
    pub run: i64,
}

/// What is quarantined, by entity.
pub type Quarantined = BTreeMap<String, BTreeSet<String>>;

/// Bytes as a text, and what was done to them.
fn shown(raw: &[u8]) -> (String, Option<&'static str>) {
    let cut = raw.len() > RAW_KEPT;
    let mut text = String::with_capacity(raw.len().min(RAW_KEPT));
    let mut escaped = false;
    for chunk in raw[..raw.len().min(RAW_KEPT)].utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push_str(&chunk.invalid().escape_ascii().to_string());
            escaped = true;
        }
    }
    let note = match (escaped, cut) {
        (false, false) => None,
        (true, false) => Some("escaped"),
        (false, true) => Some("cut"),
        (true, true) => Some("escaped, cut"),
    };
    (text, note)
}

/// Writes what a page has brought that could not be used, and forgets what it has healed.
pub(super) async fn note(mut link: Link<'_>, page: &PageWrite<'_>) -> Result<(), StoreError> {
    let entity = &page.state.entity;
    for item in page.healed {
        let sql = "DELETE FROM quarantine WHERE entity = $1 AND item = $2";
        link.execute(sql, &[entity.into(), item.into()]).await?;
    }
    for row in page.rejected {
        reject(&mut link, page.state, row).await?;
    }
    if page.finish.is_some() {
        let sql = "DELETE FROM failed_walks WHERE walk = $1";
        link.execute(sql, &[(&page.state.walk).into()]).await?;
        if page.state.mode == Mode::Full {
            // What a whole list shows no longer needs no healing.
            let sql = "DELETE FROM quarantine WHERE entity = $1 AND run <> $2";
            link.execute(sql, &[entity.into(), page.state.run.into()]).await?;
        }
    }
    Ok(())
}

async fn reject(
    link: &mut Link<'_>,
    state: &WalkState,
    row: &RejectWrite<'_>,
) -> Result<(), StoreError> {
    let (raw, note) = shown(row.raw);
    let row_id = row.id.map(|id| match id {
        Id::Number(number) => number.to_string(),
        Id::Text(text) => storable(text).into_owned(),
    });
    let (item, raw, now) = (storable(&row.item), storable(&raw), wall::now_text());
    let sql = "INSERT INTO quarantine
           (entity, item, row_id, position, place, reason, raw, raw_bytes, note, at, run)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (entity, item) DO UPDATE SET row_id = excluded.row_id, position = excluded.position,
           place = excluded.place, reason = excluded.reason, raw = excluded.raw, raw_bytes = excluded.raw_bytes,
           note = excluded.note, at = excluded.at, run = excluded.run";
    let args = [
        Arg::from(&state.entity),
        Arg::Text(&item),
        (&row_id).into(),
        (&row.position).into(),
        (row.place as u64).into(),
        row.reason.into(),
        Arg::Text(&raw),
        (row.raw.len() as u64).into(),
        note.into(),
        (&now).into(),
        state.run.into(),
    ];
    link.execute(sql, &args).await?;
    // The account has it still, so what is held of it from before must outlive the end of a full walk.
    if let Some(id) = row.id {
        let is = link.kind().id_is(id, 2);
        let sql = format!("UPDATE {} SET run = $1 WHERE {is}", state.entity);
        link.execute(AssertSqlSafe(sql), &[state.run.into(), id.into()]).await?;
    }
    Ok(())
}

impl Store {
    /// What is quarantined.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn quarantined(&mut self) -> Result<Quarantined, StoreError> {
        let read = |row: &dyn Fields| Ok((row.text("entity")?, row.text("item")?));
        let sql = "SELECT entity, item FROM quarantine";
        let rows = repeated!(self, self.conn.link().rows(sql, &[], read))?;
        let mut found = Quarantined::new();
        for (entity, item) in rows {
            found.entry(entity).or_default().insert(item);
        }
        Ok(found)
    }

    /// Forgets a quarantined row that the account has no longer, and what is held of it from before.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub async fn forget_quarantined(
        &mut self,
        entity: &str,
        item: &str,
        id: Id<'_>,
    ) -> Result<(), StoreError> {
        assert!(ENTITIES.contains(&entity), "no table for {entity}");
        repeated!(self, self.forget_once(entity, item, id))
    }

    async fn forget_once(
        &mut self,
        entity: &str,
        item: &str,
        id: Id<'_>,
    ) -> Result<(), StoreError> {
        let mut both = self.conn.begin().await?;
        let sql = "DELETE FROM quarantine WHERE entity = $1 AND item = $2";
        both.link().execute(sql, &[entity.into(), item.into()]).await?;
        let is = both.link().kind().id_is(id, 1);
        let sql = format!("DELETE FROM {entity} WHERE {is}");
        both.link().execute(AssertSqlSafe(sql), &[id.into()]).await?;
        both.commit().await
    }

    /// Writes down a walk that failed finally. It is forgotten when a walk of that name is complete.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_failed_walk(&mut self, failed: &FailedWalk) -> Result<(), StoreError> {
        let sql = "INSERT INTO failed_walks (walk, entity, category, reason, at, run)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (walk) DO UPDATE SET entity = excluded.entity, category = excluded.category,
               reason = excluded.reason, at = excluded.at, run = excluded.run";
        let args = [
            Arg::from(&failed.walk),
            (&failed.entity).into(),
            (&failed.category).into(),
            (&failed.reason).into(),
            (&failed.at).into(),
            failed.run.into(),
        ];
        repeated!(self, self.conn.link().execute(sql, &args)).map(drop)
    }
}

impl Reader {
    /// Rows that could not be used, by entity; nothing from a database of before this was written down.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn quarantine(&mut self) -> Result<Vec<QuarantineRow>, StoreError> {
        let mut link = self.conn.link();
        if !link.has_table("quarantine").await? {
            return Ok(Vec::new());
        }
        let read = |row: &dyn Fields| {
            Ok(QuarantineRow {
                entity: row.text("entity")?,
                item: row.text("item")?,
                row_id: row.opt_text("row_id")?,
                position: row.text("position")?,
                place: row.count("place")?,
                reason: row.text("reason")?,
                raw: row.text("raw")?,
                raw_bytes: row.count("raw_bytes")?,
                note: row.opt_text("note")?,
                at: row.text("at")?,
                run: row.int("run")?,
            })
        };
        link.rows("SELECT * FROM quarantine ORDER BY entity, item", &[], read).await
    }

    /// Walks that failed finally and were not complete since.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn failed_walks(&mut self) -> Result<Vec<FailedWalk>, StoreError> {
        let mut link = self.conn.link();
        if !link.has_table("failed_walks").await? {
            return Ok(Vec::new());
        }
        let read = |row: &dyn Fields| {
            Ok(FailedWalk {
                walk: row.text("walk")?,
                entity: row.text("entity")?,
                category: row.text("category")?,
                reason: row.text("reason")?,
                at: row.text("at")?,
                run: row.int("run")?,
            })
        };
        link.rows("SELECT * FROM failed_walks ORDER BY walk", &[], read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_as_they_came_as_far_as_a_text_can_hold_them() {
        assert_eq!(shown("{\"a\":\"ä\"}".as_bytes()), ("{\"a\":\"ä\"}".to_owned(), None));
        assert_eq!(shown(b"a\xff\xe2\x82b"), (r"a\xff\xe2\x82b".to_owned(), Some("escaped")));
        let (text, note) = shown(&vec![b'x'; RAW_KEPT + 1]);
        assert_eq!((text.len(), note), (RAW_KEPT, Some("cut")));
    }
}
