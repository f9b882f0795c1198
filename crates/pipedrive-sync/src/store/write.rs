//! What a sync writes: runs, walks, and pages, each page with its cursor in one transaction.

use pipedrive_service::RowId;
use sqlx::AssertSqlSafe;

use super::{
    Mode, RejectWrite, Store, StoreError, WalkState,
    again::{self, guarded, marked, repeated},
    gone,
    link::{Arg, Link},
    quarantine, seen, state, upsert,
};
use crate::wall;

/// An identifier of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'a> {
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a str),
}

impl<'a> From<&'a RowId> for Id<'a> {
    fn from(id: &'a RowId) -> Self {
        match id {
            RowId::Number(number) => Self::Number(*number),
            RowId::Text(text) => Self::Text(text),
        }
    }
}

/// One row of a page.
#[derive(Clone, Copy, Debug)]
pub struct RowWrite<'a> {
    /// The identifier.
    pub id: Id<'a>,
    /// When it last changed, as the API wrote it.
    pub update_time: Option<&'a str>,
    /// The row's JSON as it came.
    pub data: &'a str,
}

/// The end of a walk.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Up to where every change has now been seen.
    pub high_water: Option<String>,
}

/// One page, and where the walk stands after it.
#[derive(Debug)]
pub struct PageWrite<'a> {
    /// The walk, as it stood before the page.
    pub state: &'a WalkState,
    /// The page's rows.
    pub rows: &'a [RowWrite<'a>],
    /// Rows of the page that could not be used.
    pub rejected: &'a [RejectWrite<'a>],
    /// Quarantined items that the page's rows have healed.
    pub healed: &'a [String],
    /// Rows of any entity of which the page says that they are deleted.
    pub gone: &'a [(&'static str, Id<'a>)],
    /// Whether the list shows deleted rows.
    pub deleted: bool,
    /// Where to go on, as `Position` writes itself; none after the last page.
    pub position: Option<String>,
    /// The newest update time seen in this walk, this page included.
    pub max_seen: Option<String>,
    /// Rows asked for per page.
    pub page_size: Option<u32>,
    /// Set when this was the last page.
    pub finish: Option<Finish>,
    /// Walks of others that begin with it, as [`Store::begin_walks`] notes them.
    pub begun: &'a [&'a WalkState],
}

impl<'a> PageWrite<'a> {
    /// A page with nothing on it, to which what there is is added. It is the last, and does not end the walk.
    #[must_use]
    pub const fn of(state: &'a WalkState) -> Self {
        Self {
            state,
            rows: &[],
            rejected: &[],
            healed: &[],
            gone: &[],
            deleted: false,
            position: None,
            max_seen: None,
            page_size: None,
            finish: None,
            begun: &[],
        }
    }
}

/// What became of a page that was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that were held as they came, and were not written again.
    pub unchanged: u64,
    /// Rows that were removed, or marked as deleted.
    pub removed: u64,
}

/// What the day has cost by the time of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The day, in the budget's own time zone.
    pub day: String,
    /// Tokens spent.
    pub used: u64,
    /// What the lease falls to, where far more was leased than spent. Must be granted before.
    pub leased: Option<u64>,
    /// The day's budget.
    pub limit: u64,
}

impl Store {
    /// Notes the start of a run and gives its number.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn begin_run(&mut self, command: &str) -> Result<i64, StoreError> {
        let sql = "INSERT INTO runs (command, started_at) VALUES ($1, $2) RETURNING id";
        let now = wall::now_text();
        let args = [command.into(), (&now).into()];
        // The number tells a run from others, so this is not done again on another connection.
        let run = guarded!(self, self.conn.link().row(sql, &args, |row| row.int("id")))?;
        self.thread.run = run;
        run.ok_or_else(|| StoreError::Content { what: "a run", detail: "it has no number".into() })
    }

    /// Notes the end of a run.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn end_run(
        &mut self,
        run: i64,
        code: u8,
        outcome: &str,
        report: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE runs SET ended_at = $1, exit_code = $2, outcome = $3, report = $4 WHERE id = $5";
        let (at, code) = (wall::now_text(), i64::from(code));
        let args = [(&at).into(), code.into(), outcome.into(), report.into(), run.into()];
        repeated!(self, self.conn.link().execute(sql, &args)).map(drop)
    }

    /// Binds the database to a company, or checks that it is the same as before.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherCompany`] if the database holds another's data.
    pub async fn claim(&mut self, company: &str) -> Result<(), StoreError> {
        repeated!(self, self.claim_once(company))
    }

    async fn claim_once(&mut self, company: &str) -> Result<(), StoreError> {
        let mut link = self.conn.link();
        let sql = "SELECT value FROM meta WHERE key = 'company'";
        let held = link.row(sql, &[], |row| row.text("value")).await?;
        match held {
            Some(held) if held == company => Ok(()),
            Some(held) => Err(StoreError::OtherCompany {
                database: self.database.clone(),
                held,
                given: company.to_owned(),
            }),
            None => {
                let sql = "INSERT INTO meta (key, value) VALUES ('company', $1)";
                link.execute(sql, &[company.into()]).await?;
                Ok(())
            }
        }
    }

    /// Notes that walks begin, in place of what was known of the walks before. All begin, or none does.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn begin_walks<'a>(
        &mut self,
        walks: impl IntoIterator<Item = &'a WalkState>,
    ) -> Result<(), StoreError> {
        let walks: Vec<_> = walks.into_iter().collect();
        repeated!(self, self.begin_all(&walks))
    }

    async fn begin_all(&mut self, walks: &[&WalkState]) -> Result<(), StoreError> {
        let mut tx = self.conn.begin().await?;
        for state in walks {
            state::begin(tx.link(), state).await?;
        }
        tx.commit().await
    }

    /// Writes pages and what they cost in one transaction: for each page its rows, the position after
    /// it and its page size; at the end of a full walk also the removal of what was not seen. A row that is held as it
    /// came is left alone.
    ///
    /// Gives for each page how many rows were unchanged and how many were removed. All is written, or nothing is.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn commit(
        &mut self,
        pages: &[PageWrite<'_>],
        settled: Option<&Settled>,
    ) -> Result<Vec<Written>, StoreError> {
        let mut all = Vec::with_capacity(pages.len());
        marked!(self, |mark| self.write(pages, settled, &mark, &mut all));
        if pages.iter().any(|page| page.state.entity.ends_with("_fields")) {
            self.follow_definitions().await;
        }
        Ok(all)
    }

    async fn write(
        &mut self,
        pages: &[PageWrite<'_>],
        settled: Option<&Settled>,
        mark: &str,
        all: &mut Vec<Written>,
    ) -> Result<(), StoreError> {
        all.clear();
        let mut tx = self.conn.begin().await?;
        for page in pages {
            let written = upsert::write(&mut tx.link(), page).await?;
            let unchanged = (page.rows.len() as u64).saturating_sub(written);
            if unchanged > 0 || !page.healed.is_empty() {
                seen::note(tx.link(), page).await?;
            }
            one_home(tx.link(), page).await?;
            quarantine::note(tx.link(), page).await?;
            let gone = gone::mark(tx.link(), page).await?;
            let removed = gone + advance(tx.link(), page).await?;
            for state in page.begun {
                state::begin(tx.link(), state).await?;
            }
            all.push(Written { unchanged, removed });
        }
        if let Some(settled) = settled {
            settle(tx.link(), settled).await?;
        }
        again::leave(tx.link(), mark).await?;
        tx.commit().await
    }
}

