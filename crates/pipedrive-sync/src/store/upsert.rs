//! The rows of a page, several to a statement: the hot path of a sync.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection, query};

use super::{
    Id, PageWrite, RowWrite, StoreError,
    link::{Link, storable},
};

/// Rows per statement: below SQLite's limit of variables, above every page of the API.
const ROWS_PER_STATEMENT: usize = 500;

/// Writes a page's rows, in their order: of two with one identifier the later one counts. Says how many rows were
/// written; one that is held as it came is not.
pub(super) async fn write(link: &mut Link<'_>, page: &PageWrite<'_>) -> Result<u64, StoreError> {
    let mut written = 0;
    match link {
        Link::Sqlite(conn) => {
            for rows in page.rows.chunks(ROWS_PER_STATEMENT) {
                written += sqlite(conn, page, rows).await?;
            }
        }
        Link::Postgres(conn) => written = postgres(conn, page).await?,
    }
    Ok(written)
}

/// What happens to a row that is there: what a list shows last is true, whatever its update time says. One that is the
/// same is not written, not even with the number of the run: see [`seen`](super::seen).
fn update(table: &str) -> String {
    format!(
        "DO UPDATE SET update_time = excluded.update_time, is_deleted = excluded.is_deleted,
           data = excluded.data, run = excluded.run
         WHERE CAST({table}.data AS TEXT) <> CAST(excluded.data AS TEXT)
           OR {table}.is_deleted <> excluded.is_deleted
           OR {table}.update_time IS DISTINCT FROM excluded.update_time"
    )
}

async fn sqlite(
    conn: &mut SqliteConnection,
    page: &PageWrite<'_>,
    rows: &[RowWrite<'_>],
) -> Result<u64, StoreError> {
    let mut sql = format!(
        "INSERT INTO {} (id, update_time, is_deleted, data, run) VALUES ",
        page.state.entity
    );
    // What is the same for all is written out: to bind a value costs more than to read it.
    let row = format!("(?,?,{},?,{})", u8::from(page.deleted), page.state.run);
    for index in 0..rows.len() {
        sql.push_str(if index == 0 { "" } else { "," });
        sql.push_str(&row);
    }
    sql.push_str(" ON CONFLICT (id) ");
    sql.push_str(&update(&page.state.entity));
    let mut statement = query(AssertSqlSafe(sql)).persistent(rows.len() == ROWS_PER_STATEMENT);
    for row in rows {
        statement = match row.id {
            Id::Number(number) => statement.bind(number),
            Id::Text(text) => statement.bind(text),
        };
        statement = statement.bind(row.update_time).bind(row.data);
    }
    Ok(statement.execute(conn).await?.rows_affected())
}

/// Numbers and texts have a column each, so they are written apart. A statement may not change a row twice: a page
/// that repeats an identifier takes several.
async fn postgres(conn: &mut PgConnection, page: &PageWrite<'_>) -> Result<u64, StoreError> {
    let mut written = 0;
    let mut seen = HashSet::with_capacity(page.rows.len());
    let (mut from, rows) = (0, page.rows);
    for to in 0..=rows.len() {
        if to < rows.len() && seen.insert(rows[to].id) {
            continue;
        }
        let (mut numbers, mut texts) = (Columns::default(), Columns::default());
        for row in &rows[from..to] {
            match row.id {
                Id::Number(number) => numbers.push(number, row),
                Id::Text(text) => texts.push(storable(text), row),
            }
        }
        if !numbers.ids.is_empty() {
            let sql = statement(page, "id", "bigint", "(id)");
            let statement = query(AssertSqlSafe(sql)).bind(numbers.ids).bind(numbers.times);
            let statement = statement.bind(numbers.data).bind(page.deleted).bind(page.state.run);
            written += statement.execute(&mut *conn).await?.rows_affected();
        }
        if !texts.ids.is_empty() {
            let sql = statement(page, "id_text", "text", "(id_text) WHERE id_text IS NOT NULL");
            let statement = query(AssertSqlSafe(sql)).bind(texts.ids).bind(texts.times);
            let statement = statement.bind(texts.data).bind(page.deleted).bind(page.state.run);
            written += statement.execute(&mut *conn).await?.rows_affected();
        }
        if let Some(row) = rows.get(to) {
            from = to;
            seen.clear();
            seen.insert(row.id);
        }
    }
    Ok(written)
}

fn statement(page: &PageWrite<'_>, id: &str, kind: &str, conflict: &str) -> String {
    format!(
        "INSERT INTO {} ({id}, update_time, is_deleted, data, run)
         SELECT id, update_time, $4, data::json, $5
         FROM unnest($1::{kind}[], $2::text[], $3::text[]) AS new (id, update_time, data)
         ON CONFLICT {conflict} {}",
        page.state.entity,
        update(&page.state.entity)
    )
}

struct Columns<'a, I> {
    ids: Vec<I>,
    times: Vec<Option<&'a str>>,
    data: Vec<&'a str>,
}

impl<I> Default for Columns<'_, I> {
    fn default() -> Self {
        Self { ids: Vec::new(), times: Vec::new(), data: Vec::new() }
    }
}

impl<'a, I> Columns<'a, I> {
    fn push(&mut self, id: I, row: &RowWrite<'a>) {
        self.ids.push(id);
        // A time that no text can hold is none.
        self.times.push(row.update_time.filter(|time| !time.contains('\0')));
        self.data.push(row.data);
    }
}
