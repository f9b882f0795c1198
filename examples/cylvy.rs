//! A digital landscape, in the way of Cylvy: from keywords to search results, their domains, the companies
//! behind them and a report. Six services with quotas, each behind a circuit, a retry and a limiter with the
//! presets for it; five phases whose items are kept by `pipeline-state`; answers that were paid for are kept too.
//!
//! The program starts itself again to do the work, kills that process twice in the middle (`kill -9`), and has it
//! resumed. Some sites answer only after that, so what failed is tried again. The week after, half of the keywords
//! are known. In the end the books are compared with what the services have counted: nothing is lost, nothing was
//! done twice, and no unit was spent twice.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod cylvy {
    pub(crate) mod books;
    pub(crate) mod client;
    pub(crate) mod pipeline;
    pub(crate) mod report;
    pub(crate) mod services;
    pub(crate) mod world;
}

use std::{collections::BTreeSet, path::Path, time::Duration};

use examples::BoxError;
use pipeline_state::Resume;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use cylvy::{
    books::{Books, MAX_ANSWERS},
    pipeline::Cylvy,
    report,
    services::{self, Shared},
    world,
};

/// Calls that can be under way at once, in all phases: what a kill can lose the answers of.
const AT_ONCE: u64 = 8;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [folder, url, "week", week] => {
            let keywords = world::keywords(week.parse()?);
            work(folder, url, Ok(&keywords)).await
        }
        [folder, url, "resume"] => work(folder, url, Err(Resume::All)).await,
        [folder, url, "retry"] => work(folder, url, Err(Resume::FailedOnly)).await,
        _ => supervise().await,
    }
}

/// The process that does the work.
async fn work(folder: &str, url: &str, task: Result<&[String], Resume>) -> Result<(), BoxError> {
    let cylvy = Cylvy::open(Path::new(folder), url, task).await?;
    cylvy.run().await?;
    report::quotas(&cylvy).await?;
    report::failures(&cylvy).await
}

fn start(folder: &Path, url: &str, task: &[&str]) -> Result<Child, BoxError> {
    println!("\n--- {}", task.join(" "));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(folder).arg(url).args(task).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn finish(mut child: Child) -> Result<(), BoxError> {
    match child.wait().await?.success() {
        true => Ok(()),
        false => Err("the worker failed".into()),
    }
}

/// Kills the worker when a service has charged so much.
async fn kill_at(
    mut child: Child,
    services: &Shared,
    name: &str,
    units: u64,
) -> Result<(), BoxError> {
    while services::lock(services).of[name].units < units {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the worker has ended too early: {status}").into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    child.kill().await?;
    println!("killed");
    Ok(())
}

async fn supervise() -> Result<(), BoxError> {
    let begun = Instant::now();
    let services = Shared::default();
    let url = services::start(&services).await?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path();

    kill_at(start(folder, &url, &["week", "1"])?, &services, "scrapingbee", 60).await?;
    kill_at(start(folder, &url, &["resume"])?, &services, "cognism", 25).await?;
    finish(start(folder, &url, &["resume"])?).await?;
    services::lock(&services).mended = true;
    finish(start(folder, &url, &["retry"])?).await?;
    compare(folder, &services, &[1]).await?;

    let first = charged(&services);
    finish(start(folder, &url, &["week", "2"])?).await?;
    compare(folder, &services, &[1, 2]).await?;
    let new = charged(&services).difference(&first).count();
    println!("\nthe first week paid for {} answers, the second for {new} more", first.len());
    let known = |week| world::keywords(week).iter().map(|word| world::tidy(word)).collect();
    let (one, two): (BTreeSet<_>, BTreeSet<_>) = (known(1), known(2));
    let metrics = services::lock(&services).of["google_ads"].units;
    assert_eq!(metrics, one.union(&two).count() as u64, "a repeated keyword costs nothing");

    for (industry, line) in Books::open(folder).await?.report().await? {
        println!("  {industry:<10} {line}");
    }
    println!("done in {:.1?}", begun.elapsed());
    Ok(())
}

/// Every key that a service has charged for.
fn charged(services: &Shared) -> BTreeSet<(&'static str, String)> {
    let services = services::lock(services);
    let keys = services
        .of
        .iter()
        .flat_map(|(name, service)| service.charged.keys().map(|key| (*name, key.clone())));
    keys.collect()
}

/// The books and the services must tell the same story.
async fn compare(folder: &Path, services: &Shared, weeks: &[u64]) -> Result<(), BoxError> {
    let books = Books::open(folder).await?;
    let used = books.used().await?;
    let found: BTreeSet<_> = books.companies().await?.into_iter().collect();
    assert_eq!(found, world::truth(weeks), "every company is there, and no other");
    assert!(books.answers().await? <= MAX_ANSWERS);
    println!(
        "\n{:<12} {:>8} {:>8} {:>6} {:>6} {:>7}",
        "at the service", "charged", "answers", "again", "lost", "failed"
    );
    let services = services::lock(services);
    for (name, service) in &services.of {
        let ours = used.iter().filter(|((of, _), _)| of == name).map(|(_, used)| used);
        let (units, calls) = ours.fold((0, 0), |(u, c), it| (u + it.used, c + it.calls));
        println!(
            "{name:<14} {:>8} {:>8} {:>6} {:>6} {:>7}",
            service.units,
            service.charged.len(),
            service.again,
            service.lost,
            service.failed
        );
        assert_eq!(units, service.units, "{name}: units in our books and at the service");
        assert_eq!(calls, service.charged.len() as u64, "{name}: nothing was paid and not used");
        // What was asked for again is what an answer was lost of, by the service or by a kill.
        let items = if *name == "cognism" { 25 } else { 1 };
        assert!(service.again <= (service.lost + 2 * AT_ONCE) * items, "{name}: done twice");
        assert_eq!(service.refused, 0, "{name}: never above a quota or the bound of calls at once");
    }
    // What was done again is what an answer was lost of: by the services, or by the two kills.
    let sum = |of: fn(&services::Service) -> u64| services.of.values().map(of).sum::<u64>();
    let batches = sum(|service| service.lost) * 25;
    assert!(sum(|service| service.again) <= batches + 2 * AT_ONCE);
    Ok(())
}
