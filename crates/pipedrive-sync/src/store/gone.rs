//! Rows of which the API says that they are deleted, without showing them.

use sqlx::{AssertSqlSafe, SqliteConnection, query};

use super::{Id, PageWrite, StoreError, schema::ENTITIES};

/// Marks rows as deleted; what is not held needs no mark. Says how many were marked that were not before.
pub(super) async fn mark(
    conn: &mut SqliteConnection,
    page: &PageWrite<'_>,
) -> Result<u64, StoreError> {
    let mut marked = 0;
    for (entity, id) in page.gone {
        assert!(ENTITIES.contains(entity), "no table for {entity}");
        let sql = format!("UPDATE {entity} SET is_deleted = 1 WHERE id = $1 AND is_deleted = 0");
        let mark = query(AssertSqlSafe(sql));
        let mark = match id {
            Id::Number(number) => mark.bind(number),
            Id::Text(text) => mark.bind(text),
        };
        marked += mark.execute(&mut *conn).await?.rows_affected();
    }
    Ok(marked)
}
