//! How many items a second go from one state to the next on SQLite, on a disk and by batch size.
//!
//! `cargo run --release -p pipeline-state --example transitions [ITEMS]`
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use pipeline_state::{PipelineConfig, SqliteStore, StateTracker};
use tokio::time::Instant;

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items: usize = std::env::args().nth(1).map_or(Ok(500_000), |given| given.parse())?;
    let names: Vec<_> = (0..items).map(|item| format!("https://example.org/item/{item}")).collect();
    println!("batch     added/s  claimed/s  completed/s  transitions/s");
    for batch in [100, 1_000, 10_000] {
        let folder = tempfile::tempdir()?;
        let store = SqliteStore::open(folder.path().join("state.db")).await?;
        let tracker = StateTracker::new(store, PipelineConfig::default());
        let pipeline = tracker.initialize("bench", &["only"]).await?;
        let start = Instant::now();
        pipeline.add("only", &names).await?;
        let added = rate(items, start);
        let (mut claiming, mut completing) = (0.0, 0.0);
        let start = Instant::now();
        loop {
            let began = Instant::now();
            let claim = pipeline.claim("only", batch).await?;
            claiming += began.elapsed().as_secs_f64();
            if claim.items.is_empty() {
                break;
            }
            let updates: Vec<_> = claim.items.iter().map(|item| item.completed()).collect();
            let began = Instant::now();
            pipeline.update(&updates).await?;
            completing += began.elapsed().as_secs_f64();
        }
        let all = rate(2 * items, start);
        assert_eq!(pipeline.progress().await?.whole().completed, items as u64);
        println!(
            "{batch:>6} {added:>11.0} {:>10.0} {:>12.0} {all:>14.0}",
            items as f64 / claiming,
            items as f64 / completing,
        );
    }
    Ok(())
}
