//! The least that a copy of the account can cost.

use crate::common::{get, sim};
use jiff::Timestamp;
use saas_sim::pipedrive::{Entity, Price, Sim, SimConfig, Sizes};
use serde_json::json;

fn account() -> Sim {
    let mut sizes = Sizes::each(1_000);
    (sizes.deals, sizes.files, sizes.notes) = (1_600, 230, 500);
    sim(SimConfig { sizes: Some(sizes), limits: false, ..SimConfig::default() })
}

/// Reads every list in its largest pages, as nobody could do with fewer requests.
async fn copy(sim: &Sim, since: Option<Timestamp>, changes: impl Fn(Entity) -> bool) -> u64 {
    let before = sim.truth().day.used;
    get(sim, "/v1/users/me").await;
    for entity in Entity::ALL {
        let path = entity.list_path();
        let since = since.filter(|_| changes(entity));
        let since = since.map_or(String::new(), |since| format!("&updated_since={since}"));
        let mut from = String::new();
        loop {
            let limit = if entity == Entity::Files { 100 } else { 500 };
            let body = get(sim, &format!("{path}?limit={limit}{since}{from}")).await.json();
            let more = &body["additional_data"];
            from = if let Some(cursor) = more["next_cursor"].as_str() {
                format!("&cursor={}", cursor.replace('=', "%3D").replace('+', "%2B"))
            } else if let Some(start) = more["pagination"]["next_start"].as_u64() {
                format!("&start={start}")
            } else {
                break;
            };
        }
    }
    sim.truth().day.used - before
}

#[tokio::test(start_paused = true)]
async fn a_full_copy_costs_what_the_largest_pages_of_every_list_cost() {
    let sim = account();
    let price = sim.account().price_full();
    assert_eq!(copy(&sim, None, |_| false).await, price.tokens);
    let requests: u64 = price.lists.values().map(|list| list.requests).sum();
    assert_eq!(sim.truth().requests, requests + 1);
    assert_eq!(price.requests, requests + 1);
    let deals = price.lists["deals"];
    assert_eq!((deals.rows, deals.cost), (sim.digest(Entity::Deals).rows, 10));
    assert_eq!((deals.requests, deals.tokens), (3, 30), "{deals:?}");
    assert_eq!(price.lists["files"].requests, 3);
    assert_eq!((price.lists["goals"].page, price.lists["goals"].tokens), (None, 20));
}

#[tokio::test(start_paused = true)]
async fn bringing_a_copy_up_to_date_costs_a_request_a_list_and_more_for_more_changes() {
    let sim = account();
    let since = sim.now();
    let quiet = sim.account().price_since(since);
    assert_eq!(quiet.lists["deals"].rows, 0);
    assert_eq!(quiet.lists["deals"].requests, 1);
    for id in 1..1_400_u64 {
        let _ = sim.account().update(Entity::Deals, &id.to_string(), &json!({}), sim.now());
    }
    let price = sim.account().price_since(since);
    assert_eq!(price.lists["deals"].requests, 3, "{:?}", price.lists["deals"]);
    assert_eq!(price.lists["files"], sim.account().price_full().lists["files"]);
    let told = |entity| {
        !matches!(entity, Entity::Pipelines | Entity::Stages | Entity::Files)
            && !entity.name().ends_with("Fields")
    };
    assert_eq!(copy(&sim, Some(since), told).await, price.tokens);

    // Recents tells of files and deleted rows for less than the list of files.
    sim.account().delete(Entity::Persons, "5", since).expect("there");
    let recents = sim.account().price_since_by_recents(since);
    assert!(!recents.lists.contains_key("files"));
    assert!(recents.tokens < price.tokens);
    // One, and those that the loop above touched although they were deleted.
    let body =
        get(&sim, "/v1/recents?since_timestamp=2026-03-02%2008:59:59&limit=500").await.json();
    let rows = body["data"].as_array().expect("a list");
    let deleted = rows.iter().filter(|row| row["data"].is_null()).count() as u64;
    assert!(deleted > 0);
    assert!(recents.lists["recents"].rows >= deleted);
}

#[tokio::test(start_paused = true)]
async fn the_price_is_told_at_a_path_of_its_own() {
    let sim = account();
    let full = get(&sim, "/__sim/price").await.json();
    let price: Price = sim.account().price_full();
    assert_eq!(full["full"], serde_json::to_value(price).expect("JSON"));
    let since = get(&sim, "/__sim/price?since=2026-03-02T09:00:00Z").await.json();
    assert_eq!(since["lists"]["lists"]["notes"]["tokens"], 20);
    assert_eq!(since["recents"]["lists"]["recents"]["tokens"], 20);
    assert_eq!(get(&sim, "/__sim/price?since=yesterday").await.status, 400);
}
