//! Walks over changed rows against a plain model: sort everything, then cut it into pages.

use crate::data_support::{now, walk_v1, walk_v2};
use saas_sim::pipedrive::{Account, Entity, Sizes};
use serde_json::{Value, json};

/// All rows that the list shows, by asking for every id alone.
fn model(account: &Account, last: u64) -> Vec<Value> {
    (1..=last)
        .filter_map(|id| account.row(Entity::Persons, &id.to_string()))
        .filter(|row| row["is_deleted"] == false)
        .collect()
}

/// Some rows made, changed and deleted; now and then at the very second of another row, so that
/// ties occur.
fn change_some(account: &Account, random: &mut fastrand::Rng, last: &mut u64) {
    for _ in 0..random.usize(0..25) {
        let id = random.u64(1..=(*last).max(1)).to_string();
        let twin = account.row(Entity::Persons, &random.u64(1..=(*last).max(1)).to_string());
        let time = twin.filter(|_| random.bool()).map(|row| row["update_time"].clone());
        let mut change = json!({ "name": format!("New {id}") });
        if let Some(time) = time {
            change["update_time"] = time;
        }
        match random.u8(0..4) {
            0 => {
                account.create(Entity::Persons, &change, now()).expect("persons can be made");
                *last += 1;
            }
            1 => drop(account.delete(Entity::Persons, &id, now())),
            _ => drop(account.update(Entity::Persons, &id, &change, now())),
        }
    }
}

fn ids(rows: &[Value]) -> Vec<Value> {
    rows.iter().map(|row| row["id"].clone()).collect()
}

fn check_walks(account: &Account, truth: &[Value], limit: u64) {
    assert_eq!(walk_v2(account, &format!("/api/v2/persons?limit={limit}")), truth);
    assert_eq!(ids(&walk_v1(account, &format!("/v1/persons?limit={limit}"))), ids(truth));
    for (field, direction) in
        [("update_time", "asc"), ("update_time", "desc"), ("add_time", "desc"), ("id", "desc")]
    {
        let target =
            format!("/api/v2/persons?limit={limit}&sort_by={field}&sort_direction={direction}");
        let rows = walk_v2(account, &target);
        let keys: Vec<_> = rows.iter().map(|row| row[field].clone()).collect();
        let mut sorted: Vec<_> = truth.iter().map(|row| row[field].clone()).collect();
        sorted.sort_by_key(|key| (key.as_u64(), key.to_string()));
        if direction == "desc" {
            sorted.reverse();
        }
        assert_eq!(keys, sorted, "{target}");
        let mut seen = ids(&rows);
        seen.sort_by_key(Value::as_u64);
        assert_eq!(seen, ids(truth), "{target}");
    }
}

#[test]
fn random_changes_leave_every_walk_whole_and_in_order() {
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut last = random.u64(0..60);
        let account = Account::new(seed, Sizes::each(last));
        for _ in 0..2 {
            change_some(&account, &mut random, &mut last);
            let truth = model(&account, last);
            assert_eq!(account.digest(Entity::Persons).rows, truth.len() as u64);
            for limit in [1, 7, 500] {
                check_walks(&account, &truth, limit);
            }
        }
    }
}

/// A page may end between a row of the seed and a changed row of the same second, whatever the
/// changed row's id.
#[test]
fn a_page_may_end_among_rows_of_one_second() {
    let mut sizes = Sizes::each(0);
    sizes.stages = 30;
    let list = "/api/v2/stages?limit=1&sort_by=update_time&sort_direction=";
    let times: Vec<_> = walk_v2(&Account::new(2, sizes.clone()), &format!("{list}asc"))
        .iter()
        .map(|row| row["update_time"].clone())
        .collect();
    for (place, time) in times.iter().enumerate().skip(1) {
        let account = Account::new(2, sizes.clone());
        let change = json!({ "update_time": time });
        account.update(Entity::Stages, &place.to_string(), &change, now()).expect("there");
        for direction in ["asc", "desc"] {
            let mut seen = ids(&walk_v2(&account, &format!("{list}{direction}")));
            seen.sort_by_key(Value::as_u64);
            assert_eq!(seen, (1..=30).map(Value::from).collect::<Vec<_>>(), "{direction} {place}");
        }
    }
}
