//! `/v1/recents`: what changed, in order, how far back, and how deleted rows show.

use crate::data_support;

use std::collections::BTreeSet;

use crate::data_support::{call, fails, get, walk_v1};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use saas_sim::pipedrive::{
    Account, AccountOptions, Entity, RecentsDeleted, RecentsTooOld, Sizes, ops,
};
use serde_json::{Value, json};

/// An hour before the tests ask.
fn changed() -> Timestamp {
    data_support::now() - SignedDuration::from_hours(1)
}

fn with(set: impl FnOnce(&mut AccountOptions)) -> Account {
    let mut options = AccountOptions::default();
    set(&mut options);
    Account::with_options(5, Sizes::each(1_000), options)
}

fn names(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| format!("{}{}", row["item"].as_str().expect("item"), row["id"])).collect()
}

const SINCE: &str = "/v1/recents?since_timestamp=2026-03-02%2007:59:59";

#[test]
fn changes_of_all_kinds_come_oldest_first_in_the_shape_of_version_1() {
    let account = with(|_| {});
    let note = json!({ "content": "x" });
    account.update(Entity::Notes, "9", &note, changed()).expect("there");
    let later = changed() + SignedDuration::from_secs(5);
    account.update(Entity::Deals, "4", &json!({ "title": "y" }), later).expect("there");
    account.update(Entity::Users, "2", &json!({ "name": "z" }), later).expect("there");

    let body = get(&account, SINCE);
    let rows = body["data"].as_array().expect("a list");
    assert_eq!(names(rows), ["note9", "deal4", "user2"]);
    assert_eq!(rows[0]["data"]["content"], "x");
    assert_eq!(rows[1]["data"]["update_time"], "2026-03-02 08:00:05");
    assert_eq!(rows[1]["data"]["user_id"]["value"], rows[1]["data"]["user_id"]["id"]);
    assert_eq!(rows[2]["data"][0]["id"], 2, "a user comes in a list");
    assert_eq!(
        body["additional_data"],
        json!({
            "since_timestamp": "2026-03-02 07:59:59",
            "last_timestamp_on_page": "2026-03-02 08:00:05",
            "pagination": { "start": 0, "limit": 100, "more_items_in_collection": false },
        })
    );
    let only = get(&account, &format!("{SINCE}&items=deal,person"));
    assert_eq!(names(only["data"].as_array().expect("a list")), ["deal4"]);
    let none = get(&account, "/v1/recents?since_timestamp=2026-03-02%2009:00:00");
    assert_eq!(none["additional_data"]["last_timestamp_on_page"], Value::Null);
}

#[test]
fn a_walk_by_offset_sees_every_change_of_the_month_once() {
    let account = with(|_| {});
    let rows = walk_v1(&account, "/v1/recents?since_timestamp=2026-02-15%2000:00:00&limit=7");
    let seen: BTreeSet<_> = names(&rows).into_iter().collect();
    assert_eq!(seen.len(), rows.len(), "none twice");
    let times: Vec<_> = rows
        .iter()
        .filter_map(|row| row["data"]["update_time"].as_str().map(str::to_owned))
        .collect();
    assert!(times.is_sorted());
    // The same rows that the lists name, and the deleted ones besides.
    let listed = walk_v1(&account, "/v1/notes?limit=500");
    for note in
        listed.iter().filter(|row| row["update_time"].as_str() > Some("2026-02-15 00:00:00"))
    {
        assert!(seen.contains(&format!("note{}", note["id"])), "{note}");
    }
}

#[test]
fn a_deleted_row_shows_as_the_settings_say() {
    for (deleted, shows) in [
        (RecentsDeleted::Null, Some(false)),
        (RecentsDeleted::Row, Some(true)),
        (RecentsDeleted::Absent, None),
    ] {
        let account = with(|options| options.recents.deleted = deleted);
        account.delete(Entity::Persons, "6", changed()).expect("there");
        let body = get(&account, SINCE);
        let row = body["data"].as_array().and_then(|rows| rows.first());
        assert_eq!(row.is_some(), shows.is_some());
        let Some(row) = row else { continue };
        assert_eq!((&row["item"], &row["id"]), (&json!("person"), &json!(6)));
        assert_eq!(row["data"]["active_flag"] == false, shows == Some(true), "{row}");
        assert_eq!(row["data"].is_null(), shows == Some(false), "{row}");
    }
}

