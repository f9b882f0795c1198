//! What lists accept, what they refuse, and what an operation costs.

use std::collections::BTreeMap;

use crate::data_support::{fails, full_read, get, walk_v1, walk_v2};
use http::Method;
use saas_sim::pipedrive::{Account, AccountOptions, Entity, Sizes, ops};
use serde_json::{Value, json};

fn account() -> Account {
    Account::new(5, Sizes::each(1_200))
}

fn len(body: &Value) -> usize {
    body["data"].as_array().expect("a list").len()
}

#[test]
fn the_operations_of_a_sync_cost_what_the_api_says() {
    for (method, path, tokens, search) in [
        (Method::GET, "/api/v2/deals", 10, false),
        (Method::GET, "/api/v2/deals/archived", 20, false),
        (Method::GET, "/api/v2/persons", 10, false),
        (Method::GET, "/api/v2/organizations", 10, false),
        (Method::GET, "/api/v2/activities", 10, false),
        (Method::GET, "/api/v2/products", 10, false),
        (Method::GET, "/api/v2/pipelines", 5, false),
        (Method::GET, "/api/v2/stages", 5, false),
        (Method::GET, "/api/v2/dealFields", 10, false),
        (Method::GET, "/api/v2/personFields", 10, false),
        (Method::GET, "/api/v2/organizationFields", 10, false),
        (Method::GET, "/api/v2/productFields", 10, false),
        (Method::GET, "/api/v2/activityFields", 10, false),
        (Method::GET, "/v1/dealFields", 20, false),
        (Method::GET, "/v1/notes", 20, false),
        (Method::GET, "/v1/files", 20, false),
        (Method::GET, "/v1/goals/find", 20, false),
        (Method::GET, "/v1/users", 20, false),
        (Method::GET, "/v1/users/me", 2, false),
        (Method::GET, "/v1/users/4", 2, false),
        (Method::GET, "/v1/activityTypes", 20, false),
        (Method::GET, "/v1/filters", 20, false),
        (Method::GET, "/v1/currencies", 20, false),
        (Method::GET, "/v1/leads", 20, false),
        (Method::GET, "/v1/leads/archived", 40, false),
        (Method::GET, "/v1/deals", 20, false),
        (Method::GET, "/v1/deals/7", 2, false),
        (Method::PUT, "/v1/deals/7", 10, false),
        (Method::POST, "/v1/deals", 10, false),
        (Method::DELETE, "/v1/deals/7", 6, false),
        (Method::GET, "/v1/deals/search", 40, true),
        (Method::GET, "/v1/leads/search", 40, true),
        (Method::GET, "/api/v2/deals/search", 20, true),
        (Method::GET, "/api/v2/persons/search", 20, true),
        (Method::GET, "/api/v2/organizations/search", 20, true),
        (Method::GET, "/api/v2/products/search", 20, true),
        (Method::GET, "/api/v2/leads/search", 20, true),
        (Method::GET, "/api/v2/itemSearch", 20, true),
        (Method::GET, "/api/v2/deals/7", 1, false),
        (Method::POST, "/api/v2/deals", 5, false),
        (Method::PATCH, "/api/v2/deals/7", 5, false),
        (Method::DELETE, "/api/v2/deals/7", 3, false),
        (Method::GET, "/v1/webhooks", 10, false),
        (Method::GET, "/v1/deals/7/flow", 40, false),
    ] {
        let found = ops::find(&method, path).unwrap_or_else(|| panic!("{method} {path}"));
        assert_eq!((found.op.tokens, found.op.search), (tokens, search), "{method} {path}");
    }
}

