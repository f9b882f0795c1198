//! Workers in processes of their own, killed with `-9` at any moment: nothing is lost, repeated or stuck.
//!
//! For a longer run: `PIPELINE_KILLS=1000 PIPELINE_SEED=7 cargo test -p pipeline-state --test kill`
#![allow(missing_docs)]

mod support;

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    time::Duration,
};

use pipeline_state::{Item, Pipeline, PipelineConfig, Resume, StateError, StateTracker, Update};
use support::{PHASES, server::PostgresServer};

const KEYWORDS: usize = 600;
/// Shorter than what a batch takes would be a storm of its own.
const LEASE: Duration = Duration::from_millis(250);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |given| given.parse().unwrap())
}

async fn tracker(url: &str) -> StateTracker {
    let config = PipelineConfig::builder().lease(LEASE).max_lost_leases(1_000);
    StateTracker::open(url, config.checkpoint_interval(20).build().unwrap()).await.unwrap()
}

fn domains(keyword: &str) -> [String; 2] {
    let number: usize = keyword.parse().unwrap();
    [format!("{}.org", number / 2), format!("{}.net", number * 7 % 100)]
}

fn work(phase: &str, item: &Item) -> Update {
    match phase {
        "search" => item.completed().produces("domains", domains(&item.name)),
        "domains" => item.completed().produces("company", [format!("of {}", item.name)]),
        _ => item.completed(),
    }
}

/// Until nothing is left of any phase.
async fn run(pipeline: &Pipeline) -> Result<(), StateError> {
    for phase in PHASES {
        loop {
            let claim = pipeline.claim(phase, 9).await?;
            if claim.items.is_empty() {
                if claim.others_until.is_none() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Several writes of one claim, so that a kill finds it half done.
            for some in claim.items.chunks(4) {
                let updates: Vec<_> = some.iter().map(|item| work(phase, item)).collect();
                pipeline.update(&updates).await?;
            }
        }
    }
    Ok(())
}

/// What a process of its own does; by itself it is no test.
#[tokio::test]
async fn worker() {
    let Ok(order) = std::env::var("PIPELINE_WORKER") else { return };
    let (id, url) = order.split_once(' ').unwrap();
    let pipeline = tracker(url).await.join(id.parse().unwrap()).await.unwrap();
    run(&pipeline).await.unwrap();
}

fn spawn(order: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture"])
        .env("PIPELINE_WORKER", order)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether it ends well, within a minute.
async fn end(mut worker: Child) -> bool {
    for _ in 0..6_000 {
        if let Some(status) = worker.try_wait().unwrap() {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.kill().unwrap();
    worker.wait().unwrap();
    false
}

async fn storm(url: &str, kills: u64) {
    let mut rng = fastrand::Rng::with_seed(number("PIPELINE_SEED", 1));
    let tracker = tracker(url).await;
    let pipeline = tracker.initialize("storm", &PHASES).await.unwrap();
    let keywords: Vec<_> = (0..KEYWORDS).map(|item| item.to_string()).collect();
    pipeline.add("search", &keywords).await.unwrap();
    let order = format!("{} {url}", pipeline.id());
    let mut workers = [spawn(&order), spawn(&order)];
    let mut killed_at_work = 0;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_micros(rng.u64(5_000..60_000))).await;
        let victim = &mut workers[usize::from(rng.bool())];
        killed_at_work += u64::from(victim.try_wait().unwrap().is_none());
        victim.kill().unwrap();
        victim.wait().unwrap();
        *victim = spawn(&order);
        // All is done: everything anew, so that there is something to kill.
        if kill % 10 == 9 && pipeline.progress().await.unwrap().whole().is_finished() {
            tracker.resume(pipeline.id(), &Resume::Phase("search".to_owned())).await.unwrap();
        }
    }
    for worker in workers {
        assert!(end(worker).await, "a worker has failed, or an item is stuck");
    }

    let progress = pipeline.progress().await.unwrap();
    let found: BTreeSet<_> = keywords.iter().flat_map(|keyword| domains(keyword)).collect();
    for (phase, count) in PHASES.iter().zip([KEYWORDS, found.len(), found.len()]) {
        let counts = progress.phase(phase).unwrap();
        assert_eq!((counts.completed, counts.total()), (count as u64, count as u64), "{phase}");
    }
    let checkpoints = pipeline.checkpoints().await.unwrap();
    assert!(!checkpoints.is_empty() && checkpoints.iter().all(|info| info.is_sound));
    let (_, resumed) = tracker.resume(pipeline.id(), &Resume::All).await.unwrap();
    assert_eq!((resumed.reset, resumed.pending, resumed.processing), (0, 0, 0));
    assert!(resumed.recounted.is_empty(), "{resumed:?}");
    assert!(killed_at_work > 0, "nobody was killed at work");
    eprintln!("{killed_at_work} of {kills} killed at work");
}

#[tokio::test]
async fn workers_on_one_file_are_killed_and_every_item_is_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("state.db").display());
    storm(&url, number("PIPELINE_KILLS", 30)).await;
}

#[tokio::test]
async fn workers_on_one_server_are_killed_and_every_item_is_settled_once() {
    let Some(server) = PostgresServer::start("killed workers on PostgreSQL") else { return };
    storm(&server.url(), number("PIPELINE_KILLS", 30)).await;
}
