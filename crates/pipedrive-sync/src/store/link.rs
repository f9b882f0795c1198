//! One connection to either database, and what statements are given and give back.
//!
//! A statement is written once for both. It numbers its parameters `$1`, `$2`, and what differs is named: the tables
//! in [`schema`](super::schema), and a method of [`Kind`] each for the rest.

use std::borrow::Cow;

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::{
    Connection as _, PgConnection, Postgres, Row as _, SqlSafeStr, Sqlite, SqliteConnection,
    Transaction, postgres::PgArguments, query::Query, sqlite::SqliteArguments,
};

use super::{Id, StoreError};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// A test of the column `id` against a list of numbers, an [`Arg::Ids`].
    pub(super) fn id_in(self, parameter: u8) -> String {
        match self {
            Self::Sqlite => format!("id IN (SELECT value FROM json_each(${parameter}))"),
            Self::Postgres => format!("id = ANY(${parameter})"),
        }
    }

    /// A test of a row's identifier against a parameter.
    pub(super) fn id_is(self, id: Id<'_>, parameter: u8) -> String {
        match (self, id) {
            (Self::Postgres, Id::Text(_)) => format!("id_text = ${parameter}"),
            _ => format!("id = ${parameter}"),
        }
    }

    /// The columns of an identifier, to select and to order by: numbers first by value, then texts letter by letter.
    pub(super) const fn id(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("id", "id"),
            Self::Postgres => ("id, id_text", "id NULLS LAST, id_text"),
        }
    }

    /// A row's JSON as it came, as a text.
    pub(super) const fn data(self) -> &'static str {
        match self {
            Self::Sqlite => "data",
            Self::Postgres => "data::text",
        }
    }

    /// Tests whether there is a table named by the first parameter.
    pub(super) const fn has_table(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1)"
            }
            // Of the schema in use only, which is the whole search path.
            Self::Postgres => "SELECT to_regclass($1) IS NOT NULL",
        }
    }
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    Int(i64),
    OptInt(Option<i64>),
    Text(&'a str),
    OptText(Option<&'a str>),
    Ids(&'a [i64]),
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::OptText(text)
    }
}

impl<'a> From<&'a Option<String>> for Arg<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::OptText(text.as_deref())
    }
}

impl<'a> From<Id<'a>> for Arg<'a> {
    fn from(id: Id<'a>) -> Self {
        match id {
            Id::Number(number) => Self::Int(number),
            Id::Text(text) => Self::Text(text),
        }
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Arg<'_> {
    /// What is beyond 63 bits is as much as 63 bits hold.
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Option<u64>> for Arg<'_> {
    fn from(number: Option<u64>) -> Self {
        Self::OptInt(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

/// A row of either database, read by the names of its columns.
pub(super) trait Fields {
    fn int(&self, name: &str) -> Result<i64, StoreError>;
    fn opt_int(&self, name: &str) -> Result<Option<i64>, StoreError>;
    fn text(&self, name: &str) -> Result<String, StoreError>;
    fn opt_text(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// A column by its place, whatever SQLite holds in it.
    fn cell(&self, at: usize) -> Result<Option<String>, StoreError>;
    /// An identifier in the columns of [`Kind::id`].
    fn id(&self) -> Result<String, StoreError>;

    /// A number that counts something; less than nothing is nothing.
    fn count(&self, name: &str) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.int(name)?).unwrap_or_default())
    }

    fn opt_count(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.opt_int(name)?.map(|count| u64::try_from(count).unwrap_or_default()))
    }
}

macro_rules! fields {
    ($row:ty, $id:expr) => {
        impl Fields for $row {
            fn int(&self, name: &str) -> Result<i64, StoreError> {
                Ok(self.try_get(name)?)
            }

            fn opt_int(&self, name: &str) -> Result<Option<i64>, StoreError> {
                Ok(self.try_get(name)?)
            }

            fn text(&self, name: &str) -> Result<String, StoreError> {
                Ok(self.try_get(name)?)
            }

            fn opt_text(&self, name: &str) -> Result<Option<String>, StoreError> {
                Ok(self.try_get(name)?)
            }

            fn cell(&self, at: usize) -> Result<Option<String>, StoreError> {
                Ok(self.try_get_unchecked(at)?)
            }

            fn id(&self) -> Result<String, StoreError> {
                $id(self)
            }
        }
    };
}

fields!(sqlx::sqlite::SqliteRow, |row: &Self| {
    use sqlx::{TypeInfo as _, ValueRef as _};
    if row.try_get_raw("id")?.type_info().name() == "INTEGER" {
        return Ok(row.try_get_unchecked::<i64, _>("id")?.to_string());
    }
    Ok(row.try_get_unchecked("id")?)
});

fields!(sqlx::postgres::PgRow, |row: &Self| {
    match row.try_get::<Option<i64>, _>("id")? {
        Some(number) => Ok(number.to_string()),
        None => Ok(row.try_get("id_text")?),
    }
});

