//! Walks over lists: every row once, whatever the paging, the order and the changes between.

use std::collections::BTreeSet;

use crate::data_support::{call, digest, full_read, get, now, walk_v1, walk_v2};
use http::Method;
use saas_sim::pipedrive::{Account, Entity, Sizes};
use serde_json::{Value, json};

fn ids(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["id"].as_u64().expect("a number")).collect()
}

/// Some rows changed, some new, one deleted.
fn changed(size: u64) -> Account {
    let account = Account::new(3, Sizes::each(size));
    for id in [1, 2, 700, size - 1, size] {
        account
            .update(Entity::Deals, &id.to_string(), &json!({"title": "new"}), now())
            .expect("there");
    }
    for _ in 0..7 {
        account.create(Entity::Deals, &json!({"title": "made"}), now()).expect("a deal");
    }
    account.delete(Entity::Deals, "11", now()).expect("there");
    account
}

#[test]
fn a_full_read_of_every_entity_has_the_digest_of_the_account() {
    let account = Account::new(7, Sizes::total(3_000));
    let mut rows = 0;
    for entity in Entity::ALL {
        let read = full_read(&account, entity);
        let truth = account.digest(entity);
        assert_eq!(digest(&read), (truth.rows, truth.sha256), "{}", entity.name());
        assert!(truth.rows > 0, "{} is empty", entity.name());
        rows += truth.rows;
    }
    assert!(rows >= 3_000, "{rows}");
}

#[test]
fn the_digest_holds_for_a_seed_and_moves_with_a_change() {
    let first = Account::new(7, Sizes::total(1_000));
    let same = Account::new(7, Sizes::total(1_000));
    let other = Account::new(8, Sizes::total(1_000));
    for entity in [Entity::Deals, Entity::Persons, Entity::Leads, Entity::Notes, Entity::Stages] {
        assert_eq!(first.digest(entity), same.digest(entity), "{}", entity.name());
    }
    assert_ne!(first.digest(Entity::Deals), other.digest(Entity::Deals));
    first.update(Entity::Deals, "5", &json!({"title": "x"}), now()).expect("there");
    assert_ne!(first.digest(Entity::Deals), same.digest(Entity::Deals));
    assert_eq!(first.digest(Entity::Persons), same.digest(Entity::Persons));
    assert_eq!(digest(&full_read(&first, Entity::Deals)).1, first.digest(Entity::Deals).sha256);
}

#[test]
fn walks_by_cursor_and_by_offset_see_each_row_once_and_agree() {
    let account = changed(1_300);
    let new = ids(&walk_v2(&account, "/api/v2/deals?limit=500"));
    assert!(new.is_sorted_by(|a, b| a < b), "ascending, none twice");
    let old = ids(&walk_v1(&account, "/v1/deals?limit=499"));
    assert_eq!(new, old);
    let archived = ids(&walk_v2(&account, "/api/v2/deals/archived?limit=77"));
    assert_eq!(archived, ids(&walk_v1(&account, "/api/v1/deals/archived?limit=100")));
    let deleted = 1_300 + 7 - new.len() - archived.len();
    assert!((10..60).contains(&deleted), "about one in fifty: {deleted}");
    for path in ["persons", "organizations", "products", "pipelines", "stages"] {
        let new = ids(&walk_v2(&account, &format!("/api/v2/{path}?limit=500")));
        let old = ids(&walk_v1(&account, &format!("/v1/{path}?limit=500")));
        assert_eq!(new, old, "{path}");
    }
    let new = ids(&walk_v2(&account, "/api/v2/activities?limit=500"));
    assert_eq!(new, ids(&walk_v1(&account, "/v1/activities?limit=500&user_id=0")));
}

