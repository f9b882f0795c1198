//! What the database promises: whole or not at all, ours or untouched, one writer. One suite on both databases, then
//! what only a file or only a server has.
#![allow(missing_docs)]

use crate::cases;
use std::{fs, path::Path};

use crate::common::kit::Kit;
use pipedrive_sync::store::{Database, Reader, Store, StoreError, schema};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

/// Runs every case on databases of its own.
macro_rules! suite {
    ($kit:expr, $($module:ident: $($case:ident),+;)+) => {{
        let kit = $kit;
        $($(
            eprintln!("  {}", stringify!($case));
            cases::$module::$case(&kit).await;
        )+)+
    }};
}

macro_rules! all {
    ($kit:expr) => {
        suite!(
            $kit,
            store:
            a_second_writer_is_refused_until_the_first_has_gone,
            a_page_is_there_with_its_cursor_or_neither_is,
            the_end_of_a_full_walk_removes_what_was_not_seen,
            a_row_that_is_held_as_it_came_is_not_written_again_and_outlives_the_walk,
            a_deal_has_one_home_and_of_whole_lists_its_newer_state_stays,
            of_what_has_changed_the_last_word_is_true_even_if_its_time_is_older,
            a_row_that_cannot_be_used_is_kept_with_its_page_and_forgotten_when_it_is_healed,
            a_row_that_is_healed_while_a_full_walk_is_parked_outlives_its_end,
            what_a_run_was_asked_to_do_is_written_down,
            a_lease_is_there_for_others_to_read_once_it_was_written,
            a_database_belongs_to_one_company,
            rows_are_read_numbers_first_then_texts,
            a_row_comes_back_as_it_came_letter_for_letter,
            of_two_rows_with_one_identifier_the_later_counts,
            what_no_text_of_the_database_can_hold_does_not_stop_a_sync,
            there_is_nothing_to_read_before_the_first_sync,
            what_is_done_beside_a_sync_waits_for_nobody;
            views:
            a_view_has_the_fields_by_their_names_in_both_versions_shapes,
            a_view_follows_its_definitions,
            who_holds_on_to_a_view_does_not_stop_a_sync;
        )
    };
}

#[tokio::test]
async fn sqlite_keeps_its_promises() {
    all!(Kit::files());
}

#[tokio::test]
async fn postgresql_keeps_its_promises() {
    let Some(kit) = Kit::schemas("the suite of the store on PostgreSQL") else { return };
    all!(kit);
}

fn database(dir: &TempDir) -> Database {
    dir.path().join("account.sqlite").into()
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
        assert_eq!(given.parse::<Database>().unwrap().path(), Some(Path::new(path)), "{given}");
    }
    let server: Database =
        "postgres://u:p%40ss@h:5433/db?sslmode=require&schema=x".parse().unwrap();
    assert_eq!(server.path(), None);
    assert_eq!(server.to_string(), "postgres://u@h:5433/db?schema=x");
    assert!(!format!("{server:?}").contains("p%40ss"));
    assert_eq!(server, "postgres://u@h:5433/db?schema=x".parse().unwrap());
    let schema = |url: &str, schema| url.parse::<Database>().unwrap().in_schema(schema);
    assert_eq!(
        schema("postgres://h/db", "mine").unwrap().to_string(),
        "postgres://h/db?schema=mine"
    );
    assert_eq!(
        schema("postgres://h/db?schema=x", "mine").unwrap().to_string(),
        "postgres://h/db?schema=x",
        "the URL goes before the environment"
    );
    assert_eq!(schema("a.db", "mine").unwrap().to_string(), "a.db");
    for wrong in ["", "1a", "A", "a b", "a\"b", "pg_x", &"a".repeat(64)] {
        assert!(
            matches!(schema("postgres://h/db", wrong), Err(StoreError::Schema { .. })),
            "{wrong}"
        );
    }
    let error = "postgres://u:hunter2@h:port/db".parse::<Database>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    let error = "postgress://u:hunter2@h/db".parse::<Database>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    for given in ["", "sqlite:", "sqlite::memory:", ":memory:", "mysql://host/db", "file:a.db"] {
        assert!(matches!(given.parse::<Database>(), Err(StoreError::Name { .. })), "{given}");
    }
}

#[tokio::test]
async fn a_new_database_bears_our_marks_and_opens_again() {
    let dir = TempDir::new().unwrap();
    let database = database(&dir);
    Store::open(&database).await.unwrap().close().await.unwrap();
    let head = fs::read(database.path().unwrap()).unwrap();
    assert_eq!(head[68..72], schema::APPLICATION_ID.to_be_bytes());
    assert_eq!(head[60..64], schema::VERSION.to_be_bytes());
    Store::open(&database).await.unwrap();
    assert!(!dir.path().join("account.sqlite.new").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(database.path().unwrap()).unwrap().permissions().mode() & 0o777,
            0o600
        );
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
    sql(database.path().unwrap(), "PRAGMA user_version = 99").await;
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
