//! Calls to an account without a network.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use saas_sim::pipedrive::{Account, Entity, ops};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The time at which tests ask, a day after the account's newest change.
pub(crate) fn now() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().expect("a timestamp")
}

/// The answer to a call: status and body.
pub(crate) fn call(account: &Account, method: &Method, target: &str, body: &str) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let matched = ops::find(method, path).unwrap_or_else(|| panic!("no operation {target}"));
    let reply = account.handle(&matched, query, body.as_bytes(), now());
    let body =
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{target}: {error}"));
    (reply.status, body)
}

/// The body of a GET that must succeed.
pub(crate) fn get(account: &Account, target: &str) -> Value {
    let (status, body) = call(account, &Method::GET, target, "");
    assert_eq!(status, 200, "{target}: {body}");
    assert_eq!(body["success"], true, "{target}");
    body
}

/// The status of a GET and what it says is wrong.
pub(crate) fn fails(account: &Account, target: &str) -> (u16, String) {
    let (status, body) = call(account, &Method::GET, target, "");
    assert_eq!(body["success"], false, "{target}: {body}");
    (status, body["error"].as_str().expect("a text").to_owned())
}

/// All rows of a list of version 2, by cursor.
pub(crate) fn walk_v2(account: &Account, target: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let join = if target.contains('?') { '&' } else { '?' };
        let body = get(account, &format!("{target}{join}cursor={cursor}"));
        rows.extend(body["data"].as_array().expect("a list").iter().cloned());
        assert!(rows.len() < 20_000, "{target} does not end");
        match &body["additional_data"]["next_cursor"] {
            Value::String(next) => {
                cursor = next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            }
            _ => return rows,
        }
    }
}

/// All rows of a list of version 1, by offset.
pub(crate) fn walk_v1(account: &Account, target: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut start = 0;
    loop {
        let join = if target.contains('?') { '&' } else { '?' };
        let body = get(account, &format!("{target}{join}start={start}"));
        rows.extend(body["data"].as_array().expect("a list").iter().cloned());
        assert!(rows.len() < 20_000, "{target} does not end");
        let pages = &body["additional_data"]["pagination"];
        if pages["more_items_in_collection"] != true {
            assert!(pages.get("next_start").is_none());
            return rows;
        }
        start = pages["next_start"].as_u64().expect("a number");
    }
}

/// A full read of an entity by its own list.
pub(crate) fn full_read(account: &Account, entity: Entity) -> Vec<Value> {
    let path = entity.list_path();
    match entity {
        Entity::Goals => get(account, &path)["data"]["goals"].as_array().expect("a list").clone(),
        Entity::Users | Entity::ActivityTypes | Entity::Filters | Entity::Currencies => {
            get(account, &path)["data"].as_array().expect("a list").clone()
        }
        Entity::Files => walk_v1(account, &format!("{path}?limit=100")),
        Entity::Notes | Entity::Leads => walk_v1(account, &format!("{path}?limit=500")),
        _ => walk_v2(account, &format!("{path}?limit=500")),
    }
}

/// The digest, computed from rows as a reader of the API would.
pub(crate) fn digest(rows: &[Value]) -> (u64, String) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut numbers = BTreeMap::new();
    let mut texts = BTreeMap::new();
    for row in rows {
        let hash = hex(&Sha256::digest(row.to_string()));
        let id = row.get("id").or_else(|| row.get("field_code")).expect("a name");
        let old = match id.as_u64() {
            Some(number) => numbers.insert(number, hash),
            None => texts.insert(id.as_str().expect("a text").to_owned(), hash),
        };
        assert!(old.is_none(), "{id} came twice");
    }
    let mut all = Sha256::new();
    for (id, hash) in numbers {
        all.update(format!("{id}\t{hash}\n"));
    }
    for (id, hash) in texts {
        all.update(format!("{id}\t{hash}\n"));
    }
    (rows.len() as u64, hex(&all.finalize()))
}