#[test]
fn every_order_shows_the_same_rows_and_is_sorted() {
    let account = changed(1_300);
    let all: BTreeSet<_> = ids(&walk_v2(&account, "/api/v2/deals?limit=500")).into_iter().collect();
    for field in ["id", "add_time", "update_time"] {
        for (direction, down) in [("asc", false), ("desc", true)] {
            let target =
                format!("/api/v2/deals?limit=333&sort_by={field}&sort_direction={direction}");
            let rows = walk_v2(&account, &target);
            let seen: BTreeSet<_> = ids(&rows).into_iter().collect();
            assert_eq!((rows.len(), &seen), (all.len(), &all), "{target}");
            let keys: Vec<_> = rows.iter().map(|row| row[field].to_string()).collect();
            let sorted = |a: &String, b: &String| {
                let (a, b) = if down { (b, a) } else { (a, b) };
                if field == "id" { a.parse::<u64>().ok() <= b.parse().ok() } else { a <= b }
            };
            assert!(keys.is_sorted_by(sorted), "{target}");
        }
    }
    let due = walk_v2(&account, "/api/v2/activities?limit=500&sort_by=due_date");
    assert!(due.is_sorted_by_key(|row| row["due_date"].to_string()));
    let names = walk_v2(&account, "/api/v2/products?limit=500&sort_by=name");
    assert!(names.is_sorted_by_key(|row| row["name"].as_str().map(str::to_owned)));
    assert_eq!(names.len(), ids(&walk_v2(&account, "/api/v2/products?limit=500")).len());
    let stages = walk_v2(&account, "/api/v2/stages?limit=5&sort_by=order_nr");
    assert_eq!(stages.len(), 22);
}

#[test]
fn a_walk_by_update_time_meets_what_changes_behind_it() {
    let account = Account::new(3, Sizes::each(1_000));
    let first = get(&account, "/api/v2/persons?limit=500&sort_by=update_time");
    let seen = first["data"][0]["id"].to_string();
    let (status, _) =
        call(&account, &Method::PATCH, &format!("/api/v2/persons/{seen}"), r#"{"name":"A B"}"#);
    assert_eq!(status, 200);
    let cursor =
        first["additional_data"]["next_cursor"].as_str().expect("more").replace('=', "%3D");
    let target = format!("/api/v2/persons?limit=500&sort_by=update_time&cursor={cursor}");
    let second = get(&account, &target);
    let last = second["data"].as_array().and_then(|rows| rows.last()).expect("rows");
    assert_eq!(last["id"].to_string(), seen);
    assert_eq!(last["name"], "A B");
}

#[test]
fn update_times_filter_from_inclusive_to_exclusive() {
    let account = changed(4_000);
    let sorted = walk_v2(&account, "/api/v2/deals?limit=500&sort_by=update_time");
    let pivot = sorted[2_000]["update_time"].as_str().expect("a time").to_owned();
    let later = sorted.iter().filter(|row| row["update_time"].as_str() >= Some(&pivot)).count();
    for sort in ["id", "update_time"] {
        let since = walk_v2(
            &account,
            &format!("/api/v2/deals?limit=500&sort_by={sort}&updated_since={pivot}"),
        );
        assert_eq!(since.len(), later, "{sort}");
        let until = walk_v2(
            &account,
            &format!("/api/v2/deals?limit=500&sort_by={sort}&updated_until={pivot}"),
        );
        assert_eq!(until.len() + since.len(), sorted.len(), "{sort}");
    }
    let equal = sorted.chunk_by(|a, b| a["update_time"] == b["update_time"]).map(<[_]>::len).max();
    assert!(equal > Some(500), "more rows of one second than fit on a page");
}

#[test]
fn offsets_stay_right_when_rows_come_and_go_in_a_long_list() {
    let account = Account::new(3, Sizes::each(5_000));
    assert!(walk_v1(&account, "/v1/notes?limit=500").len() > 4_500);
    for id in 1..900 {
        // Some of them are deleted already.
        let _ = account.delete(Entity::Notes, &id.to_string(), now());
    }
    for id in ["1500", "2500"] {
        account.vanish(Entity::Notes, id).ok();
    }
    for _ in 0..1_100 {
        account.create(Entity::Notes, &json!({ "content": "new" }), now()).expect("a note");
    }
    let rows = walk_v1(&account, "/v1/notes?limit=500");
    let truth = account.digest(Entity::Notes);
    assert_eq!(digest(&rows), (truth.rows, truth.sha256));
}

#[test]
fn a_large_account_costs_nothing_until_it_is_asked() {
    let account = Account::new(1, Sizes::total(100_000_000));
    let body = get(&account, "/api/v2/deals?limit=500");
    assert_eq!(body["data"].as_array().map(Vec::len), Some(500));
    let body = get(&account, "/api/v2/persons?limit=500&sort_by=update_time&sort_direction=desc");
    assert_eq!(body["data"].as_array().map(Vec::len), Some(500));
}