/// The connection of a [`Store`](super::Store) or a [`Reader`](super::Reader).
#[derive(Debug)]
pub(super) enum Conn {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Conn {
    pub(super) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(conn) => Link::Sqlite(conn),
            Self::Postgres(conn) => Link::Postgres(conn),
        }
    }

    /// Begins to write. Dropped before it was committed, a transaction leaves nothing behind.
    pub(super) async fn begin(&mut self) -> Result<Tx<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(conn) => Tx::Sqlite(conn.begin_with("BEGIN IMMEDIATE").await?),
            // Whatever the database's default is: there is one writer, so nothing has to be serialized.
            Self::Postgres(conn) => Tx::Postgres(
                conn.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?,
            ),
        })
    }

    /// Rows as they come, however many there are.
    pub(super) fn stream(
        &mut self,
        sql: impl SqlSafeStr,
    ) -> BoxStream<'_, Result<Box<dyn Fields + Send>, StoreError>> {
        match self {
            Self::Sqlite(conn) => {
                let rows = sqlx::query(sql).fetch(&mut **conn);
                rows.map(|row| Ok(Box::new(row?) as Box<dyn Fields + Send>)).boxed()
            }
            Self::Postgres(conn) => {
                let rows = sqlx::query(sql).fetch(&mut **conn);
                rows.map(|row| Ok(Box::new(row?) as Box<dyn Fields + Send>)).boxed()
            }
        }
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(conn) => Ok(conn.close().await?),
            Self::Postgres(conn) => Ok(conn.close().await?),
        }
    }
}

/// A transaction that writes.
pub(super) enum Tx<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    Postgres(Transaction<'c, Postgres>),
}

impl Tx<'_> {
    pub(super) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(tx) => Link::Sqlite(tx),
            Self::Postgres(tx) => Link::Postgres(tx),
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            Self::Postgres(tx) => Ok(tx.commit().await?),
        }
    }
}

/// What statements run on: a connection, or a transaction on it.
pub(super) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Link<'_> {
    /// The same, to be given away.
    pub(super) fn again(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(conn) => Link::Sqlite(conn),
            Self::Postgres(conn) => Link::Postgres(conn),
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// Runs a statement, and says how many rows it has changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(conn) => sqlite(sql, args).execute(&mut **conn).await?.rows_affected(),
            Self::Postgres(conn) => postgres(sql, args).execute(&mut **conn).await?.rows_affected(),
        })
    }

    /// Runs statements without parameters, separated by semicolons.
    pub(super) async fn run(&mut self, sql: impl SqlSafeStr) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(conn) => sqlx::raw_sql(sql).execute(&mut **conn).await.map(|_| ())?,
            Self::Postgres(conn) => sqlx::raw_sql(sql).execute(&mut **conn).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(super) async fn rows<T>(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
        mut read: impl FnMut(&dyn Fields) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(conn) => {
                let rows = sqlite(sql, args).fetch_all(&mut **conn).await?;
                rows.iter().map(|row| read(row)).collect()
            }
            Self::Postgres(conn) => {
                let rows = postgres(sql, args).fetch_all(&mut **conn).await?;
                rows.iter().map(|row| read(row)).collect()
            }
        }
    }

    /// The first row, if there is one.
    pub(super) async fn row<T>(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
        mut read: impl FnMut(&dyn Fields) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self {
            Self::Sqlite(conn) => {
                let row = sqlite(sql, args).fetch_optional(&mut **conn).await?;
                row.map(|row| read(&row)).transpose()
            }
            Self::Postgres(conn) => {
                let row = postgres(sql, args).fetch_optional(&mut **conn).await?;
                row.map(|row| read(&row)).transpose()
            }
        }
    }

    /// Whether there is such a table. A database of an older version that only readers have seen since lacks the
    /// newer ones.
    pub(super) async fn has_table(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = self.kind().has_table();
        let args = [name.into()];
        Ok(match self {
            Self::Sqlite(conn) => {
                sqlite(sql, &args).fetch_one(&mut **conn).await?.try_get::<bool, _>(0)?
            }
            Self::Postgres(conn) => {
                postgres(sql, &args).fetch_one(&mut **conn).await?.try_get::<bool, _>(0)?
            }
        })
    }
}

fn sqlite<'a>(sql: impl SqlSafeStr, args: &[Arg<'a>]) -> Query<'a, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(sql);
    for arg in args {
        query = match *arg {
            Arg::Int(number) => query.bind(number),
            Arg::OptInt(number) => query.bind(number),
            Arg::Text(text) => query.bind(text),
            Arg::OptText(text) => query.bind(text),
            Arg::Ids(ids) => query.bind(serde_json::to_string(ids).expect("numbers are JSON")),
        };
    }
    query
}

fn postgres<'a>(sql: impl SqlSafeStr, args: &[Arg<'a>]) -> Query<'a, Postgres, PgArguments> {
    let mut query = sqlx::query(sql);
    for arg in args {
        query = match *arg {
            Arg::Int(number) => query.bind(number),
            Arg::OptInt(number) => query.bind(number),
            Arg::Text(text) => query.bind(storable(text)),
            Arg::OptText(text) => query.bind(text.map(storable)),
            Arg::Ids(ids) => query.bind(ids),
        };
    }
    query
}

/// PostgreSQL has no NUL in a text; what nobody can see becomes what everybody can.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}
