//! `kill -9` at any moment: nothing lost, nothing doubled, nothing asked twice that was committed, no token forgotten.
//!
//! Short by default: six kills of each kind, a few seconds. `PIPEDRIVE_KILLS=50` makes it as long as one likes,
//! `PIPEDRIVE_KILL_SEED` another story.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use common::World;
use pipedrive_sync::store::Reader;
use saas_sim::pipedrive::{Churn, Faults, LogEntry, SimConfig, Sizes};

/// What every start asks before its first page.
const START_UP: &str = "/api/v1/users/me";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Kills the program after so many more answers, or not at all.
#[derive(Default)]
struct Trap {
    left: AtomicI64,
    child: Mutex<Option<Child>>,
}

impl Trap {
    fn answered(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(child) = &mut *self.child.lock().unwrap()
        {
            child.kill().unwrap();
        }
    }

    fn kill(&self) {
        if let Some(child) = &mut *self.child.lock().unwrap() {
            child.kill().unwrap();
        }
    }
}

/// Reads progress until the end; kills after so many commits.
fn watch(out: ChildStdout, trap: &Trap, mut commits: Option<u64>) -> u64 {
    let mut seen = 0;
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if line.contains("\"committed\"") {
            seen += 1;
            if let Some(left) = &mut commits {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    trap.kill();
                    commits = None;
                }
            }
        }
    }
    seen
}

/// Pages committed and completeness of every walk, by the path of its list.
async fn committed(world: &World) -> BTreeMap<String, (u64, bool)> {
    // Killed before the database was there: nothing is committed.
    let Ok(mut reader) = Reader::open(&world.database()).await else { return BTreeMap::new() };
    let walks = reader.walks().await.unwrap();
    walks
        .into_iter()
        .filter_map(|walk| {
            let entity: pipedrive_service::Entity = walk.entity.parse().ok()?;
            Some((entity.endpoint().to_owned(), (walk.pages, walk.done_at.is_some())))
        })
        .collect()
}

