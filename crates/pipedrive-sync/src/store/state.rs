//! Where a walk stands.

use super::{
    StoreError,
    link::{Arg, Fields, Link},
    seen,
};

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
    /// A walk at its beginning: it has seen nothing, and nothing is known of walks of its name before it. `started_at` is
    /// when it begins, as [`wall::text`](crate::wall::text) writes a time.
    #[must_use]
    pub fn begun(
        walk: impl Into<String>,
        entity: impl Into<String>,
        mode: Mode,
        started_at: impl Into<String>,
        run: i64,
    ) -> Self {
        Self {
            walk: walk.into(),
            entity: entity.into(),
            mode,
            position: None,
            since: None,
            started_at: started_at.into(),
            max_seen: None,
            high_water: None,
            page_size: None,
            pages: 0,
            rows: 0,
            done_at: None,
            last_done: None,
            run,
        }
    }

    pub(super) fn read(row: &dyn Fields) -> Result<Self, StoreError> {
        Ok(Self {
            walk: row.text("walk")?,
            entity: row.text("entity")?,
            mode: if row.text("mode")? == "full" { Mode::Full } else { Mode::Incremental },
            position: row.opt_text("position")?,
            since: row.opt_text("since")?,
            started_at: row.text("started_at")?,
            max_seen: row.opt_text("max_seen")?,
            high_water: row.opt_text("high_water")?,
            page_size: row.opt_int("page_size")?.and_then(|size| u32::try_from(size).ok()),
            pages: row.count("pages")?,
            rows: row.count("rows")?,
            done_at: row.opt_text("done_at")?,
            last_done: row.opt_text("last_done")?,
            run: row.int("run")?,
        })
    }
}

/// Notes that a walk begins, in place of what was known of the one before.
pub(super) async fn begin(mut link: Link<'_>, state: &WalkState) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO sync_state (walk, entity, mode, position, since, started_at, high_water, run)
         VALUES ($1, $2, $3, NULL, $4, $5, $6, $7)
         ON CONFLICT (walk) DO UPDATE SET mode = $3, position = NULL, since = $4, started_at = $5,
           max_seen = NULL, high_water = $6, pages = 0, rows = 0, done_at = NULL, run = $7";
    let args = [
        Arg::from(&state.walk),
        (&state.entity).into(),
        state.mode.name().into(),
        (&state.since).into(),
        (&state.started_at).into(),
        (&state.high_water).into(),
        state.run.into(),
    ];
    link.execute(sql, &args).await?;
    if state.mode == Mode::Full {
        seen::forget(link, &state.entity).await?;
    }
    Ok(())
}
