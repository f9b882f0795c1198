//! What the database promises: whole or not at all, ours or untouched, one writer.
#![allow(missing_docs)]

use std::{fs, path::Path};

use pipedrive_sync::store::{
    Database, Finish, Id, Mode, PageWrite, Reader, RowWrite, Settled, Store, StoreError, WalkState,
    schema,
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

fn database(dir: &TempDir) -> Database {
    dir.path().join("account.sqlite").into()
}

fn walk(entity: &str, mode: Mode, run: i64) -> WalkState {
    WalkState {
        walk: entity.into(),
        entity: entity.into(),
        mode,
        position: None,
        since: None,
        started_at: "2026-03-01T00:00:00Z".into(),
        max_seen: None,
        high_water: None,
        page_size: None,
        pages: 0,
        rows: 0,
        done_at: None,
        last_done: None,
        run,
    }
}

fn row(id: i64, time: &'static str) -> RowWrite<'static> {
    RowWrite { id: Id::Number(id), update_time: Some(time), data: r#"{"add_time":"then"}"# }
}

fn page<'a>(
    state: &'a WalkState,
    rows: &'a [RowWrite<'a>],
    position: Option<&str>,
) -> PageWrite<'a> {
    PageWrite {
        state,
        rows,
        rejected: &[],
        healed: &[],
        gone: &[],
        deleted: false,
        position: position.map(Into::into),
        max_seen: None,
        page_size: Some(500),
        finish: position
            .is_none()
            .then_some(Finish { high_water: Some("2026-01-01T00:00:00Z".into()) }),
    }
}

async fn sql(path: &Path, statements: &'static str) {
    let mut conn =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(statements).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

#[test]
fn there_is_a_table_for_every_entity() {
    let names: Vec<_> = pipedrive_service::Entity::ALL.iter().map(|entity| entity.name()).collect();
    assert_eq!(names, schema::ENTITIES);
}

#[test]
fn a_database_is_named_by_a_path_or_a_url() {
    for (given, path) in [
        ("a.db", "a.db"),
        ("sqlite:a.db", "a.db"),
        ("sqlite:///x/a.db", "/x/a.db"),
        ("sqlite:/x/a.db?mode=rwc", "/x/a.db"),
    ] {
        assert_eq!(given.parse::<Database>().unwrap().path(), Path::new(path), "{given}");
    }
    for given in ["", "sqlite:", "sqlite::memory:", ":memory:", "postgres://host/db"] {
        assert!(matches!(given.parse::<Database>(), Err(StoreError::Name { .. })), "{given}");
    }
}

#[tokio::test]
async fn a_new_database_bears_our_marks_and_opens_again() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    Store::open(&database).await.unwrap().close().await.unwrap();
    let head = fs::read(database.path()).unwrap();
    assert_eq!(head[68..72], schema::APPLICATION_ID.to_be_bytes());
    assert_eq!(head[60..64], schema::VERSION.to_be_bytes());
    Store::open(&database).await.unwrap();
    assert!(!dir.path().join("account.sqlite.new").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(database.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_not_touched() {
    let dir = TempDir::new().unwrap();
    let other = dir.path().join("other.sqlite");
    sql(&other, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").await;
    let text = dir.path().join("notes.txt");
    fs::write(&text, "no database at all").unwrap();
    for path in [other, text, dir.path().to_owned()] {
        let before = fs::read(&path).ok();
        let error = Store::open(&path.clone().into()).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
        assert!(matches!(
            Reader::open(&path.clone().into()).await,
            Err(StoreError::Foreign { .. })
        ));
        assert_eq!(fs::read(&path).ok(), before);
    }
    // Not even a lock or a draft was left beside them.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    Store::open(&database).await.unwrap().close().await.unwrap();
    sql(database.path(), "PRAGMA user_version = 99").await;
    assert!(matches!(Store::open(&database).await, Err(StoreError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named_in_one_line() {
    let dir = TempDir::new().unwrap();
    let database: Database = dir.path().join("no/such/folder.sqlite").into();
    let error = Store::open(&database).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("folder.sqlite"));
    assert!(matches!(Reader::open(&database).await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_has_gone() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    let first = Store::open(&database).await.unwrap();
    let error = Store::open(&database).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(first);
    Store::open(&database).await.unwrap();
}

#[tokio::test]
async fn a_page_is_there_with_its_cursor_or_neither_is() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    let mut store = Store::open(&database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let state = walk("deals", Mode::Full, run);
    store.begin_walks([&state]).await.unwrap();
    store.lease("2026-03-01", 500, Some(1000)).await.unwrap();
    store.commit(&[page(&state, &[row(1, "a"), row(2, "a")], Some("\"p1\""))], None).await.unwrap();

    // Row 4 cannot be written: rows 3 and 4, the cursor and what was spent must all stay behind.
    sql(database.path(), "CREATE TRIGGER boom BEFORE INSERT ON deals WHEN NEW.id = 4 BEGIN SELECT RAISE(ABORT, 'boom'); END").await;
    let settled = Settled { day: "2026-03-01".into(), used: 77, leased: Some(99), limit: 1000 };
    let failed = store
        .commit(&[page(&state, &[row(3, "a"), row(4, "a")], Some("\"p2\""))], Some(&settled))
        .await;
    assert!(failed.unwrap_err().to_string().contains("boom"));
    let walks = store.walks().await.unwrap();
    assert_eq!(walks[0].position.as_deref(), Some("\"p1\""));
    assert_eq!((walks[0].pages, walks[0].rows), (1, 2));
    assert_eq!(store.counts().await.unwrap()["deals"], (2, 0));
    let budget = store.budget("2026-03-01").await.unwrap().unwrap();
    assert_eq!((budget.leased, budget.settled), (500, 0));

    // And the other way round: the cursor cannot be written, so the rows must not be there either.
    sql(
        database.path(),
        "DROP TRIGGER boom;
         CREATE TRIGGER boom BEFORE UPDATE ON sync_state BEGIN SELECT RAISE(ABORT, 'boom'); END",
    )
    .await;
    store.commit(&[page(&state, &[row(3, "a")], Some("\"p2\""))], None).await.unwrap_err();
    assert_eq!(store.counts().await.unwrap()["deals"], (2, 0));
}

#[tokio::test]
async fn the_end_of_a_full_walk_removes_what_was_not_seen() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&database(&dir)).await.unwrap();
    let first = store.begin_run("sync").await.unwrap();
    let state = walk("persons", Mode::Full, first);
    store.begin_walks([&state]).await.unwrap();
    store
        .commit(&[page(&state, &[row(1, "a"), row(2, "a"), row(3, "a")], None)], None)
        .await
        .unwrap();
    assert!(store.walks().await.unwrap()[0].done_at.is_some());

    let state = walk("persons", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    assert_eq!(
        store.commit(&[page(&state, &[row(1, "a")], Some("\"p\""))], None).await.unwrap(),
        [0]
    );
    assert_eq!(store.counts().await.unwrap()["persons"], (3, 0), "nothing is removed half way");
    assert_eq!(store.commit(&[page(&state, &[row(2, "a")], None)], None).await.unwrap(), [1]);
    assert_eq!(store.counts().await.unwrap()["persons"], (2, 0));

    let state = walk("persons", Mode::Incremental, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    assert_eq!(store.commit(&[page(&state, &[], None)], None).await.unwrap(), [0]);
    assert_eq!(
        store.counts().await.unwrap()["persons"],
        (2, 0),
        "an incremental walk removes nothing"
    );
}

#[tokio::test]
async fn a_deal_has_one_home_and_of_whole_lists_its_newer_state_stays() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&database(&dir)).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let (deals, archived) =
        (walk("deals", Mode::Full, run), walk("archived_deals", Mode::Full, run));
    store.begin_walks([&deals]).await.unwrap();
    store.begin_walks([&archived]).await.unwrap();
    store.commit(&[page(&deals, &[row(1, "a"), row(2, "c")], Some("1"))], None).await.unwrap();
    // Deal 1 was archived after it was read; of deal 2 an older state comes late.
    store.commit(&[page(&archived, &[row(1, "b"), row(2, "b")], Some("1"))], None).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts["deals"], counts["archived_deals"]), ((1, 0), (1, 0)));
}

#[tokio::test]
async fn of_what_has_changed_the_last_word_is_true_even_if_its_time_is_older() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&database(&dir)).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let (deals, archived) =
        (walk("deals", Mode::Incremental, run), walk("archived_deals", Mode::Incremental, run));
    store.begin_walks([&deals, &archived]).await.unwrap();
    store.commit(&[page(&deals, &[row(1, "c"), row(2, "c")], Some("1"))], None).await.unwrap();
    // Deal 1 was archived with a time that came late.
    store.commit(&[page(&archived, &[row(1, "b")], Some("1"))], None).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts["deals"], counts["archived_deals"]), ((1, 0), (1, 0)));
    let late = RowWrite { data: r#"{"add_time":"late"}"#, ..row(2, "b") };
    store.commit(&[page(&deals, &[late], Some("2"))], None).await.unwrap();
    let mut reader = Reader::open(&database(&dir)).await.unwrap();
    assert_eq!(reader.sample("deals", 1).await.unwrap()[0].1, late.data);
    // Deleted, and back again, in the same second.
    let rows = [row(2, "b")];
    let gone = PageWrite { deleted: true, ..page(&deals, &rows, Some("3")) };
    store.commit(&[gone], None).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["deals"], (0, 1));
    store.commit(&[page(&deals, &rows, Some("4"))], None).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["deals"], (1, 0));
}