/// A deal is either archived or not. Walks over what has changed take turns, so what is seen last is true whatever its
/// update time says, which may lie before that of an older state. Walks over whole lists do not: the newer state stays and
/// the older one goes, and what has changed meanwhile is asked for again.
async fn one_home(mut link: Link<'_>, page: &PageWrite<'_>) -> Result<(), StoreError> {
    let table = page.state.entity.as_str();
    let other = match table {
        "deals" => "archived_deals",
        "archived_deals" => "deals",
        _ => return Ok(()),
    };
    let ids: Vec<i64> = page
        .rows
        .iter()
        .filter_map(|row| if let Id::Number(id) = row.id { Some(id) } else { None })
        .collect();
    let among = link.kind().id_in(1);
    if page.state.mode == Mode::Incremental {
        let sql = format!("DELETE FROM {other} WHERE {among}");
        link.execute(AssertSqlSafe(sql), &[Arg::Ids(&ids)]).await?;
        return Ok(());
    }
    for (older, newer, when) in [(other, table, "<="), (table, other, "<")] {
        let sql = format!(
            "DELETE FROM {older} WHERE {among}
               AND EXISTS (SELECT 1 FROM {newer} AS n WHERE n.id = {older}.id AND {older}.update_time {when} n.update_time)"
        );
        link.execute(AssertSqlSafe(sql), &[Arg::Ids(&ids)]).await?;
    }
    Ok(())
}

async fn advance(mut link: Link<'_>, page: &PageWrite<'_>) -> Result<u64, StoreError> {
    let mut removed = 0;
    if page.finish.is_some() && page.state.mode == Mode::Full {
        removed = seen::remove_others(link.again(), page.state).await?;
        let sql = "INSERT INTO sweeps (entity, done_at) VALUES ($1, $2)
             ON CONFLICT (entity) DO UPDATE SET done_at = excluded.done_at";
        let now = wall::now_text();
        link.execute(sql, &[Arg::from(&page.state.entity), (&now).into()]).await?;
    }
    let done_at = page.finish.as_ref().map(|_| wall::now_text());
    let sql =
        "UPDATE sync_state SET position = $2, max_seen = $3, page_size = coalesce($4, page_size),
           pages = pages + 1, rows = rows + $5, done_at = $6,
           last_done = coalesce($6, last_done), high_water = coalesce($7, high_water)
         WHERE walk = $1";
    let args = [
        Arg::from(&page.state.walk),
        (&page.position).into(),
        (&page.max_seen).into(),
        page.page_size.map(u64::from).into(),
        (page.rows.len() as u64).into(),
        (&done_at).into(),
        page.finish.as_ref().and_then(|finish| finish.high_water.as_deref()).into(),
    ];
    link.execute(sql, &args).await?;
    Ok(removed)
}

async fn settle(mut link: Link<'_>, settled: &Settled) -> Result<(), StoreError> {
    let sql = "INSERT INTO budget (day, leased, settled, day_limit, updated_at)
         VALUES ($1, coalesce($3, $2), $2, $4, $5)
         ON CONFLICT (day) DO UPDATE SET settled = $2, leased = coalesce($3, budget.leased), day_limit = $4,
           updated_at = $5";
    let now = wall::now_text();
    let args = [
        Arg::from(&settled.day),
        settled.used.into(),
        settled.leased.into(),
        settled.limit.into(),
        (&now).into(),
    ];
    link.execute(sql, &args).await?;
    Ok(())
}
