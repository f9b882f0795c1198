//! Where a walk stands.

use sqlx::{Row as _, sqlite::SqliteRow};

use super::StoreError;

/// Whether a walk reads everything or what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every row; rows that the list no longer shows are removed at the end.
    Full,
    /// Rows changed since the high water of the walk before.
    Incremental,
}

impl Mode {
    /// As written in the database: `full` or `incremental`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// One row of `sync_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkState {
    /// Name of the walk: the entity's, or `deals:deleted`.
    pub walk: String,
    /// Table that its rows go to.
    pub entity: String,
    /// What it reads.
    pub mode: Mode,
    /// Where to go on, as `Position` writes itself; none at the start of the list.
    pub position: Option<String>,
    /// `updated_since` of an incremental walk.
    pub since: Option<String>,
    /// When the walk began, by our clock.
    pub started_at: String,
    /// The newest update time among the rows of this walk.
    pub max_seen: Option<String>,
    /// Up to where the last complete walk has seen every change.
    pub high_water: Option<String>,
    /// Rows asked for per page when last committed.
    pub page_size: Option<u32>,
    /// Pages committed in this walk.
    pub pages: u64,
    /// Rows committed in this walk.
    pub rows: u64,
    /// When the walk was complete; none while it is under way.
    pub done_at: Option<String>,
    /// When a walk of this name was complete last, be it this one or one before.
    pub last_done: Option<String>,
    /// The run in which the walk began; the rows it has seen bear this number.
    pub run: i64,
}

impl WalkState {
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let mode: String = row.try_get("mode")?;
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(Self {
            walk: row.try_get("walk")?,
            entity: row.try_get("entity")?,
            mode: if mode == "full" { Mode::Full } else { Mode::Incremental },
            position: row.try_get("position")?,
            since: row.try_get("since")?,
            started_at: row.try_get("started_at")?,
            max_seen: row.try_get("max_seen")?,
            high_water: row.try_get("high_water")?,
            page_size: row
                .try_get::<Option<i64>, _>("page_size")?
                .and_then(|size| u32::try_from(size).ok()),
            pages: count(row.try_get("pages")?),
            rows: count(row.try_get("rows")?),
            done_at: row.try_get("done_at")?,
            last_done: row.try_get("last_done")?,
            run: row.try_get("run")?,
        })
    }
}