#[tokio::test]
async fn a_lease_is_there_for_others_to_read_once_it_was_written() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    let mut store = Store::open(&database).await.unwrap();
    store.lease("2026-03-01", 1500, None).await.unwrap();
    store.lease("2026-03-01", 3000, Some(150_000)).await.unwrap();
    let row = Reader::open(&database).await.unwrap().last_budget().await.unwrap().unwrap();
    assert_eq!((row.day.as_str(), row.leased, row.limit), ("2026-03-01", 3000, Some(150_000)));
}

#[tokio::test]
async fn a_database_belongs_to_one_company() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&database(&dir)).await.unwrap();
    store.claim("acme").await.unwrap();
    store.claim("acme").await.unwrap();
    assert!(matches!(store.claim("other").await, Err(StoreError::OtherCompany { .. })));
}

#[tokio::test]
async fn rows_are_read_numbers_first_then_texts() {
    use futures_util::TryStreamExt as _;
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    let mut store = Store::open(&database).await.unwrap();
    let state = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let text = |id| RowWrite { id: Id::Text(id), update_time: None, data: "{}" };
    store
        .commit(&[page(&state, &[text("b"), row(10, "a"), text("10"), row(9, "a")], None)], None)
        .await
        .unwrap();
    let mut reader = Reader::open(&database).await.unwrap();
    let ids: Vec<_> = reader.rows("leads").map_ok(|(id, _)| id).try_collect().await.unwrap();
    assert_eq!(ids, ["9", "10", "10", "b"]);
    assert_eq!(reader.sample("leads", 2).await.unwrap().len(), 2);
}
