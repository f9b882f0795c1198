//! What a sync costs beside the least that it could, which the simulator computes.
#![allow(missing_docs, clippy::print_stdout)]

use crate::common::World;
use saas_sim::pipedrive::{Churn, Price, SimConfig};
use serde_json::Value;

/// The default account, but for the waiting.
fn config() -> SimConfig {
    SimConfig { burst: Some(100_000), log: 10_000, ..SimConfig::default() }
}

/// Tokens that a sync spent, by the simulator's count.
async fn sync(world: &World) -> u64 {
    let before = world.sim.truth().day.used_ever;
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["pages"]["failed"], 0, "{report}");
    world.sim.truth().day.used_ever - before
}

/// What each operation cost, for the message of a test that fails.
fn bill(world: &World, price: &Price) -> String {
    let mut lines = vec![format!("least: {} tokens", price.tokens)];
    lines.extend(price.lists.iter().map(|(name, list)| format!("  {name}: {list:?}")));
    let truth = world.sim.truth();
    let spent = truth.operations.iter().filter(|operation| operation.tokens > 0);
    lines.extend(spent.map(|operation| {
        format!(
            "{}: {} requests, {} tokens",
            operation.operation, operation.charged, operation.tokens
        )
    }));
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_and_one_of_the_changes_cost_hardly_more_than_the_least() {
    let world = World::new(config()).await;
    let least = world.sim.account().price_full();
    let spent = sync(&world).await;
    let ratio = spent as f64 / least.tokens as f64;
    println!("full: {spent} tokens, at least {}, {ratio:.3}", least.tokens);
    assert!(ratio <= 1.02, "{ratio:.3}\n{}", bill(&world, &least));

    let since = world.sim.now();
    world.sim.change_now(Churn { updates: 500.0, ..Churn::default() }).unwrap();
    let least = world.sim.account().price_since(since);
    let by_recents = world.sim.account().price_since_by_recents(since).tokens;
    assert!(by_recents < least.tokens, "{by_recents}");
    let before = world.sim.truth().log.len();
    let spent = sync(&world).await;
    // The stricter of the two: what lists do not tell is told by recents, deleted rows too.
    let ratio = spent as f64 / by_recents as f64;
    println!(
        "1 % changed: {spent} tokens, at least {by_recents} with recents, {ratio:.3}, and {} by the lists alone",
        least.tokens
    );
    let log: Vec<_> = world.sim.truth().log[before..]
        .iter()
        .map(|entry| format!("{} {}", entry.tokens, entry.target))
        .collect();
    let report = || format!("{ratio:.3}\n{}\n{}", bill(&world, &least), log.join("\n"));
    assert!(ratio <= 1.2, "{}", report());
    assert!(spent as f64 <= 0.5 * least.tokens as f64, "{}", report());
}
