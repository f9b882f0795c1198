//! Where the API is less kind than it could be: cursors that lapse, last pages that say little, filters it ignores.

use crate::data_support::{fails, full_read, get, now, walk_v1, walk_v2};
use http::Method;
use jiff::SignedDuration;
use saas_sim::pipedrive::{Account, AccountOptions, Entity, LastPage, Sizes, ops};
use serde_json::{Value, json};

fn with(set: impl FnOnce(&mut AccountOptions)) -> Account {
    let mut options = AccountOptions::default();
    set(&mut options);
    Account::with_options(5, Sizes::each(300), options)
}

#[test]
fn a_cursor_lapses_when_the_settings_say_so_and_else_is_the_same_at_any_time() {
    let later = now() + SignedDuration::from_mins(11);
    for (life, status, same) in
        [(Some(600), 400, false), (Some(700), 200, false), (None, 200, true)]
    {
        let account = with(|options| options.cursor_life_s = life);
        for path in ["/api/v2/deals", "/api/v2/dealFields"] {
            let op = ops::find(&Method::GET, path).expect("known");
            let ask = |query: &str, at| {
                let reply = account.handle(&op, query, &[], at);
                let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
                (reply.status, body["additional_data"]["next_cursor"].clone())
            };
            let (_, cursor) = ask("limit=5", now());
            let next = cursor.as_str().expect("more").replace('=', "%3D").replace('+', "%2B");
            assert_eq!(ask(&format!("limit=5&cursor={next}"), later).0, status, "{path} {life:?}");
            assert_eq!(ask("limit=5", later).1 == cursor, same, "{path} {life:?}");
        }
    }
}

#[test]
fn the_last_page_says_so_in_each_of_the_documented_ways() {
    let rows = walk_v2(&with(|_| {}), "/api/v2/persons?limit=100").len();
    for (how, shows) in [
        (LastPage::Null, Some(json!({ "next_cursor": null }))),
        (LastPage::NoCursor, Some(json!({}))),
        (LastPage::NoData, None),
    ] {
        let account = with(|options| options.last_page = how);
        let last = get(&account, "/api/v2/persons?limit=500");
        assert_eq!(last.get("additional_data").cloned(), shows);
        assert_eq!(walk_v2(&account, "/api/v2/persons?limit=100").len(), rows);
        assert!(!full_read(&account, Entity::DealFields).is_empty());
    }
}

#[test]
fn the_list_of_files_ignores_a_filter_by_time() {
    let account = with(|_| {});
    let all = walk_v1(&account, "/v1/files?limit=100").len();
    let since = "updated_since=2026-02-28T00:00:00Z";
    assert_eq!(walk_v1(&account, &format!("/v1/files?limit=100&{since}")).len(), all);
    assert!(walk_v1(&account, &format!("/v1/notes?limit=100&{since}")).len() < all);
    assert_eq!(fails(&account, "/v1/notes?updated_since=yesterday").0, 400);
}
