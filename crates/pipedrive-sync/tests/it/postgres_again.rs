//! A connection to PostgreSQL that is lost while a sync is under way, and made anew.
#![allow(missing_docs)]

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::cases::store::{page, row, walk};
use crate::common::{self, Ended, World, config, kit::Kit, server::PostgresServer};
use pipedrive_sync::store::{Id, Mode, Reader, Settled, Store, StoreError, Written};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Ends the sessions of syncs.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pipedrive %'";

fn slow() -> saas_sim::pipedrive::SimConfig {
    let mut slow = config(1_000);
    slow.faults.latency_before_ms = [5, 10];
    slow
}

type Running = tokio::task::JoinHandle<Ended>;

/// Waits until so many more were made by a sync that goes on.
async fn requests_of(running: &mut Running, world: &World, more: u64) {
    tokio::select! {
        () = requests(world, more) => {}
        ended = running => panic!("it has ended: {:?}", ended.unwrap()),
    }
}

/// Waits until so many more were made; a sync that has ended makes none.
async fn requests(world: &World, more: u64) {
    let wanted = world.sim.truth().requests + more;
    let made = async {
        while world.sim.truth().requests < wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.expect("the sync goes on");
}

async fn is_whole_and_asked_and_counted_once(world: &World) {
    world.is_whole_and_counted_once().await;
    let mut reader = Reader::open(&world.database()).await.unwrap();
    let runs = reader.runs(10).await.unwrap();
    assert_eq!(runs.len(), 1, "all in one run");
    let log = world.sim.truth().log;
    let mut asked: Vec<_> = log.iter().map(|entry| entry.target.as_str()).collect();
    asked.sort_unstable();
    let twice: Vec<_> = asked.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "pages were held while the server was away: {twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ends_is_made_anew_as_often_as_it_must() {
    let Some(server) = PostgresServer::start("sessions that PostgreSQL ends") else { return };
    let world = World::new(slow()).await.with_database(&server.url());
    let mut program = world.pipedrive("sync");
    program.args(["--max-batch-size", "10", "--json"]);
    let mut running = tokio::spawn(common::ended(program));
    let mut conn = PgConnection::connect(&server.url()).await.unwrap();
    let mut ended = 0;
    for _ in 0..8 {
        requests_of(&mut running, &world, 30).await;
        ended += conn.execute(TERMINATE).await.unwrap().rows_affected();
    }
    assert!(ended >= 5, "{ended}");
    let ended = running.await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    is_whole_and_asked_and_counted_once(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_is_waited_for() {
    let Some(mut server) = PostgresServer::start("a restart of PostgreSQL") else { return };
    let world = World::new(slow()).await.with_database(&server.url());
    let mut program = world.pipedrive("sync");
    program.args(["--max-batch-size", "10", "--json"]);
    let mut running = tokio::spawn(common::ended(program));
    for _ in 0..2 {
        requests_of(&mut running, &world, 60).await;
        server.crash();
        assert!(!running.is_finished());
        server.run();
    }
    let ended = running.await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    is_whole_and_asked_and_counted_once(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_waiting_for_a_server() {
    let Some(mut server) = PostgresServer::start("a signal without PostgreSQL") else { return };
    let url = format!("{}?reconnect=3600", server.url());
    let world = World::new(slow()).await.with_database(&url);
    let mut program = world.pipedrive("sync");
    program.args(["--max-batch-size", "10", "--quiet"]);
    let child = program.spawn().unwrap();
    let id = child.id().to_string();
    requests(&world, 60).await;
    server.crash();
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_sync_whose_server_stands_still() {
    let Some(server) = PostgresServer::start("a PostgreSQL that stands still") else { return };
    let world = World::new(slow()).await.with_database(&server.url());
    let mut program = world.pipedrive("sync");
    program.args(["--max-batch-size", "10", "--quiet"]);
    let child = program.spawn().unwrap();
    let id = child.id().to_string();
    requests(&world, 60).await;
    let still = server.stand_still();
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
    drop(still);
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("does not answer"), "{said}");
    // The next one goes on.
    let ended = world.run("sync", &["--quiet"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_has_written_meanwhile_is_not_written_over() {
    let Some(kit) = Kit::schemas("two syncs on PostgreSQL") else { return };
    let place = kit.place();
    let mut first = Store::open(&place.database).await.unwrap();
    let state = walk("deals", Mode::Full, first.begin_run("sync").await.unwrap());
    first.begin_walks([&state]).await.unwrap();
    first.commit(&[page(&state, &[row(1, "a")], Some("1"))], None).await.unwrap();
    place.sql(TERMINATE).await;
    // The lock has gone with the session.
    let mut second = Store::open(&place.database).await.unwrap();
    second.begin_run("sync").await.unwrap();
    second.close().await.unwrap();
    let error = first.commit(&[page(&state, &[row(2, "a")], Some("2"))], None).await.unwrap_err();
    assert!(matches!(error, StoreError::Overtaken { .. }), "{error:?}");
    assert_eq!(place.texts("SELECT id FROM deals").await, ["1"]);

    // A server that has not seen the last lease.
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    store.begin_run("sync").await.unwrap();
    store.lease("2026-03-01", 100, Some(1000)).await.unwrap();
    store.lease("2026-03-01", 600, Some(1000)).await.unwrap();
    place
        .sql(
            "UPDATE budget SET leased = 100; UPDATE meta SET value = 'before' WHERE key = 'commit'",
        )
        .await;
    place.sql(TERMINATE).await;
    let error = store.lease("2026-03-01", 700, Some(1000)).await.unwrap_err();
    assert!(matches!(error, StoreError::Overtaken { .. }), "{error:?}");

    // A server that has not seen the last commit, as one that was behind and took over.
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let state = walk("deals", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    store.commit(&[page(&state, &[row(1, "a")], Some("1"))], None).await.unwrap();
    place.sql("DELETE FROM deals; UPDATE meta SET value = 'before' WHERE key = 'commit'").await;
    place.sql(TERMINATE).await;
    let error = store.commit(&[page(&state, &[row(2, "a")], Some("2"))], None).await.unwrap_err();
    assert!(matches!(error, StoreError::Overtaken { .. }), "{error:?}");
    assert_eq!(place.texts("SELECT id FROM deals").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_read_and_noted_at_the_start_and_the_end_survives_a_lost_session() {
    let Some(kit) = Kit::schemas("lost sessions beside the pages") else { return };
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    macro_rules! each {
        ($($work:expr),+ $(,)?) => {$(
            place.sql(TERMINATE).await;
            $work.await.unwrap();
        )+};
    }
    each!(
        store.note_options(run, "{}"),
        store.claim("7"),
        store.known_limit(),
        store.quarantined(),
        store.forget_quarantined("deals", "1", Id::Number(1)),
        store.circuits(),
        store.swept(),
        store.walks(),
        store.note_limits("{}"),
        store.counts(),
        store.end_run(run, 0, "complete", "{}"),
    );
}

/// Hands everything on, but for the answer to the next COMMIT once it is told so: then the line is cut.
async fn wire(to: String, cut: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            tokio::spawn(hand_on(client, server, Arc::clone(&cut)));
        }
    });
    port
}

async fn hand_on(mut client: TcpStream, mut server: TcpStream, cut: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                server.write_all(&up[..read]).await.unwrap();
                let commits = up[..read].windows(6).any(|word| word == b"COMMIT");
                if commits && cut.swap(false, Ordering::SeqCst) {
                    // It is committed when the server answers; nobody hears that.
                    assert_ne!(server.read(&mut down).await.unwrap(), 0);
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                client.write_all(&down[..read]).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_done_twice() {
    let Some(kit) = Kit::schemas("a lost answer of PostgreSQL") else { return };
    let place = kit.place();
    let (address, rest) = place.name.split_once("@").unwrap().1.split_once('/').unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let port = wire(address.to_owned(), Arc::clone(&cut)).await;
    let name = format!("postgres://postgres@127.0.0.1:{port}/{rest}&sslmode=disable");
    let mut store = Store::open(&name.parse().unwrap()).await.unwrap();
    let mut state = walk("deals", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let settled = Settled { day: "2026-03-01".into(), used: 77, leased: None, limit: 1000 };
    store.commit(&[page(&state, &[row(1, "a")], Some("1"))], Some(&settled)).await.unwrap();
    cut.store(true, Ordering::SeqCst);
    state.pages = 1;
    let written = store.commit(&[page(&state, &[row(1, "a"), row(2, "a")], Some("2"))], None).await;
    assert!(!cut.load(Ordering::SeqCst), "the line was cut");
    assert_eq!(
        written.unwrap(),
        [Written { unchanged: 1, removed: 0 }],
        "and it knows what it did"
    );
    let walks = store.walks().await.unwrap();
    assert_eq!((walks[0].pages, walks[0].rows), (2, 3), "once");
    // The lock is held again.
    let error = Store::open(&place.database).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    store.commit(&[page(&state, &[row(3, "a")], Some("3"))], None).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["deals"], (3, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_server_longer_than_was_said_or_when_told_to_stop() {
    let Some(kit) = Kit::schemas("a server that stays away") else { return };
    let (one, two) = (kit.place(), kit.place());
    let mut first =
        Store::open(&format!("{}&reconnect=0", one.name).parse().unwrap()).await.unwrap();
    let mut second = Store::open(&two.database).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    second.stop_with(stopped);
    drop(kit);
    assert!(matches!(first.lease("2026-03-01", 1, None).await, Err(StoreError::Lost(_))));
    stop.send_replace(true);
    assert!(matches!(second.lease("2026-03-01", 1, None).await, Err(StoreError::Lost(_))));
    // And no second time.
    assert!(matches!(second.end_run(1, 5, "lost", "{}").await, Err(StoreError::Lost(_))));
}