/// The histogram that the API descriptions give, as a check of the whole table.
#[test]
fn the_table_of_costs_has_the_known_histogram() {
    let mut seen: BTreeMap<(&str, &str, u32), u32> = BTreeMap::new();
    for op in ops::all().filter(|op| !ops::is_legacy(op)) {
        *seen.entry((op.version.name(), op.method.as_str(), op.tokens)).or_default() += 1;
    }
    for (key, at_most) in [
        (("v1", "GET", 20), 64),
        (("v1", "GET", 2), 24),
        (("v1", "GET", 40), 11),
        (("v1", "GET", 80), 1),
        (("v1", "PUT", 40), 3),
        (("v2", "GET", 20), 9),
        (("v2", "GET", 5), 3),
        (("v2", "POST", 40), 2),
        (("v2", "DELETE", 15), 1),
    ] {
        // The table leaves out kinds of no interest here, such as projects.
        assert!(seen[&key] > 0 && seen[&key] <= at_most, "{key:?}: {}", seen[&key]);
    }
}

#[test]
fn page_sizes_have_a_default_and_a_maximum() {
    let account = account();
    for (target, rows) in [
        ("/api/v2/deals", 100),
        ("/api/v2/deals?limit=1", 1),
        ("/api/v2/deals?limit=500", 500),
        ("/v1/notes", 100),
        ("/v1/notes?limit=500", 500),
        ("/v1/notes?limit=501", 500),
        ("/v1/files?limit=500", 100),
        ("/v1/files?limit=50", 50),
    ] {
        assert_eq!(len(&get(&account, target)), rows, "{target}");
    }
    for target in [
        "/api/v2/deals?limit=501",
        "/api/v2/deals?limit=0",
        "/api/v2/deals?limit=x",
        "/v1/notes?limit=0",
        "/v1/notes?start=-1",
    ] {
        assert_eq!(fails(&account, target).0, 400, "{target}");
    }
    let mut options = AccountOptions::default();
    options.clamp_v1_limit = false;
    let strict = Account::with_options(5, Sizes::each(10), options);
    assert_eq!(fails(&strict, "/v1/notes?limit=501").0, 400);
    assert_eq!(fails(&strict, "/v1/files?limit=101").0, 400);
}

#[test]
fn what_the_real_api_refuses_is_refused() {
    let account = account();
    let many = (1..=101).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    for target in [
        "/api/v2/deals?cursor=nonsense".to_owned(),
        "/api/v2/deals?cursor=e30%3D".to_owned(),
        "/api/v2/deals?updated_since=2026-01-01T00:00:00.000Z".to_owned(),
        "/api/v2/deals?updated_since=2026-01-01".to_owned(),
        "/api/v2/pipelines?updated_since=2026-01-01T00:00:00Z".to_owned(),
        "/api/v2/stages?updated_until=2026-01-01T00:00:00Z".to_owned(),
        "/api/v2/deals?sort_by=title".to_owned(),
        "/api/v2/persons?sort_by=due_date".to_owned(),
        "/api/v2/deals?sort_direction=up".to_owned(),
        "/api/v2/deals?status=open,gone".to_owned(),
        "/api/v2/deals?owner_id=me".to_owned(),
        "/api/v2/deals?filter_id=4711".to_owned(),
        format!("/api/v2/deals?ids={many}"),
        format!("/api/v2/deals?custom_fields={many}"),
    ] {
        let (status, error) = fails(&account, &target);
        assert_eq!(status, 400, "{target}: {error}");
    }
    let cursor = get(&account, "/api/v2/deals?limit=5")["additional_data"]["next_cursor"].clone();
    let cursor = cursor.as_str().expect("more").replace('=', "%3D");
    let other = format!("/api/v2/deals?limit=5&sort_by=update_time&cursor={cursor}");
    assert_eq!(fails(&account, &other).0, 400, "a cursor of another order");
}

