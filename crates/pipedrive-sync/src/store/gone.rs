//! Rows of which the API says that they are deleted, without showing them.

use sqlx::AssertSqlSafe;

use super::{PageWrite, StoreError, link::Link, schema::ENTITIES};

/// Marks rows as deleted; what is not held needs no mark. Says how many were marked that were not before.
pub(super) async fn mark(mut link: Link<'_>, page: &PageWrite<'_>) -> Result<u64, StoreError> {
    let mut marked = 0;
    for (entity, id) in page.gone {
        assert!(ENTITIES.contains(entity), "no table for {entity}");
        let is = link.kind().id_is(*id, 1);
        let sql =
            format!("UPDATE {entity} SET is_deleted = true WHERE {is} AND is_deleted = false");
        marked += link.execute(AssertSqlSafe(sql), &[(*id).into()]).await?;
    }
    Ok(marked)
}
