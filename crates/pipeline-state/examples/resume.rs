//! A pipeline whose workers die: from keywords to companies, killed twice, and every company asked for is
//! there in the end. Needs nothing installed and no network.
//!
//! `cargo run -p pipeline-state --example resume`
#![allow(clippy::print_stdout, reason = "it is to be seen")]

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use pipeline_state::{
    Item, Pipeline, PipelineConfig, Progress, Resume, StateError, StateTracker, Update, WorkOptions,
};
use tokio::sync::Notify;

const PHASES: [&str; 3] = ["keywords", "domains", "companies"];

/// What a search, a lookup and an enrichment would do, and now and then do not.
fn work(phase: usize, item: &Item) -> Update {
    let name = &item.name;
    let hash = name.bytes().fold(phase, |sum, byte| (sum * 31 + usize::from(byte)) % 9_973);
    match hash % 11 {
        0 if item.attempt == 1 => return item.failed("rate_limit", "429 Too Many Requests"),
        1 => return item.skipped(),
        _ => {}
    }
    match phase {
        0 => item
            .completed()
            .produces(PHASES[1], (0..3).map(|n| format!("{}.example", (hash + n) % 97))),
        1 => item.completed().produces(PHASES[2], [format!("Company of {name}")]),
        _ => item.completed(),
    }
}

/// Works until nothing is left, or until it dies after so many items, with others in work.
async fn run(pipeline: &Pipeline, lives: u32) -> Result<bool, StateError> {
    let lives = Cell::new(lives);
    let death = Notify::new();
    for (at, phase) in PHASES.iter().enumerate() {
        let options = WorkOptions { batch: 20, ..WorkOptions::default() };
        let working = pipeline.work(phase, options, async |item| {
            tokio::task::yield_now().await; // a call to a slow API
            match lives.get().checked_sub(1) {
                Some(left) => lives.set(left),
                None => death.notify_one(),
            }
            work(at, &item)
        });
        tokio::select! {
            biased;
            () = death.notified() => return Ok(false),
            worked = working => worked?,
        };
    }
    Ok(true)
}

fn show(progress: &Progress) {
    for phase in &progress.phases {
        let c = &phase.counts;
        println!(
            "  {:<10} {:>3} pending {:>3} processing {:>3} completed {:>3} failed {:>3} skipped",
            phase.phase, c.pending, c.processing, c.completed, c.failed, c.skipped
        );
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("pipeline.db").display());
    // Short, so that nobody has to wait for what a dead worker held.
    let config = PipelineConfig::builder().lease(Duration::from_millis(50)).build()?;

    let pipeline =
        StateTracker::open(&url, config.clone()).await?.initialize("demo", &PHASES).await?;
    let keywords: Vec<_> = (0..200).map(|keyword| format!("keyword {keyword}")).collect();
    pipeline.add("keywords", &keywords).await?;
    let id = pipeline.id();
    for lives in [75, 150] {
        let tracker = StateTracker::open(&url, config.clone()).await?;
        assert!(!run(&tracker.join(id).await?, lives).await?);
        println!("a worker has died:");
        show(&tracker.join(id).await?.progress().await?);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }

    let tracker = StateTracker::open(&url, config).await?;
    assert!(run(&tracker.join(id).await?, u32::MAX).await?);
    let failed = tracker.join(id).await?.failures().await?;
    println!("all done once; failed: {failed:?}");
    let (pipeline, resumed) = tracker.resume(id, &Resume::FailedOnly).await?;
    println!("{} failed are tried again", resumed.reset);
    assert!(run(&pipeline, u32::MAX).await?);
    let progress = pipeline.progress().await?;
    show(&progress);

    let whole = progress.whole();
    assert!(whole.is_finished() && whole.failed == 0);
    let newest = pipeline.read_checkpoint(None).await?.ok_or("no checkpoint")?;
    println!("checkpoint {} of {} is sound", newest.seq, newest.at);
    // As many companies as the same work without deaths finds.
    let mut domains = BTreeSet::new();
    for keyword in &keywords {
        let hash = keyword.bytes().fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % 9_973);
        if hash % 11 != 1 {
            domains.extend((0..3).map(|n| (hash + n) % 97));
        }
    }
    let counts = progress.phase("domains").ok_or("no domains")?;
    assert_eq!(counts.total(), domains.len() as u64);
    assert_eq!(progress.phase("companies").ok_or("no companies")?.total(), counts.completed);
    Ok(())
}
