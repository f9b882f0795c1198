//! What a sync writes: runs, walks, and pages, each page with its cursor in one transaction.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, query};

use super::{Mode, RejectWrite, Store, StoreError, WalkState, gone, quarantine};
use crate::wall;

/// Rows per statement: below SQLite's limit of variables, above every page of the API.
const ROWS_PER_STATEMENT: usize = 500;

/// An identifier of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id<'a> {
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a str),
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
        let done = query("INSERT INTO runs (command, started_at) VALUES (?, ?)")
            .bind(command)
            .bind(wall::now_text())
            .execute(&mut self.conn)
            .await?;
        Ok(done.last_insert_rowid())
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
        query("UPDATE runs SET ended_at = ?, exit_code = ?, outcome = ?, report = ? WHERE id = ?")
            .bind(wall::now_text())
            .bind(i64::from(code))
            .bind(outcome)
            .bind(report)
            .bind(run)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Binds the database to a company, or checks that it is the same as before.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherCompany`] if the database holds another's data.
    pub async fn claim(&mut self, company: &str) -> Result<(), StoreError> {
        let held: Option<String> =
            sqlx::query_scalar("SELECT value FROM meta WHERE key = 'company'")
                .fetch_optional(&mut self.conn)
                .await?;
        match held {
            Some(held) if held == company => Ok(()),
            Some(held) => Err(StoreError::OtherCompany {
                path: self.database.path().to_owned(),
                held,
                given: company.to_owned(),
            }),
            None => {
                query("INSERT INTO meta (key, value) VALUES ('company', ?)")
                    .bind(company)
                    .execute(&mut self.conn)
                    .await?;
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
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        for state in walks {
            query(
                "INSERT INTO sync_state (walk, entity, mode, position, since, started_at, high_water, run)
                 VALUES (?1, ?2, ?3, NULL, ?4, ?5, ?6, ?7)
                 ON CONFLICT (walk) DO UPDATE SET mode = ?3, position = NULL, since = ?4, started_at = ?5,
                   max_seen = NULL, high_water = ?6, pages = 0, rows = 0, done_at = NULL, run = ?7",
            )
            .bind(&state.walk)
            .bind(&state.entity)
            .bind(state.mode.name())
            .bind(&state.since)
            .bind(&state.started_at)
            .bind(&state.high_water)
            .bind(state.run)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes pages and what they cost in one transaction: for each page its rows, the position after
    /// it and its page size; at the end of a full walk also the removal of what was not seen.
    ///
    /// Gives for each page how many rows were removed. All is written, or nothing is.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn commit(
        &mut self,
        pages: &[PageWrite<'_>],
        settled: Option<&Settled>,
    ) -> Result<Vec<u64>, StoreError> {
        let mut removed = Vec::with_capacity(pages.len());
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        for page in pages {
            for rows in page.rows.chunks(ROWS_PER_STATEMENT) {
                upsert(&mut tx, page, rows).await?;
            }
            one_home(&mut tx, page).await?;
            quarantine::note(&mut tx, page).await?;
            let gone = gone::mark(&mut tx, page).await?;
            removed.push(gone + advance(&mut tx, page).await?);
        }
        if let Some(settled) = settled {
            settle(&mut tx, settled).await?;
        }
        tx.commit().await?;
        Ok(removed)
    }
}

async fn upsert(
    conn: &mut SqliteConnection,
    page: &PageWrite<'_>,
    rows: &[RowWrite<'_>],
) -> Result<(), StoreError> {
    let table = &page.state.entity;
    let mut sql = format!("INSERT INTO {table} (id, update_time, is_deleted, data, run) VALUES ");
    for index in 0..rows.len() {
        sql.push_str(if index == 0 { "(?,?,?,?,?)" } else { ",(?,?,?,?,?)" });
    }
    sql.push_str(
        " ON CONFLICT (id) DO UPDATE SET update_time = excluded.update_time, is_deleted = excluded.is_deleted,
          data = excluded.data, run = excluded.run",
    );
    let mut statement = query(AssertSqlSafe(sql)).persistent(rows.len() == ROWS_PER_STATEMENT);
    for row in rows {
        statement = match row.id {
            Id::Number(number) => statement.bind(number),
            Id::Text(text) => statement.bind(text),
        };
        statement =
            statement.bind(row.update_time).bind(page.deleted).bind(row.data).bind(page.state.run);
    }
    statement.execute(conn).await?;
    Ok(())
}

/// A deal is either archived or not. Walks over what has changed take turns, so what is seen last is true whatever its
/// update time says, which may lie before that of an older state. Walks over whole lists do not: the newer state stays and
/// the older one goes, and what has changed meanwhile is asked for again.
async fn one_home(conn: &mut SqliteConnection, page: &PageWrite<'_>) -> Result<(), StoreError> {
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
    let ids = serde_json::to_string(&ids).expect("numbers are JSON");
    if page.state.mode == Mode::Incremental {
        let sql = format!("DELETE FROM {other} WHERE id IN (SELECT value FROM json_each(?))");
        query(AssertSqlSafe(sql)).bind(&ids).execute(&mut *conn).await?;
        return Ok(());
    }
    for (older, newer, when) in [(other, table, "<="), (table, other, "<")] {
        let sql = format!(
            "DELETE FROM {older} WHERE id IN (SELECT value FROM json_each(?))
               AND EXISTS (SELECT 1 FROM {newer} AS n WHERE n.id = {older}.id AND {older}.update_time {when} n.update_time)"
        );
        query(AssertSqlSafe(sql)).bind(&ids).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn advance(conn: &mut SqliteConnection, page: &PageWrite<'_>) -> Result<u64, StoreError> {
    let mut removed = 0;
    if page.finish.is_some() && page.state.mode == Mode::Full {
        let sql = format!("DELETE FROM {} WHERE run <> ?", page.state.entity);
        removed = query(AssertSqlSafe(sql))
            .bind(page.state.run)
            .execute(&mut *conn)
            .await?
            .rows_affected();
        query(
            "INSERT INTO sweeps (entity, done_at) VALUES ($1, $2)
             ON CONFLICT (entity) DO UPDATE SET done_at = excluded.done_at",
        )
        .bind(&page.state.entity)
        .bind(wall::now_text())
        .execute(&mut *conn)
        .await?;
    }
    query(
        "UPDATE sync_state SET position = ?2, max_seen = ?3, page_size = coalesce(?4, page_size),
           pages = pages + 1, rows = rows + ?5, done_at = ?6,
           last_done = coalesce(?6, last_done), high_water = coalesce(?7, high_water)
         WHERE walk = ?1",
    )
    .bind(&page.state.walk)
    .bind(&page.position)
    .bind(&page.max_seen)
    .bind(page.page_size)
    .bind(i64::try_from(page.rows.len()).unwrap_or(i64::MAX))
    .bind(page.finish.as_ref().map(|_| wall::now_text()))
    .bind(page.finish.as_ref().and_then(|finish| finish.high_water.as_deref()))
    .execute(conn)
    .await?;
    Ok(removed)
}

async fn settle(conn: &mut SqliteConnection, settled: &Settled) -> Result<(), StoreError> {
    let number = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    query(
        "INSERT INTO budget (day, leased, settled, day_limit, updated_at) VALUES (?1, coalesce(?3, ?2), ?2, ?4, ?5)
         ON CONFLICT (day) DO UPDATE SET settled = ?2, leased = coalesce(?3, leased), day_limit = ?4, updated_at = ?5",
    )
    .bind(&settled.day)
    .bind(number(settled.used))
    .bind(settled.leased.map(number))
    .bind(number(settled.limit))
    .bind(wall::now_text())
    .execute(conn)
    .await?;
    Ok(())
}