fn path(entry: &LogEntry) -> &str {
    entry.target.split('?').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sync_goes_on_without_loss_doubles_or_forgotten_tokens() {
    story(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sync_goes_on_without_loss_doubles_or_forgotten_tokens_on_postgresql() {
    let Some(server) = common::server::PostgresServer::start("kills on PostgreSQL") else { return };
    story(Some(server.url())).await;
}

async fn story(database: Option<String>) {
    let kills = number("PIPEDRIVE_KILLS", 6);
    let mut random = fastrand::Rng::with_seed(number("PIPEDRIVE_KILL_SEED", 1));
    let mut faults = Faults::none();
    faults.latency_before_ms = [0, 6];
    faults.latency_after_ms = [0, 6];
    let each = 40 * kills.max(4);
    let config = SimConfig {
        sizes: Some(Sizes::each(each)),
        burst: Some(100_000),
        // What is left of each is asked for again after its kill.
        day_tokens: Some(150_000.max(kills * 5_000)),
        log: 10_000_000,
        faults,
        ..SimConfig::default()
    };
    let mut world = World::new(config).await;
    world.elsewhere = database;
    let trap = Arc::new(Trap::default());
    let hook = Arc::clone(&trap);
    world.sim.on_answer(move |_| hook.answered());

    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut seen, mut killed, mut starts) = (0, 0, 0);
    let mut twice = BTreeSet::new();
    loop {
        let before = committed(&world).await;
        starts += 1;
        // Half of the kills by answers, half by commits; the last run is left alone.
        let last = killed >= kills;
        let by_answers = random.bool();
        let count = random.u64(1..20);
        trap.left
            .store(if last || !by_answers { i64::MAX } else { count as i64 }, Ordering::SeqCst);
        let mut program = world.pipedrive("sync");
        program
            .args(["--progress", "json", "--quiet", "--max-batch-size", "10"])
            .env("PIPEDRIVE_BURST_LIMIT", "100000")
            .stderr(Stdio::piped());
        let out = {
            let mut place = trap.child.lock().unwrap();
            let mut child = program.spawn().unwrap();
            let out = child.stdout.take().unwrap();
            *place = Some(child);
            out
        };
        let watcher = Arc::clone(&trap);
        let commits = (!last && !by_answers).then_some(count);
        tokio::task::spawn_blocking(move || watch(out, &watcher, commits)).await.unwrap();
        let child = trap.child.lock().unwrap().take().unwrap();
        let ended =
            tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        // Requests of the dead may still be under way inside the simulator.
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;

        // Asked in this run: no page that was committed before it, and no page twice.
        let log = world.sim.truth().log;
        let mut in_this_run = BTreeSet::new();
        for entry in &log[seen..] {
            let path = path(entry).to_owned();
            if path == START_UP {
                continue;
            }
            assert!(
                in_this_run.insert(entry.target.clone()),
                "{} was asked twice in one run",
                entry.target
            );
            let pages = order.entry(path.clone()).or_default();
            match pages.iter().position(|page| *page == entry.target) {
                None => pages.push(entry.target.clone()),
                Some(index) => {
                    twice.insert(entry.target.clone());
                    let (pages, done) = before.get(&path).copied().unwrap_or_default();
                    assert!(
                        index as u64 >= pages && !done,
                        "{} was committed, and asked again",
                        entry.target
                    );
                }
            }
        }
        let start_ups = log[seen..].iter().filter(|entry| path(entry) == START_UP).count();
        assert!(start_ups <= 1, "the start-up request was made {start_ups} times in one run");
        seen = log.len();

        // Whatever was charged is on the disk as leased.
        let charged = world.sim.truth().day.used;
        if charged > 0 {
            let budget = Reader::open(&world.database())
                .await
                .unwrap()
                .last_budget()
                .await
                .unwrap()
                .unwrap();
            assert!(budget.leased >= charged, "{} leased, {charged} charged", budget.leased);
        }
        match ended.status.code() {
            Some(0) => break,
            Some(code) => panic!("ended with {code}: {}", String::from_utf8_lossy(&ended.stderr)),
            None => killed += 1,
        }
    }
    assert_eq!(world.differences().await, Vec::<String>::new());
    // Though each start counts all that was leased as spent, the server's word brings the lease down again.
    let (truth, budget) = (
        world.sim.truth().day,
        Reader::open(&world.database()).await.unwrap().last_budget().await.unwrap().unwrap(),
    );
    let step = truth.limit / 100;
    assert!(
        budget.leased <= truth.used + 4 * step,
        "{} leased, {} spent",
        budget.leased,
        truth.used
    );
    let requests = world.sim.truth().requests;
    let pages: usize = order.values().map(Vec::len).sum();
    println!(
        "{killed} kills, {starts} starts, {requests} requests for {pages} pages, {} pages asked again, none of them committed",
        twice.len()
    );
    assert!(
        killed >= kills || requests as usize <= pages + starts,
        "the account was too small for {kills} kills"
    );
    // Each start asks once who it is; each kill costs at most the pages that were under way or fetched ahead.
    let again = requests as usize - pages - starts;
    assert!(again <= killed as usize * 21 * 4, "{again} pages asked again for {killed} kills");
}

/// Where each walk of cursors stands that is under way, by the path of its list.
async fn stands(world: &World) -> BTreeMap<String, String> {
    let Ok(mut reader) = Reader::open(&world.database()).await else { return BTreeMap::new() };
    let walks = reader.walks().await.unwrap().into_iter();
    walks
        .filter(|walk| walk.done_at.is_none() && walk.walk == walk.entity)
        .filter_map(|walk| {
            let entity: pipedrive_service::Entity = walk.entity.parse().ok()?;
            let cursor = walk.position?.strip_prefix("cursor:")?.to_owned();
            Some((entity.endpoint().to_owned(), cursor))
        })
        .collect()
}

/// The cursor of a page's address.
fn cursor(target: &str) -> Option<String> {
    let query = target.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("cursor="))?;
    Some(value.replace("%3D", "=").replace("%2B", "+").replace("%2F", "/"))
}

fn storm(seed: u64) -> Faults {
    let mut faults = Faults::storm();
    faults.seed = seed;
    faults.latency_before_ms = [0, 4];
    faults.latency_after_ms = [0, 4];
    faults
}

/// What shows by what changed, and by recents: all but deleted leads, and what goes without a trace.
fn busy(seed: u64) -> Churn {
    let mut churn = Churn::busy();
    churn.seed = seed;
    churn.removals = 0.0;
    churn.entities.retain(|name| name != "leads");
    churn.entities.extend(["users", "pipelines", "stages"].map(String::from));
    churn
}

/// One run that is killed after so many answers or commits, if it does not end before. True if it was.
async fn killed_run(world: &World, trap: &Arc<Trap>, random: &mut fastrand::Rng) -> bool {
    let by_answers = random.bool();
    let count = random.u64(1..60);
    trap.left.store(if by_answers { count as i64 } else { i64::MAX }, Ordering::SeqCst);
    let mut program = quick(world);
    program.args(["--progress", "json"]).stderr(Stdio::piped());
    let out = {
        let mut place = trap.child.lock().unwrap();
        let mut child = program.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        *place = Some(child);
        out
    };
    let watcher = Arc::clone(trap);
    let commits = (!by_answers).then_some(count);
    tokio::task::spawn_blocking(move || watch(out, &watcher, commits)).await.unwrap();
    let child = trap.child.lock().unwrap().take().unwrap();
    let ended =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    // Requests of the dead may still be under way inside the simulator.
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    match ended.status.code() {
        // The storm may be too much for one run.
        Some(0 | 5) => false,
        Some(code) => panic!("ended with {code}: {}", String::from_utf8_lossy(&ended.stderr)),
        None => true,
    }
}

fn quick(world: &World) -> std::process::Command {
    let mut program = world.pipedrive("sync");
    program
        .args(["--quiet", "--max-batch-size", "10"])
        .env("PIPEDRIVE_BURST_LIMIT", "100000")
        .env("PIPEDRIVE_REQUEST_TIMEOUT", "2s");
    program
}

async fn quiet_run(world: &World, args: &[&str]) {
    let mut program = quick(world);
    program.args(args);
    let ended = common::ended(program).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_killed_in_a_storm_while_rows_change_ends_equal_to_what_the_api_shows() {
    let kills = number("PIPEDRIVE_KILLS", 6);
    let seed = number("PIPEDRIVE_KILL_SEED", 1);
    let mut random = fastrand::Rng::with_seed(seed);
    let config = SimConfig {
        sizes: Some(Sizes::each(150)),
        burst: Some(100_000),
        day_tokens: Some(50_000_000),
        log: 5_000_000,
        faults: storm(seed),
        churn: busy(seed),
        ..SimConfig::default()
    };
    let world = World::new(config).await;
    let trap = Arc::new(Trap::default());
    let hook = Arc::clone(&trap);
    world.sim.on_answer(move |_| hook.answered());

    let (mut killed, mut starts, mut seen, mut resumed) = (0, 0, 0, 0);
    while killed < kills {
        let before = stands(&world).await;
        starts += 1;
        assert!(starts <= 4 * kills + 20, "{killed} kills in {starts} starts");
        killed += u64::from(killed_run(&world, &trap, &mut random).await);

        let log = world.sim.truth().log;
        let mut asked = BTreeSet::new();
        let mut begun = BTreeSet::new();
        for entry in log[seen..].iter().filter(|entry| !entry.target.contains("status=deleted")) {
            let at = cursor(&entry.target);
            // A walk under way goes on where it was committed, and from there only forward.
            if let Some(committed) = before.get(path(entry))
                && begun.insert(path(entry).to_owned())
            {
                resumed += 1;
                assert_eq!(at.as_ref(), Some(committed), "{}", entry.target);
            }
            let good = entry.status == Some(200) && entry.fault.is_none();
            if good && at.is_some() {
                assert!(asked.insert(entry.target.clone()), "{} twice in one run", entry.target);
            }
        }
        let start_ups = log[seen..].iter().filter(|entry| {
            path(entry) == START_UP && entry.status == Some(200) && entry.fault.is_none()
        });
        assert!(start_ups.count() <= 1, "more than one start-up request succeeded in one run");
        seen = log.len();
        let charged = world.sim.truth().day.used;
        let held = Reader::open(&world.database()).await;
        if let (true, Ok(mut reader)) = (charged > 0, held) {
            let budget = reader.last_budget().await.unwrap().unwrap();
            assert!(budget.leased >= charged, "{} leased, {charged} charged", budget.leased);
        }
    }
    trap.left.store(i64::MAX, Ordering::SeqCst);
    world.sim.set_faults(Faults::none()).unwrap();
    world.sim.set_churn(Churn::none()).unwrap();
    // The first finishes what was cut short, the second sees what has changed behind its back.
    quiet_run(&world, &[]).await;
    quiet_run(&world, &[]).await;
    let truth = world.sim.truth();
    println!(
        "{killed} kills, {starts} starts, {resumed} walks resumed, {} requests, {:.1} % of them failed by a fault",
        truth.requests,
        truth.share_failed() * 100.0
    );
    // Deleted leads are shown nowhere.
    let mut differ = world.differences().await;
    differ.retain(|line| !line.starts_with("leads"));
    if !differ.is_empty() {
        for theirs in saas_sim::pipedrive::Entity::ALL {
            let rows = world.rows_that_differ(common::ours(theirs)).await;
            rows.iter().take(3).for_each(|row| println!("{row}"));
        }
    }
    assert_eq!(differ, Vec::<String>::new());

    // What goes without a trace is found where the whole lists are read.
    let mut traceless = Churn::busy();
    traceless.removals = 20.0;
    world.sim.change_now(traceless).unwrap();
    quiet_run(&world, &[]).await;
    assert_ne!(world.differences().await, Vec::<String>::new(), "only a sweep can see it");
    quiet_run(&world, &["--sweep-every", "0h"]).await;
    assert_eq!(world.differences().await, Vec::<String>::new());
}
