//! A new database of either kind for each test that asks for one, and what a test does to it behind our back.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use pipedrive_sync::store::Database;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use super::server::PostgresServer;

pub enum Kit {
    Files(TempDir),
    Schemas(PostgresServer, AtomicU32),
}

/// One database.
pub struct Place {
    pub database: Database,
    pub name: String,
    at: At,
}

enum At {
    File(PathBuf),
    Schema { url: String, schema: String },
}

impl Kit {
    pub fn files() -> Self {
        Self::Files(TempDir::new().unwrap())
    }

    /// None, said aloud, where there is no PostgreSQL.
    pub fn schemas(what_is_skipped: &str) -> Option<Self> {
        let server = PostgresServer::start(what_is_skipped)?;
        Some(Self::Schemas(server, AtomicU32::new(0)))
    }

    pub fn place(&self) -> Place {
        match self {
            Self::Files(dir) => {
                let path = (0..)
                    .map(|number| dir.path().join(format!("account{number}.sqlite")))
                    .find(|path| !path.with_extension("sqlite.lock").exists() && !path.exists());
                let path = path.unwrap();
                // Taken, whatever becomes of the database.
                std::fs::write(path.with_extension("sqlite.lock"), "").unwrap();
                let name = path.to_str().unwrap().to_owned();
                Place { database: path.clone().into(), name, at: At::File(path) }
            }
            Self::Schemas(server, next) => {
                let schema = format!("account_{}", next.fetch_add(1, Ordering::SeqCst));
                let name = format!("{}?schema={schema}", server.url());
                let at = At::Schema { url: server.url(), schema };
                Place { database: name.parse().unwrap(), name, at }
            }
        }
    }
}

/// Does something to a file.
pub async fn sqlite(path: &Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// The first column of what a file says.
pub async fn sqlite_texts(path: &Path, sql: &str) -> Vec<String> {
    let mut conn = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
    rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
}

impl Place {
    pub const fn is_file(&self) -> bool {
        matches!(self.at, At::File(_))
    }

    pub async fn sql(&self, statements: &str) {
        let sql = AssertSqlSafe(statements);
        match &self.at {
            At::File(path) => sqlite(path, statements).await,
            At::Schema { url, schema } => {
                let mut conn = PgConnection::connect(url).await.unwrap();
                let path = format!("SET search_path TO {schema}");
                conn.execute(AssertSqlSafe(path)).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }

    /// The first column of what is read, as texts; `-` for null.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.try_texts(sql).await.unwrap()
    }

    pub async fn try_texts(&self, sql: &str) -> Result<Vec<String>, sqlx::Error> {
        let read = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let sql = format!("SELECT CAST(x AS TEXT) FROM ({sql}) AS t (x)");
        Ok(match &self.at {
            At::File(path) => {
                // SQLite has no names of columns after a name of a table.
                let sql =
                    sql.replace("CAST(x AS TEXT) FROM (", "* FROM (").replace(" AS t (x)", "");
                let mut conn = SqliteConnectOptions::new().filename(path).connect().await?;
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await?;
                rows.iter().map(|row| read(row.try_get_unchecked(0).unwrap())).collect()
            }
            At::Schema { url, schema } => {
                let mut conn = PgConnection::connect(url).await?;
                let path = format!("SET search_path TO {schema}");
                conn.execute(AssertSqlSafe(path)).await?;
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await?;
                rows.iter().map(|row| read(row.get(0))).collect()
            }
        })
    }

    /// Makes a statement fail: `INSERT` or `UPDATE` of a table, of every row or of those that a condition names.
    pub async fn fail(&self, event: &str, table: &str, when: &str) {
        let sql = match self.at {
            At::File(_) => format!(
                "CREATE TRIGGER boom BEFORE {event} ON {table} WHEN {when}
                 BEGIN SELECT RAISE(ABORT, 'boom'); END"
            ),
            At::Schema { .. } => format!(
                "CREATE OR REPLACE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN RAISE EXCEPTION 'boom'; END $$;
                 CREATE TRIGGER boom BEFORE {event} ON {table} FOR EACH ROW WHEN ({when})
                   EXECUTE FUNCTION boom()"
            ),
        };
        self.sql(&sql).await;
    }

    pub async fn fail_no_more(&self, table: &str) {
        let on = if self.is_file() { String::new() } else { format!(" ON {table}") };
        self.sql(&format!("DROP TRIGGER boom{on}")).await;
    }
}
