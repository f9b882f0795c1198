//! The whole stack against the simulator in process: list deals, walk persons,
//! create and delete a deal, and see what it cost.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use examples::BoxError;
use futures_util::TryStreamExt;
use pipedrive_service::{Client, Config, Entity, ListQuery, Sources, WalkOptions};
use saas_sim::pipedrive::{Sim, SimConfig};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sim = Sim::new(SimConfig { records: 2_000, ..SimConfig::default() })?;

    // With an account: `Config::load(&Sources::from_env())` and `Client::new(config)`.
    let sources = Sources::new()
        .set("connection.company_domain", "acme")
        .set("connection.api_token", sim.api_token())
        .set("account.plan", "premium")
        .set("account.seats", "1");
    let client = Client::with_transport(Config::load(&sources)?, sim.service())?;

    let me = client.me().await?;
    println!("I am {} of {}", me.name, me.company_domain.as_deref().unwrap_or("?"));

    let page = client.list(Entity::Deals, ListQuery::new()).await?;
    println!("{} deals on the first page; more: {}", page.rows.len(), page.next.is_some());

    let pages: Vec<_> = client.walk(Entity::Persons, WalkOptions::new()).try_collect().await?;
    let persons: usize = pages.iter().map(|page| page.rows.len()).sum();
    println!("{persons} persons in {} pages", pages.len());

    let deal =
        client.create(Entity::Deals, &json!({ "title": "An example", "value": 100 })).await?;
    client.delete(Entity::Deals, deal.id).await?;

    let missing = client.get(Entity::Deals, 99_999_999).await.unwrap_err();
    println!("{missing}\n  {}", missing.advice());
    assert!(missing.is_api() && !missing.is_retryable());

    // What we have counted is what the server has counted.
    let status = client.limiter().status();
    let day = status.budget("day").ok_or("no budget of the day")?;
    println!("{} of {} tokens used today", day.used, day.limit);
    assert_eq!(day.used, sim.truth().day.used);
    Ok(())
}