#[test]
fn filters_show_exactly_the_rows_that_fit() {
    let account = account();
    let deals = walk_v2(&account, "/api/v2/deals?limit=500");
    for (key, value) in
        [("owner_id", 3), ("pipeline_id", 2), ("stage_id", 9), ("person_id", 17), ("org_id", 40)]
    {
        let fit = deals.iter().filter(|row| row[key] == value).count();
        let shown = walk_v2(&account, &format!("/api/v2/deals?limit=100&{key}={value}"));
        assert_eq!(shown.len(), fit, "{key}");
    }
    let open = deals.iter().filter(|row| row["status"] == "open").count();
    assert_eq!(walk_v2(&account, "/api/v2/deals?status=open").len(), open);
    let some: Vec<_> = deals.iter().take(3).map(|row| row["id"].to_string()).collect();
    assert_eq!(len(&get(&account, &format!("/api/v2/deals?ids={},999999", some.join(",")))), 3);
    let done = walk_v2(&account, "/api/v2/activities?limit=500&done=true");
    assert!(!done.is_empty() && done.iter().all(|row| row["done"] == true));
    let stages = get(&account, "/api/v2/stages?pipeline_id=2");
    assert!(
        len(&stages) > 0
            && stages["data"].as_array().expect("a list").iter().all(|row| row["pipeline_id"] == 2)
    );
    let notes = walk_v1(&account, "/v1/notes?limit=500&deal_id=7");
    assert!(notes.iter().all(|row| row["deal_id"] == 7));
    let leads = full_read(&account, Entity::Leads);
    let owned = walk_v1(&account, "/v1/leads?owner_id=2");
    assert_eq!(owned.len(), leads.iter().filter(|row| row["owner_id"] == 2).count());
    assert!(
        walk_v1(&account, "/v1/leads/archived?limit=500")
            .iter()
            .all(|row| row["is_archived"] == true)
    );
    let newest = get(&account, "/v1/notes?sort=update_time%20DESC&limit=500");
    let newest = newest["data"].as_array().expect("a list");
    assert!(newest.is_sorted_by(|a, b| a["update_time"].as_str() >= b["update_time"].as_str()));
}

#[test]
fn one_row_alone_is_the_row_of_the_list() {
    let account = account();
    for entity in Entity::ALL {
        let path = entity.list_path();
        let row = full_read(&account, entity).pop().expect("rows");
        let id = row.get("id").unwrap_or(&row["field_code"]).to_string();
        let path = match entity {
            Entity::ArchivedDeals => "/api/v2/deals".to_owned(),
            Entity::Goals | Entity::ActivityTypes | Entity::Currencies => continue,
            _ => path,
        };
        let alone = get(&account, &format!("{path}/{}", id.trim_matches('"')));
        assert_eq!(alone["data"], row, "{path}");
    }
}

#[test]
fn goals_have_an_envelope_of_their_own() {
    let body = get(&account(), "/v1/goals/find?assignee.id=2");
    assert_eq!((&body["statusCode"], &body["service"]), (&json!(20_000), &json!("Goals")));
    assert_eq!(body["data"]["goals"].as_array().map(Vec::len), Some(1));
}

#[test]
fn search_finds_by_part_of_the_name_page_by_page() {
    let account = account();
    let title = |row: &Value| row["item"]["title"].as_str().unwrap_or_default().to_lowercase();
    let fit = walk_v2(&account, "/api/v2/deals?limit=500")
        .iter()
        .filter(|row| row["title"].as_str().is_some_and(|title| title.contains("renewal")))
        .count();
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let body =
            get(&account, &format!("/api/v2/deals/search?term=RENEWAL&limit=10&cursor={cursor}"));
        let items = body["data"]["items"].as_array().expect("a list");
        assert!(items.iter().all(|row| title(row).contains("renewal")));
        seen += items.len();
        match body["additional_data"]["next_cursor"].as_str() {
            Some(next) => cursor = next.replace('=', "%3D"),
            None => break,
        }
    }
    assert_eq!(seen, fit);
    let old = get(&account, "/v1/deals/search?term=renewal&limit=10");
    assert_eq!(old["additional_data"]["pagination"]["next_start"], 10);
    for path in ["persons", "organizations", "products", "leads"] {
        let body = get(&account, &format!("/api/v2/{path}/search?term=an"));
        assert!(body["data"]["items"].is_array(), "{path}");
    }
    let items =
        get(&account, "/api/v2/itemSearch?term=li&item_types=person,organization&limit=500");
    assert!(items["data"]["items"].as_array().is_some_and(|items| !items.is_empty()));
    assert_eq!(fails(&account, "/api/v2/deals/search?term=r").0, 400);
    assert_eq!(fails(&account, "/api/v2/itemSearch?term=abc&item_types=planet").0, 400);
}
