//! Rows that a whole list has shown as they are held.
//!
//! They are not written, so they do not bear the number of the walk that has seen them. Their identifiers are noted
//! instead until that walk is complete, for the end of a full walk removes what it has not seen.

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection, query};

use super::{
    Id, Mode, PageWrite, StoreError, WalkState,
    link::{Arg, Link, storable},
};

/// Identifiers per statement.
const IDS_PER_STATEMENT: usize = 500;

/// Notes the rows of a full walk's page of which some were not written. Those that were may be noted too. So are rows that
/// were healed: a full walk that is under way has passed them by, and what none needs is forgotten as the next one begins.
pub(super) async fn note(link: Link<'_>, page: &PageWrite<'_>) -> Result<(), StoreError> {
    if page.state.mode != Mode::Full && page.healed.is_empty() {
        return Ok(());
    }
    match link {
        Link::Sqlite(conn) => sqlite(conn, page).await,
        Link::Postgres(conn) => postgres(conn, page).await,
    }
}

async fn sqlite(conn: &mut SqliteConnection, page: &PageWrite<'_>) -> Result<(), StoreError> {
    let row = format!("('{}',?)", page.state.entity);
    for rows in page.rows.chunks(IDS_PER_STATEMENT) {
        let values = vec![row.as_str(); rows.len()].join(",");
        let sql = format!("INSERT OR IGNORE INTO seen (entity, id) VALUES {values}");
        let mut statement = query(AssertSqlSafe(sql)).persistent(rows.len() == IDS_PER_STATEMENT);
        for row in rows {
            statement = match row.id {
                Id::Number(number) => statement.bind(number),
                Id::Text(text) => statement.bind(text),
            };
        }
        statement.execute(&mut *conn).await?;
    }
    Ok(())
}

async fn postgres(conn: &mut PgConnection, page: &PageWrite<'_>) -> Result<(), StoreError> {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for row in page.rows {
        match row.id {
            Id::Number(number) => numbers.push(number),
            Id::Text(text) => texts.push(storable(text)),
        }
    }
    if !numbers.is_empty() {
        let sql = "INSERT INTO seen (entity, id) SELECT $1, unnest($2::bigint[])";
        query(sql).bind(&page.state.entity).bind(numbers).execute(&mut *conn).await?;
    }
    if !texts.is_empty() {
        let sql = "INSERT INTO seen (entity, id_text) SELECT $1, unnest($2::text[])";
        query(sql).bind(&page.state.entity).bind(texts).execute(conn).await?;
    }
    Ok(())
}

/// Removes what a full walk has not seen, and forgets what was noted. Says how many rows were removed.
pub(super) async fn remove_others(
    mut link: Link<'_>,
    state: &WalkState,
) -> Result<u64, StoreError> {
    let table = &state.entity;
    let args = [Arg::from(state.run), table.into()];
    let mut removed = 0;
    // A row of PostgreSQL has its identifier in one of two columns.
    for id in link.kind().id().0.split(", ") {
        let sql = format!(
            "DELETE FROM {table} WHERE run <> $1 AND {id} IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.entity = $2 AND seen.{id} = {table}.{id})"
        );
        removed += link.execute(AssertSqlSafe(sql), &args).await?;
    }
    forget(link, table).await?;
    Ok(removed)
}

/// Forgets what was noted of an entity.
pub(super) async fn forget(mut link: Link<'_>, entity: &str) -> Result<(), StoreError> {
    link.execute("DELETE FROM seen WHERE entity = $1", &[entity.into()]).await.map(drop)
}
