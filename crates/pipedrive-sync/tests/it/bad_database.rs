//! Databases that cannot be written: full, locked, read only, damaged. A clear line, the right exit code, and nothing half
//! written.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use crate::common;

use std::process::{Command, Stdio};

use crate::common::{Ended, World, kit, server::PostgresServer};
use pipedrive_sync::store::Reader;
use saas_sim::pipedrive::{SimConfig, Sizes};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

fn config(each: u64) -> SimConfig {
    SimConfig { sizes: Some(Sizes::each(each)), burst: Some(100_000), ..SimConfig::default() }
}

/// One line on standard error, and the exit code.
fn one_line(ended: &Ended, code: i32, word: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.contains(word), "{word}: {ended:?}");
}

/// Each walk has as many rows as it says.
async fn counts_agree(world: &World) -> u64 {
    let mut reader = Reader::open(&world.database()).await.unwrap();
    let counts = reader.counts().await.unwrap();
    for walk in reader.walks().await.unwrap() {
        // The walk over recents has no table.
        if let Some((held, _)) =
            counts.get(walk.entity.as_str()).filter(|_| walk.walk == walk.entity)
        {
            assert_eq!(walk.rows, *held, "{}", walk.walk);
        }
    }
    counts.values().map(|(rows, _)| rows).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_the_sync_and_the_next_one_goes_on() {
    let world = World::new(config(400)).await;
    // No file may grow beyond two megabytes; the shell sees to it that this is an error and not a signal.
    let program = world.pipedrive("sync");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 4000; exec \"$0\" sync --quiet --max-batch-size 50"]);
    limited.arg(program.get_program()).env_clear();
    limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = common::ended(limited).await;
    one_line(&ended, 1, "database failed");
    let held = counts_agree(&world).await;
    assert!(held > 0, "it ended before it had begun: {ended:?}");
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
    counts_agree(&world).await;
}

/// What is written into a file that has no name any more is gone when the program ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_or_replaced_under_a_sync_is_not_taken_for_written() {
    let replace: [fn(&std::path::Path); 2] = [
        |file| std::fs::remove_file(file).unwrap(),
        |file| {
            let copy = file.with_extension("copy");
            std::fs::copy(file, &copy).unwrap();
            std::fs::rename(copy, file).unwrap();
        },
    ];
    for (replace, what) in replace.into_iter().zip(["No such file", "another file has its name"]) {
        // Some twenty requests in two seconds: it will not be done before the file is gone.
        let config = SimConfig { burst: None, ..config(400) };
        let world = World::new(config).await;
        let mut program = world.pipedrive("sync");
        program.args(["--quiet", "--max-batch-size", "10"]);
        let sync = tokio::spawn(common::ended(program));
        let begun = async {
            while world.sim.truth().requests < 15 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), begun).await.unwrap();
        replace(&world.path());
        let ended = sync.await.unwrap();
        one_line(&ended, 1, what);
        assert!(ended.err.contains("deleted, moved or replaced"), "{ended:?}");
        assert!(world.sim.truth().requests < 200, "it asked on for nothing");
    }
}

