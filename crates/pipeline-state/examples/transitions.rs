//! How many items a second go from one state to the next, by batch size: in an SQLite file on this disk,
//! or in the database of a URL.
//!
//! `cargo run --release -p pipeline-state --example transitions [ITEMS [URL]]`
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use pipeline_state::{PipelineConfig, StateTracker};
use tokio::time::Instant;

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items: usize = std::env::args().nth(1).map_or(Ok(500_000), |given| given.parse())?;
    let url = std::env::args().nth(2);
    let names: Vec<_> = (0..items).map(|item| format!("https://example.org/item/{item}")).collect();
    println!("batch     added/s  claimed/s  settled/s  transitions/s  progress/us");
    for batch in [100, 1_000, 10_000] {
        let folder = tempfile::tempdir()?;
        let file = format!("sqlite:{}", folder.path().join("state.db").display());
        // As a user has it: a checkpoint after each hundred settled items, each commit on the disk.
        let url = url.as_deref().unwrap_or(&file);
        let tracker = StateTracker::open(url, PipelineConfig::default()).await?;
        let pipeline = tracker.initialize("bench", &["only"]).await?;
        let start = Instant::now();
        pipeline.add("only", &names).await?;
        let added = rate(items, start);
        let (mut claiming, mut settling) = (0.0, 0.0);
        let start = Instant::now();
        loop {
            let began = Instant::now();
            let claim = pipeline.claim("only", batch).await?;
            claiming += began.elapsed().as_secs_f64();
            if claim.items.is_empty() {
                break;
            }
            // One in twenty fails.
            let update = |(at, item): (usize, &pipeline_state::Item)| match at % 20 {
                0 => item.failed("timeout", "no answer within 30 s"),
                _ => item.completed(),
            };
            let updates: Vec<_> = claim.items.iter().enumerate().map(update).collect();
            let began = Instant::now();
            pipeline.update(&updates).await?;
            settling += began.elapsed().as_secs_f64();
        }
        let all = rate(2 * items, start);
        let began = Instant::now();
        let progress = pipeline.progress().await?;
        let reading = began.elapsed().as_micros();
        assert_eq!(progress.whole().settled(), items as u64);
        tracker.remove(pipeline.id()).await?;
        println!(
            "{batch:>6} {added:>10.0} {:>10.0} {:>10.0} {all:>14.0} {reading:>12}",
            items as f64 / claiming,
            items as f64 / settling,
        );
    }
    Ok(())
}
