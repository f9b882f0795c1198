//! Rows as they leave the database: as columns, or as they came.

use futures_util::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::{
    Reader, StoreError,
    fields::{Column, Type},
    link::Kind,
    schema::ENTITIES,
    views,
};

/// Which rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Only those that have changed since, and those of which that is not known.
    pub since: Option<Timestamp>,
    /// Deleted ones too.
    pub deleted: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A text.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Number,
    /// Yes or no: `1` or `0`, `true` or `false`.
    Flag,
    /// `YYYY-MM-DD`.
    Date,
    /// A time, as [`wall::parse`](crate::wall::parse) reads it.
    Time,
}

/// The columns of one entity as its definitions are now: `id` and `id_text` (one of the two is filled), `update_time`,
/// `is_deleted`, the API's, and the company's own by their names.
#[derive(Clone, Debug)]
pub struct Columns {
    entity: &'static str,
    fields: Vec<Column>,
}

impl Columns {
    /// Name and type of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ColumnType)> {
        let own = [
            ("id", ColumnType::Int),
            ("id_text", ColumnType::Text),
            ("update_time", ColumnType::Time),
            ("is_deleted", ColumnType::Flag),
        ];
        own.into_iter().chain(self.fields.iter().map(|column| {
            let kind = match column.kind {
                Type::Text | Type::Option | Type::Options => ColumnType::Text,
                Type::Int => ColumnType::Int,
                Type::Number => ColumnType::Number,
                Type::Flag => ColumnType::Flag,
                Type::Date => ColumnType::Date,
                Type::Time => ColumnType::Time,
            };
            (&*column.name, kind)
        }))
    }
}

fn condition(kind: Kind, selection: &Selection) -> String {
    let mut all = Vec::new();
    if !selection.deleted {
        all.push("NOT r.is_deleted".to_owned());
    }
    if let Some(since) = selection.since {
        // Both versions of the API write UTC: `2026-03-01T10:00:00Z` and `2026-03-01 10:00:00`.
        all.push(format!(
            "(r.update_time IS NULL OR replace(substr(r.update_time, 1, 19), 'T', ' ') >= '{}')",
            since.strftime("%Y-%m-%d %H:%M:%S")
        ));
    }
    let such = if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) };
    let order = match kind {
        Kind::Sqlite => "r.id",
        Kind::Postgres => "r.id NULLS LAST, r.id_text",
    };
    format!("{such} ORDER BY {order}")
}

impl Reader {
    /// The columns of an entity.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub async fn columns(&mut self, entity: &'static str) -> Result<Columns, StoreError> {
        assert!(ENTITIES.contains(&entity), "no table for {entity}");
        Ok(Columns { entity, fields: views::columns(&mut self.conn.link(), entity).await? })
    }

    /// Rows with these columns, each as a text or none, by identifier.
    pub fn cells(
        &mut self,
        columns: &Columns,
        selection: &Selection,
    ) -> BoxStream<'_, Result<Vec<Option<String>>, StoreError>> {
        let kind = self.conn.link().kind();
        let id = match kind {
            Kind::Sqlite => {
                "CASE typeof(id) WHEN 'integer' THEN CAST(id AS TEXT) END, CASE typeof(id) WHEN 'text' THEN id END"
            }
            Kind::Postgres => "CAST(id AS TEXT), id_text",
        };
        let rest: Vec<_> = columns
            .iter()
            .skip(2)
            .map(|(name, _)| format!("CAST(\"{}\" AS TEXT)", name.replace('"', "\"\"")))
            .collect();
        let select = views::select(kind, columns.entity, &columns.fields);
        let sql = format!(
            "SELECT {id}, {} FROM ({select}{}) AS v",
            rest.join(", "),
            condition(kind, selection)
        );
        let width = rest.len() + 2;
        self.conn
            .stream(AssertSqlSafe(sql))
            .map(move |row| {
                let row = row?;
                (0..width).map(|at| row.cell(at)).collect()
            })
            .boxed()
    }

    /// Rows as they came, by identifier.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub fn raw(
        &mut self,
        entity: &'static str,
        selection: &Selection,
    ) -> BoxStream<'_, Result<String, StoreError>> {
        assert!(ENTITIES.contains(&entity), "no table for {entity}");
        let kind = self.conn.link().kind();
        let sql = format!(
            "SELECT {} AS data FROM {entity} AS r{}",
            kind.data(),
            condition(kind, selection)
        );
        self.conn.stream(AssertSqlSafe(sql)).map(|row| row?.text("data")).boxed()
    }
}
