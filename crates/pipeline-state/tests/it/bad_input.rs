//! Files that cannot be used: a clear error, and nothing half-written.
#![allow(missing_docs)]

use std::{path::Path, time::Duration};

use crate::support::{Clock, PHASES, Sqlite, filled};
use pipeline_state::{
    AnyStore, PipelineConfig, SCHEMA_VERSION, SqliteStore, StateError, StateTracker,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

async fn pool(path: &Path, options: SqliteConnectOptions) -> SqlitePool {
    let options = options.filename(path).busy_timeout(Duration::from_millis(10));
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

async fn sql(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// A file with a pipeline of one item, and the way to it.
async fn file(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("state.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let tracker = StateTracker::new(store.clone(), PipelineConfig::default());
    let pipeline = tracker.initialize("nightly", &PHASES).await.unwrap();
    pipeline.add("search", &["a"]).await.unwrap();
    store.close().await;
    path
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder).await;
    let url = format!("sqlite:{}", path.display());
    let tracker = StateTracker::open(&url, PipelineConfig::default()).await.unwrap();
    let info = tracker.pipelines(None, 9).await.unwrap().remove(0);
    let pipeline = tracker.join(info.id).await.unwrap();
    assert_eq!(pipeline.claim("search", 9).await.unwrap().items[0].name, "a");
    // With tracking off nothing of it is seen or touched.
    let off = PipelineConfig::builder().enable_state_tracking(false).build().unwrap();
    let tracker = StateTracker::open(&url, off).await.unwrap();
    assert!(tracker.pipelines(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_batch_is_not_there() {
    let kit = Sqlite::new().await;
    let pipeline = filled(&kit, &Clock::new(), 5).await;
    let items = pipeline.claim("search", 2).await.unwrap().items;
    let before = pipeline.progress().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&kit.pool).await.unwrap();
    let full = format!("PRAGMA max_page_count = {}", pages + 2);
    sqlx::query(AssertSqlSafe(full)).execute(&kit.pool).await.unwrap();

    let many = (0..5_000).map(|name| format!("name {name}"));
    let update = items[0].completed().produces("domains", many);
    let error = pipeline.update(&[update, items[1].completed()]).await.unwrap_err();
    assert!(matches!(error, StateError::Full(_)), "{error:?}");
    assert!(error.to_string().contains("full"));
    assert_eq!(pipeline.progress().await.unwrap(), before);
    // With room again it goes on.
    sqlx::query("PRAGMA max_page_count = 1000000").execute(&kit.pool).await.unwrap();
    assert_eq!(pipeline.update(&[items[0].completed()]).await.unwrap().applied, 1);
}

#[tokio::test]
async fn what_has_no_name_any_more_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("state.db"), folder.path().join("aside.db"));
    let store = SqliteStore::open(&path).await.unwrap();
    let tracker = StateTracker::new(store, PipelineConfig::default());
    let pipeline = tracker.initialize("nightly", &PHASES).await.unwrap();
    pipeline.add("search", &["a", "b"]).await.unwrap();
    std::fs::rename(&path, &aside).unwrap();
    let told = |done: Result<_, StateError>, what: &str| {
        let error = done.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, StateError::Unreachable(_)) && source.contains(what), "{error:?}");
    };
    told(pipeline.claim("search", 1).await.map(drop), "deleted, moved or replaced");
    told(pipeline.progress().await.map(drop), "deleted, moved or replaced");
    std::fs::copy(&aside, &path).unwrap();
    told(pipeline.claim("search", 1).await.map(drop), "another file has its name");
    // Where it was, it goes on.
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(pipeline.claim("search", 9).await.unwrap().items.len(), 2);
}

/// One connection to a file of its own, and one to what is in memory.
async fn one_of_each(folder: &tempfile::TempDir) -> [SqlitePool; 2] {
    let file = SqliteConnectOptions::new().filename(folder.path().join("ended.db"));
    let file = file.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    // A connection whose test is dropped is closed, and with it what is in memory.
    let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
    let memory = SqliteConnectOptions::new().in_memory(true);
    [pool.clone().connect_with(file).await.unwrap(), pool.connect_with(memory).await.unwrap()]
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    for pool in one_of_each(&folder).await {
        let store = SqliteStore::with_pool(pool.clone()).await.unwrap();
        let tracker = StateTracker::new(store, PipelineConfig::default());
        let pipeline = tracker.initialize("nightly", &PHASES).await.unwrap();
        for round in 0..3 {
            let pages: i64 =
                sqlx::query_scalar("PRAGMA page_count").fetch_one(&pool).await.unwrap();
            let full = format!("PRAGMA max_page_count = {pages}");
            sqlx::query(AssertSqlSafe(full)).execute(&pool).await.unwrap();
            for _ in 0..2 {
                // One row, for which SQLite keeps no way back but that of the whole transaction.
                let error = pipeline.checkpoint("page", Some(&[7; 60_000])).await.unwrap_err();
                assert!(matches!(error, StateError::Full(_)), "{error:?}");
                // Reading, in between, leaves nothing open.
                assert_eq!(pipeline.checkpoints().await.unwrap().len(), round);
            }
            sqlx::query("PRAGMA max_page_count = 1000000").execute(&pool).await.unwrap();
            let name = round.to_string();
            assert_eq!(pipeline.add("search", &[&name]).await.unwrap().added, 1);
            pipeline.checkpoint("page", Some(&[7; 60_000])).await.unwrap();
        }
        assert_eq!(pipeline.claim("search", 9).await.unwrap().items.len(), 3);
        // And for others who use the connection.
        pool.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_ends_by_itself_is_not_the_last() {
    let folder = tempfile::tempdir().unwrap();
    for pool in one_of_each(&folder).await {
        let store = SqliteStore::with_pool(pool.clone()).await.unwrap();
        let tracker = StateTracker::new(store, PipelineConfig::default());
        let pipeline = tracker.initialize("nightly", &PHASES).await.unwrap();
        let ended = "CREATE TRIGGER ended BEFORE INSERT ON pipeline_state
                     BEGIN SELECT RAISE(ROLLBACK, 'by itself'); END";
        sqlx::raw_sql(ended).execute(&pool).await.unwrap();
        // Dropped anywhere on the way, too.
        for polls in 1..=40 {
            let mut add = std::pin::pin!(pipeline.add("search", &["a"]));
            let mut left = polls;
            std::future::poll_fn(|cx| {
                left -= 1;
                if let std::task::Poll::Ready(done) = add.as_mut().poll(cx) {
                    let text = format!("{polls} {done:?}");
                    assert!(text.contains("by itself"), "{text}");
                    return std::task::Poll::Ready(());
                }
                if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
        sqlx::raw_sql("DROP TRIGGER ended").execute(&pool).await.unwrap();
        assert_eq!(pipeline.progress().await.unwrap().whole().total(), 0);
        assert_eq!(pipeline.add("search", &["a"]).await.unwrap().added, 1);
        // Nobody is left in a transaction.
        sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_locked_file_is_told_and_may_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder).await;
    let mine = pool(&path, SqliteConnectOptions::new()).await;
    let tracker =
        StateTracker::new(SqliteStore::with_pool(mine).await.unwrap(), PipelineConfig::default());
    let other = pool(&path, SqliteConnectOptions::new()).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = tracker.initialize("mine", &PHASES).await.unwrap_err();
    assert!(matches!(error, StateError::Busy(_)) && error.is_transient(), "{error:?}");
    lock.rollback().await.unwrap();
    assert_eq!(tracker.pipelines(None, 9).await.unwrap().len(), 1);
    tracker.initialize("mine", &PHASES).await.unwrap();
}

#[tokio::test]
async fn a_file_that_may_only_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder).await;
    let pool_ = pool(&path, SqliteConnectOptions::new().read_only(true)).await;
    let store = SqliteStore::with_pool(pool_).await.unwrap();
    let tracker = StateTracker::new(store, PipelineConfig::default());
    let error = tracker.initialize("mine", &PHASES).await.unwrap_err();
    assert!(matches!(error, StateError::ReadOnly(_)), "{error:?}");
    // And one in which the tables would have to be made.
    let empty = folder.path().join("empty.db");
    sql(&empty, "CREATE TABLE other (id INTEGER)").await;
    let pool = pool(&empty, SqliteConnectOptions::new().read_only(true)).await;
    let error = SqliteStore::with_pool(pool).await.unwrap_err();
    assert!(matches!(error, StateError::ReadOnly(_)), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.db");
    let newer = SCHEMA_VERSION + 1;
    sql(
        &path,
        &format!(
            "CREATE TABLE pipeline_schema (version); INSERT INTO pipeline_schema VALUES ({newer})"
        ),
    )
    .await;
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(
        matches!(error, StateError::Newer { found, known: SCHEMA_VERSION } if found == newer),
        "{error:?}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to look into\n".repeat(50)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let error = SqliteStore::open(&text).await.unwrap_err();
    assert!(matches!(error, StateError::Damaged(_)), "{error:?}");
    assert_eq!(std::fs::read(&text).unwrap(), before);
    for nowhere in [folder.path().to_owned(), folder.path().join("no/such/folder.db")] {
        let error = SqliteStore::open(&nowhere).await.unwrap_err();
        assert!(matches!(error, StateError::Unreachable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder).await;
    let mut bytes = std::fs::read(&path).unwrap();
    // All but the first page, which holds the header and the schema.
    bytes[4_096..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = match SqliteStore::open(&path).await {
        Ok(store) => {
            let tracker = StateTracker::new(store, PipelineConfig::default());
            tracker.initialize("mine", &PHASES).await.unwrap_err()
        }
        Err(error) => error,
    };
    assert!(matches!(error, StateError::Damaged(_)), "{error:?}");
}

#[tokio::test]
async fn tables_of_others_are_left_alone_and_a_failed_migration_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.db");
    // Somebody has a table of a name that the last step of the migration needs.
    let taken = "CREATE TABLE pipelines (id TEXT); INSERT INTO pipelines VALUES ('theirs');
                 CREATE TABLE pipeline_checkpoints (theirs TEXT)";
    sql(&path, taken).await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StateError::Sql(_)), "{error:?}");
    let pool = pool(&path, SqliteConnectOptions::new()).await;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    let count: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2, "theirs");
    sqlx::query("DROP TABLE pipeline_checkpoints").execute(&pool).await.unwrap();
    SqliteStore::with_pool(pool.clone()).await.unwrap();
    let theirs: String =
        sqlx::query_scalar("SELECT id FROM pipelines").fetch_one(&pool).await.unwrap();
    assert_eq!(theirs, "theirs");
}

#[tokio::test]
async fn two_that_open_a_new_file_at_once_make_its_tables_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("new{round}.db"));
        let opened = (0..8).map(|_| tokio::spawn(SqliteStore::open(path.clone())));
        for store in opened.collect::<Vec<_>>() {
            let store = store.await.unwrap().unwrap();
            let tracker = StateTracker::new(store, PipelineConfig::default());
            tracker.initialize("a", &PHASES).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_in_memory_outlives_calls_that_are_dropped() {
    let tracker = StateTracker::open("sqlite::memory:", PipelineConfig::default()).await.unwrap();
    let pipeline = tracker.initialize("a", &PHASES).await.unwrap();
    for polls in 1..=40 {
        let name = polls.to_string();
        let names = [name.as_str()];
        let mut add = std::pin::pin!(pipeline.add("search", &names));
        let mut left = polls % 10 + 1;
        std::future::poll_fn(|cx| {
            left -= 1;
            if add.as_mut().poll(cx).is_ready() || left == 0 {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }
    assert_eq!(pipeline.info().await.unwrap().phases, PHASES);
}

#[tokio::test]
async fn an_url_that_names_no_store_is_told_without_its_password() {
    for url in
        ["", "state.db", "mysql://user:secret@host/db", "sqlite:", "sqlite://", "redis://:secret@h"]
    {
        let error = AnyStore::open(url).await.unwrap_err();
        assert!(matches!(error, StateError::Name { .. }), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
