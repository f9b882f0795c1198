//! A sync that waits for the next day, on a paused clock: the account is in this process, and its hours pass at once.
#![allow(missing_docs)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{config, digest};
use pipedrive_service::{Client, Config, Entity, Sources};
use pipedrive_sync::{
    engine::{self, Request, SyncOptions},
    exit::{Code, Failure},
    progress::{Event, Progress},
    report::SyncResult,
    store::{Database, Reader, Store},
};
use saas_sim::pipedrive::{self as theirs, Churn, LogEntry, Sim, SimConfig};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, advance},
};
use tower_adaptive_page::Memory;
use tower_ratelimit_tokens::AnchoredClock;

/// Midnight is fifteen hours away when the account begins.
const NIGHT: Duration = Duration::from_secs(15 * 3600);

/// When it was parked, until when by its word, how long that was by its own clock, and what had been asked by then.
#[derive(Clone, Debug)]
struct Parked {
    at: Instant,
    sleeps: Duration,
    reason: String,
    requests: u64,
}

#[derive(Debug)]
struct Watcher {
    sim: Sim,
    parked: Mutex<Vec<Parked>>,
    tell: mpsc::UnboundedSender<()>,
}

impl Progress for Watcher {
    fn event(&self, event: &Event) {
        let Event::Parked { until, reason } = event else { return };
        let until: jiff::Timestamp = until.parse().unwrap();
        let sleeps = until.duration_since(jiff::Timestamp::now()).try_into().unwrap();
        let requests = self.sim.truth().requests;
        let (at, reason) = (Instant::now(), reason.clone());
        self.parked.lock().unwrap().push(Parked { at, sleeps, reason, requests });
        let _ = self.tell.send(());
    }
}

struct Night {
    watcher: Arc<Watcher>,
    client: Client,
    dir: TempDir,
    stop: watch::Sender<bool>,
    /// Tells that a sync was parked.
    told: mpsc::UnboundedReceiver<()>,
    /// A paused clock leaps ahead when all wait, for SQLite's thread too. While this lives it goes by small steps.
    _steps: std::sync::mpsc::Sender<()>,
}

impl Night {
    /// The day's tokens are enough for two thirds of what is asked for.
    fn new() -> Self {
        let sim = Sim::new(SimConfig { day_tokens: Some(400), ..config(200) }).unwrap();
        let sources = Sources::new()
            .set("connection.api_token", sim.api_token())
            .set("connection.company_domain", "acme")
            .set("robustness.memory_management.max_batch_size", "10");
        // Not this machine's memory: on a full one pages would be shorter.
        let builder = Client::builder(Config::load(&sources).unwrap())
            .leased(true)
            .seed(1)
            .wall_clock(AnchoredClock::new(sim.now()))
            .memory_probe(|| Some(Memory { used: 1, limit: 100 }));
        let client = builder.build_over(sim.service()).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let watcher = Arc::new(Watcher { sim, parked: Mutex::default(), tell });
        let (steps, ends) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ends.recv());
        tokio::spawn(async {
            while tokio::task::spawn_blocking(|| ()).await.is_ok() {
                advance(Duration::from_millis(1)).await;
            }
        });
        let (dir, stop) = (TempDir::new().unwrap(), watch::channel(false).0);
        Self { watcher, client, dir, stop, told, _steps: steps }
    }

    fn database(&self) -> Database {
        self.dir.path().join("account.sqlite").into()
    }

    fn sync(&self) -> JoinHandle<Result<SyncResult, Failure>> {
        let request = Request {
            client: self.client.clone(),
            database: self.database(),
            options: SyncOptions {
                entities: vec!["persons,notes".into()],
                wait: true,
                ..SyncOptions::default()
            },
            command: "sync",
            progress: self.watcher.clone(),
            stop: self.stop.subscribe(),
            totals: None,
        };
        tokio::spawn(engine::run(request))
    }

    async fn parked(&mut self) -> Parked {
        self.told.recv().await.unwrap();
        let parked = self.watcher.parked.lock().unwrap();
        assert_eq!(parked.len(), 1, "{parked:?}");
        parked[0].clone()
    }

    /// An hour later, whoever has something to do has done it.
    async fn an_hour_later(&self) {
        advance(Duration::from_secs(3600)).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    async fn exit_codes(&self) -> Vec<Option<i64>> {
        let mut reader = Reader::open(&self.database()).await.unwrap();
        reader.runs(10).await.unwrap().iter().map(|run| run.exit_code).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_day_is_slept_over_and_the_next_one_finishes_what_it_began() {
    let mut night = Night::new();
    let sim = night.watcher.sim.clone();
    let begun = Instant::now();
    let sync = night.sync();
    let parked = night.parked().await;
    assert!(parked.reason.contains("it can go on at"), "{parked:?}");
    // It sleeps all hours but the last.
    for _ in 1..15 {
        night.an_hour_later().await;
        assert!(!sync.is_finished());
        assert_eq!(sim.truth().requests, parked.requests, "nothing is asked while it sleeps");
    }
    advance(Duration::from_secs(3600)).await;
    let result = sync.await.unwrap().unwrap();
    assert_eq!((result.exit_code, result.outcome.as_str()), (0, "complete"));
    // It said midnight, to the second, and that is when it woke; not a request before.
    let midnight = begun + NIGHT;
    let said = parked.at + parked.sleeps;
    let off = said.max(midnight) - said.min(midnight);
    assert!(off <= Duration::from_secs(2), "{parked:?} is {off:?} off");
    assert!(begun.elapsed() >= NIGHT, "{:?}", begun.elapsed());
    let truth = sim.truth();
    let arrived = |entry: &LogEntry| sim.started() + Duration::from_micros(entry.arrived_us);
    let times: Vec<_> = truth.log.iter().map(arrived).collect();
    assert_eq!(times.iter().filter(|at| **at <= parked.at).count() as u64, parked.requests);
    assert!(times.iter().all(|at| *at <= parked.at || *at >= midnight), "{times:?}");
    assert!(truth.requests > parked.requests, "the rest came with the new day");
    assert_eq!(truth.refusals.day, 0, "the day was never overdrawn");

    let mut reader = Reader::open(&night.database()).await.unwrap();
    for entity in [Entity::Persons, Entity::Notes] {
        let account = sim.digest(theirs::Entity::by_name(entity.name()).unwrap());
        let held = digest(&mut reader, entity).await;
        assert_eq!((held.rows, &held.sha256), (account.rows, &account.sha256), "{entity}");
    }
    assert_eq!(night.exit_codes().await, [Some(0), Some(4)], "two runs, the newest first");
    // And what changes is found by the next one, on the tokens that are left.
    sim.change_now(Churn { updates: 20.0, even: true, ..Churn::none() }).unwrap();
    assert_eq!(night.sync().await.unwrap().unwrap().exit_code, 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_while_it_sleeps_ends_at_once_and_lets_go_of_the_database() {
    let mut night = Night::new();
    let sync = night.sync();
    let parked = night.parked().await;
    night.an_hour_later().await;
    assert!(!sync.is_finished());
    night.stop.send_replace(true);
    let failure = sync.await.unwrap().unwrap_err();
    assert_eq!(failure, Failure::interrupted());
    assert_eq!(failure.code, Code::Other);
    assert!(parked.at.elapsed() < Duration::from_secs(3601), "{:?}", parked.at.elapsed());
    assert_eq!(night.watcher.sim.truth().requests, parked.requests);
    assert_eq!(night.exit_codes().await, [Some(4)]);
    Store::open(&night.database()).await.unwrap().close().await.unwrap();
}