#[test]
fn small_lists_tell_what_changed_and_what_was_deleted_and_nothing_else() {
    let lists = [
        (Entity::Users, "user", "/v1/users"),
        (Entity::ActivityTypes, "activityType", "/v1/activityTypes"),
        (Entity::Filters, "filter", "/v1/filters"),
        (Entity::Pipelines, "pipeline", "/api/v2/pipelines"),
        (Entity::Stages, "stage", "/api/v2/stages"),
    ];
    for (deleted, both) in
        [(RecentsDeleted::Null, true), (RecentsDeleted::Row, true), (RecentsDeleted::Absent, false)]
    {
        let account = with(|options| options.recents.deleted = deleted);
        for (entity, item, path) in lists {
            let target = format!("{SINCE}&items={item}");
            assert_eq!(get(&account, &target)["data"], json!([]));
            account.update(entity, "2", &json!({ "name": "x" }), changed()).expect("there");
            let later = changed() + SignedDuration::from_secs(1);
            account.delete(entity, "1", later).expect("there");

            let body = get(&account, &target);
            let rows = body["data"].as_array().expect("a list");
            let named: &[String] = &[format!("{item}2"), format!("{item}1")];
            assert_eq!(names(rows), named[..1 + usize::from(both)]);
            let row = |nth: usize| {
                let data = &rows[nth]["data"];
                if item == "user" && !data.is_null() { &data[0] } else { data }
            };
            assert_eq!(row(0)["name"], "x");
            if both {
                assert_eq!(row(1).is_null(), deleted == RecentsDeleted::Null);
            }
            let list = get(&account, path);
            let list = list["data"].as_array().expect("a list");
            let named = |id: u64| list.iter().find(|row| row["id"] == id);
            assert_eq!(named(2).expect("there")["name"], "x");
            // Who left the company stays on the list.
            assert_eq!(named(1).is_some(), entity == Entity::Users, "{item}");
        }
    }
    let account = with(|_| {});
    for entity in [Entity::Currencies, Entity::Goals, Entity::DealFields] {
        assert!(account.update(entity, "1", &json!({}), changed()).is_err());
        assert!(account.delete(entity, "1", changed()).is_err());
    }
    assert!(account.update(Entity::Filters, "99", &json!({}), changed()).is_err());
}

#[test]
fn the_second_of_since_is_shown_only_when_the_settings_say_so() {
    for inclusive in [false, true] {
        let account = with(|options| options.recents.inclusive = inclusive);
        account.update(Entity::Deals, "4", &json!({}), changed()).expect("there");
        let body = get(&account, "/v1/recents?since_timestamp=2026-03-02%2008:00:00");
        assert_eq!(body["data"].as_array().map(Vec::len), Some(usize::from(inclusive)));
    }
}

#[test]
fn what_is_older_than_a_month_is_cut_off_or_refused() {
    let target = "/v1/recents?since_timestamp=2025-01-01%2000:00:00&limit=500";
    let rows = walk_v1(&with(|_| {}), target);
    let oldest = rows[0]["data"]["update_time"].as_str().expect("a time");
    assert!(oldest > "2026-01-31 09:00:00", "{oldest}");
    assert!(rows.len() > 100, "{}", rows.len());
    let strict = with(|options| options.recents.too_old = RecentsTooOld::Refuse);
    assert_eq!(fails(&strict, target).0, 400);
}

#[test]
fn wrong_parameters_are_refused_and_the_price_is_that_of_the_description() {
    let account = with(|_| {});
    for target in [
        "/v1/recents",
        "/v1/recents?since_timestamp=2026-03-02T08:00:00Z",
        "/v1/recents?since_timestamp=2026-03-02",
        "/v1/recents?since_timestamp=2026-13-02%2008:00:00",
        "/v1/recents?since_timestamp=2026-03-02%2008:00:00&items=deals",
        "/v1/recents?since_timestamp=2026-03-02%2008:00:00&start=-1",
    ] {
        assert_eq!(fails(&account, target).0, 400, "{target}");
    }
    let op = ops::find(&Method::GET, "/api/v1/recents").expect("known").op;
    assert_eq!((op.tokens, op.search), (20, false));
    assert_eq!(call(&account, &Method::GET, &format!("{SINCE}&limit=9999"), "").0, 200);
}
