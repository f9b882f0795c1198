//! An SQLite file: how it is opened, made and brought up to date.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    Access, Found, StoreError,
    file::{self, Draft, InPlace, RunLock, SqliteFile},
    link::Kind,
    schema,
};

/// Takes the lock, and makes the file or brings it up to date.
pub(super) async fn open(
    file: &SqliteFile,
) -> Result<(SqliteConnection, RunLock, InPlace), StoreError> {
    file::look(file)?;
    let lock = RunLock::take(file)?;
    // Again, now that nobody else can be making it.
    let version = match file::look(file)? {
        Found::Ours { version } => version,
        Found::Nothing => {
            create(file, &lock).await?;
            schema::VERSION
        }
    };
    let mut conn = options(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    migrate(&mut conn, version).await?;
    let place = InPlace::of(file)?;
    Ok((conn, lock, place))
}

/// Opens a file that is there, beside whoever writes it.
pub(super) async fn beside(
    file: &SqliteFile,
    access: Access,
) -> Result<SqliteConnection, StoreError> {
    if matches!(file::look(file)?, Found::Nothing) {
        return Err(StoreError::Missing { database: file.database() });
    }
    match access {
        Access::Read => read(file).await,
        Access::Write => Ok(options(file).synchronous(SqliteSynchronous::Full).connect().await?),
    }
}

/// In a folder that cannot be written SQLite cannot make the index of its log, which it needs even to read. Where there
/// is no log, nobody writes, and the file can be read as if it never changed.
async fn read(file: &SqliteFile) -> Result<SqliteConnection, StoreError> {
    let error = match probed(options(file).read_only(true)).await {
        Ok(conn) => return Ok(conn),
        Err(error) => error,
    };
    if !matches!(error, StoreError::ReadOnly(_)) {
        return Err(error);
    }
    if file.has_log() {
        let source = std::io::ErrorKind::PermissionDenied.into();
        return Err(
            file.unusable("read while a sync writes it, for its folder cannot be written")(source),
        );
    }
    probed(options(file).read_only(true).immutable(true)).await
}

/// Connecting alone reads nothing.
async fn probed(options: SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let mut conn = options.connect().await?;
    sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut conn).await?;
    Ok(conn)
}

fn options(file: &SqliteFile) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file.path())
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
}

async fn create(file: &SqliteFile, lock: &RunLock) -> Result<(), StoreError> {
    let draft = Draft::new(file, lock)?;
    let mut conn = SqliteConnectOptions::new()
        .filename(draft.path())
        .disable_statement_logging()
        .connect()
        .await?;
    migrate(&mut conn, 0).await?;
    conn.close().await?;
    draft.publish()
}

async fn migrate(conn: &mut SqliteConnection, from: u32) -> Result<(), StoreError> {
    for version in from..schema::VERSION {
        let Some(step) = schema::migration(Kind::Sqlite, version) else { break };
        let sql = format!(
            "BEGIN IMMEDIATE; {step} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;",
            schema::APPLICATION_ID,
            version + 1
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}