/// SQLite's log of a file that was deleted after a kill holds pages of it; they are not the new file's.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_that_a_deleted_file_has_left_does_not_reach_the_new_one() {
    let world = World::new(config(20)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let log = world.path().with_extension("sqlite-wal");
    let mut conn = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    conn.execute("CREATE TABLE left_behind (x)").await.unwrap();
    // As a kill leaves it: closing would write the log into the file.
    let left = std::fs::read(&log).unwrap();
    assert!(!left.is_empty());
    conn.close().await.unwrap();
    std::fs::remove_file(world.path()).unwrap();
    std::fs::write(&log, left).unwrap();
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
    let mut conn = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'left_behind'";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut conn).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_ends_the_sync_and_the_next_one_goes_on() {
    let Some(server) = PostgresServer::start("a full disk of PostgreSQL") else { return };
    let world = World::new(config(100)).await.with_database(&server.url());
    assert_eq!(world.run("sync", &["--quiet", "--entity", "users"]).await.code, Some(0));
    let mut conn = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    let full = "CREATE FUNCTION pipedrive.full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON pipedrive.deals FOR EACH ROW WHEN (NEW.id > 40)
            EXECUTE FUNCTION pipedrive.full()";
    conn.execute(full).await.unwrap();
    let sync = ["--quiet", "--max-batch-size", "10"];
    one_line(&world.run("sync", &sync).await, 1, "no room");
    counts_agree(&world).await;
    conn.execute("DROP TRIGGER full_disk ON pipedrive.deals").await.unwrap();

    // A database that may only be read.
    conn.execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    let asked = world.sim.truth().requests;
    one_line(&world.run("sync", &sync).await, 2, "cannot be written");
    assert_eq!(world.run("status", &[]).await.code, Some(0));
    assert_eq!(world.sim.truth().requests, asked);
    conn.execute("SET default_transaction_read_only = off").await.unwrap();
    conn.execute("ALTER DATABASE postgres RESET default_transaction_read_only").await.unwrap();

    assert_eq!(world.run("sync", &sync).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_keeps_locked_is_told_so() {
    let world = World::new(config(20)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let mut other = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    one_line(&world.run("sync", &["--quiet"]).await, 1, "locked by somebody else");
    // Reading waits for nobody.
    assert_eq!(world.run("status", &[]).await.code, Some(0));
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_as_we_made_them_end_a_sync_with_a_line() {
    let world = World::new(config(20)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    kit::sqlite(&world.path(), "UPDATE sync_state SET started_at = 'x', position = '{'").await;
    assert_eq!(world.run("status", &[]).await.code, Some(0));
    kit::sqlite(&world.path(), "ALTER TABLE deals RENAME TO theirs").await;
    one_line(&world.run("sync", &["--quiet"]).await, 1, "no such table: deals");
    one_line(&world.run("status", &[]).await, 1, "no such table: deals");

    // Half of a file.
    let whole = std::fs::read(world.path()).unwrap();
    std::fs::write(world.path(), &whole[..whole.len() / 2]).unwrap();
    let ended = world.run("sync", &["--quiet"]).await;
    assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{ended:?}");
}

/// The same program as a user who may only read, in a folder of ours.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_can_read_and_is_told_that_they_cannot_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(config(20)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(world.path(), mode(0o444)).unwrap();
    std::fs::set_permissions(world.dir.path(), mode(0o555)).unwrap();
    let is_root = std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    // Root may write anywhere, and the program lies where others may not look.
    let program = world.dir.path().join("pipedrive");
    std::fs::copy(env!("CARGO_BIN_EXE_pipedrive"), &program).unwrap();
    std::fs::set_permissions(&program, mode(0o555)).unwrap();
    let run = async |command: &str| {
        let ours = world.pipedrive(command);
        let mut as_reader = if is_root {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            setpriv
        } else {
            Command::new(&program)
        };
        as_reader.arg(command).env_clear();
        as_reader.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        as_reader.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        as_reader.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        common::ended(as_reader).await
    };
    for command in ["status", "circuits", "errors", "limits"] {
        let ended = run(command).await;
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{command}");
    }
    one_line(&run("sync").await, 2, "cannot be created or locked");
    // With a log that is not in the file yet, it cannot be read without an index.
    let log = world.dir.path().join("account.sqlite-wal");
    std::fs::set_permissions(world.dir.path(), mode(0o755)).unwrap();
    std::fs::write(&log, [0_u8; 64]).unwrap();
    std::fs::set_permissions(world.dir.path(), mode(0o555)).unwrap();
    one_line(&run("status").await, 2, "cannot be read while a sync writes it");
    std::fs::set_permissions(world.dir.path(), mode(0o755)).unwrap();
}
