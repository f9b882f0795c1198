//! A schema of a PostgreSQL database: how it is opened, made and brought up to date.

use std::{collections::HashMap, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, query_as,
    query_scalar,
};
use tokio::time::timeout;

use super::{
    Access, Database, Found, StoreError,
    database::Server,
    link::Kind,
    schema::{self, APPLICATION_ID, VERSION},
};

/// How long a server may take to answer at the start.
const CONNECT: Duration = Duration::from_secs(15);

/// The row of `meta` by which a schema is known as ours.
const APPLICATION: (&str, &str) = ("application", "pipedrive-sync");

/// The row of `meta` that says which tables there are.
const SCHEMA_VERSION: &str = "schema_version";

/// What a connection is set to. Nobody waits for a lock for ever; whoever stops in mid-transaction does not keep others
/// waiting; and a commit is on the disk when it returns, whatever is usual on this server.
const SETTINGS: &str = "
    SET lock_timeout = '20s';
    SET idle_in_transaction_session_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// How long a new writer waits for the lock: a server may take a moment to see that the one before was killed.
const LOCK: &str = "SET lock_timeout = '2s'";

/// Takes the lock, and makes the tables or brings them up to date.
pub(super) async fn open(server: &Server, database: &Database) -> Result<PgConnection, StoreError> {
    let mut conn = connect(server, database).await?;
    look(&mut conn, server, database).await?;
    lock(&mut conn, server, database).await?;
    // Again, now that nobody else can be making it.
    let version = match look(&mut conn, server, database).await? {
        Found::Ours { version } => version,
        Found::Nothing => 0,
    };
    migrate(&mut conn, server, version)
        .await
        .map_err(|error| StoreError::from_server(error, database))?;
    Ok(conn)
}

/// Opens a schema that is there, beside whoever writes it.
pub(super) async fn beside(
    server: &Server,
    database: &Database,
    access: Access,
) -> Result<PgConnection, StoreError> {
    let mut conn = connect(server, database).await?;
    if matches!(look(&mut conn, server, database).await?, Found::Nothing) {
        return Err(StoreError::Missing { database: database.clone() });
    }
    if access == Access::Read {
        conn.execute("SET default_transaction_read_only = on").await?;
    }
    Ok(conn)
}

async fn connect(server: &Server, database: &Database) -> Result<PgConnection, StoreError> {
    let name = format!("pipedrive {}", std::process::id());
    let options = (*server.options).clone().application_name(&name).disable_statement_logging();
    let connected = async {
        let mut conn = PgConnection::connect_with(&options).await?;
        conn.execute(SETTINGS).await?;
        // Only ours: a table of the same name elsewhere must not be taken for it.
        let path = format!("SET search_path TO \"{}\"", server.schema());
        conn.execute(AssertSqlSafe(path)).await?;
        Ok(conn)
    };
    match timeout(CONNECT, connected).await {
        Ok(connected) => connected.map_err(|error| StoreError::from_server(error, database)),
        Err(_) => Err(StoreError::Unreachable {
            database: database.clone(),
            source: sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        }),
    }
}

/// What there is, touching nothing.
async fn look(
    conn: &mut PgConnection,
    server: &Server,
    database: &Database,
) -> Result<Found, StoreError> {
    let foreign = |what| Err(StoreError::Foreign { database: database.clone(), what });
    let (encoding, tables): (String, Vec<String>) = query_as(
        "SELECT current_setting('server_encoding'),
                ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1))",
    )
    .bind(server.schema())
    .fetch_one(&mut *conn)
    .await?;
    if encoding != "UTF8" {
        return foreign("in a database whose encoding is not UTF8, which cannot hold every text");
    }
    if tables.is_empty() {
        return Ok(Found::Nothing);
    }
    if !tables.iter().any(|table| table == "meta") {
        return foreign("a schema with another program's tables");
    }
    let marks: Vec<(String, String)> = match query_as(
        "SELECT key, value FROM meta WHERE key IN ('application', 'schema_version')",
    )
    .fetch_all(conn)
    .await
    {
        Ok(marks) => marks,
        Err(error)
            if error.as_database_error().and_then(|error| error.code()).as_deref()
                == Some("42703") =>
        {
            return foreign("a schema with another program's tables");
        }
        Err(error) => return Err(StoreError::from_server(error, database)),
    };
    let marks: HashMap<_, _> = marks.into_iter().collect();
    if marks.get(APPLICATION.0).map(String::as_str) != Some(APPLICATION.1) {
        return foreign("a schema with another program's tables");
    }
    match marks.get(SCHEMA_VERSION).and_then(|version| version.parse().ok()) {
        Some(found) if found > VERSION => {
            Err(StoreError::Newer { database: database.clone(), found, known: VERSION })
        }
        Some(version) => Ok(Found::Ours { version }),
        None => foreign("a schema whose version is not known"),
    }
}

/// Tied to the connection: it goes with it, however that ends.
async fn lock(
    conn: &mut PgConnection,
    server: &Server,
    database: &Database,
) -> Result<(), StoreError> {
    conn.execute(LOCK).await?;
    let taken = sqlx::query("SELECT pg_advisory_lock($1, hashtext($2))")
        .bind(APPLICATION_ID.cast_signed())
        .bind(server.schema())
        .execute(&mut *conn)
        .await;
    match taken {
        Ok(_) => {}
        Err(error)
            if error.as_database_error().and_then(|error| error.code()).as_deref()
                == Some("55P03") =>
        {
            return Err(StoreError::Locked {
                database: database.clone(),
                pid: holder(conn, server).await.unwrap_or_default(),
            });
        }
        Err(error) => return Err(StoreError::from_server(error, database)),
    }
    conn.execute(SETTINGS).await?;
    Ok(())
}

/// The process that holds the lock, by the name that it gave its connection.
async fn holder(conn: &mut PgConnection, server: &Server) -> Result<Option<u32>, sqlx::Error> {
    let name: Option<Option<String>> = query_scalar(
        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
         WHERE locktype = 'advisory' AND granted AND classid = $1::bigint::oid
           AND objid = (hashtext($2)::bigint & 4294967295)::oid
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(i64::from(APPLICATION_ID))
    .bind(server.schema())
    .fetch_optional(conn)
    .await?;
    let name = name.flatten();
    Ok(name.and_then(|name| name.strip_prefix("pipedrive ").and_then(|pid| pid.parse().ok())))
}

/// All in one transaction: the tables are there whole or not at all.
async fn migrate(conn: &mut PgConnection, server: &Server, from: u32) -> Result<(), sqlx::Error> {
    if from == VERSION {
        return Ok(());
    }
    let mut tx = conn.begin().await?;
    if from == 0 {
        // Whoever may not make a schema may have been given an empty one.
        let there: bool =
            query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
                .bind(server.schema())
                .fetch_one(&mut *tx)
                .await?;
        if !there {
            let sql = format!("CREATE SCHEMA \"{}\"", server.schema());
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        }
    }
    for version in from..VERSION {
        let Some(step) = schema::migration(Kind::Postgres, version) else { break };
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *tx).await?;
    }
    for (key, value) in [APPLICATION, (SCHEMA_VERSION, &VERSION.to_string())] {
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}
