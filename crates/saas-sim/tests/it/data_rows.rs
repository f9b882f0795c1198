//! One row at a time: read, made, changed, deleted, in both versions.

use crate::data_support::{call, fails, get, now, walk_v2};
use http::Method;
use saas_sim::pipedrive::{Account, AccountOptions, Entity, Sizes};
use serde_json::{Value, json};

fn account() -> Account {
    Account::new(5, Sizes::each(1_000))
}

fn ok(account: &Account, method: &Method, target: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = call(account, method, target, &body.to_string());
    assert_eq!(answer["success"], true, "{target}: {answer}");
    (status, answer["data"].clone())
}

fn refused(account: &Account, method: &Method, target: &str, body: &Value) -> (u16, String) {
    let (status, answer) = call(account, method, target, &body.to_string());
    assert_eq!(answer["success"], false, "{target}: {answer}");
    (status, answer["error"].as_str().expect("a text").to_owned())
}

#[test]
fn the_caller_is_the_first_user_and_knows_the_company() {
    let account = account();
    let me = get(&account, "/v1/users/me");
    assert_eq!(me["data"]["id"], 1);
    assert_eq!(me["data"]["is_you"], true);
    assert_eq!(me["data"]["company_domain"], "acme");
    let users = get(&account, "/api/v1/users");
    assert_eq!(users["data"].as_array().map(Vec::len), Some(12));
    assert_eq!(get(&account, "/v1/users/3")["data"]["id"], 3);
    let (status, error) = fails(&account, "/v1/users/999");
    assert_eq!((status, error.as_str()), (404, "User not found or not accessible."));
}

#[test]
fn a_deal_is_made_changed_and_deleted_in_version_2() {
    let account = account();
    let before = account.digest(Entity::Deals);
    let body = json!({"title": "Rollout", "value": 12.5, "currency": "EUR", "person_id": 9, "stage_id": 22});
    let (status, deal) = ok(&account, &Method::POST, "/api/v2/deals", &body);
    assert_eq!((status, &deal["id"], &deal["title"]), (200, &json!(1_001), &json!("Rollout")));
    assert_eq!((&deal["pipeline_id"], &deal["value"]), (&json!(4), &json!(12.5)));
    assert_eq!((&deal["owner_id"], &deal["status"]), (&json!(1), &json!("open")));
    assert_eq!(deal["add_time"], "2026-03-02T09:00:00Z");

    let (status, deal) =
        ok(&account, &Method::PATCH, "/api/v2/deals/1001", &json!({"status": "won"}));
    assert_eq!((status, &deal["status"]), (200, &json!("won")));
    assert_eq!(
        (&deal["won_time"], &deal["local_won_date"]),
        (&json!("2026-03-02T09:00:00Z"), &json!("2026-03-02"))
    );
    assert_eq!(get(&account, "/api/v2/deals/1001")["data"], deal);
    assert_eq!(account.digest(Entity::Deals).rows, before.rows + 1);

    let (status, answer) = call(&account, &Method::DELETE, "/api/v2/deals/1001", "");
    assert_eq!((status, answer), (200, json!({"success": true, "data": {"id": 1_001}})));
    assert_eq!(account.digest(Entity::Deals), before);
    assert_eq!(refused(&account, &Method::DELETE, "/api/v2/deals/1001", &Value::Null).0, 404);
    assert_eq!(get(&account, "/api/v2/deals/1001")["data"]["is_deleted"], true, "for 30 days");
}

#[test]
fn deleted_deals_are_listed_for_thirty_days_when_asked_for() {
    let account = account();
    account.delete(Entity::Deals, "1", now()).expect("there");
    let old = "2025-12-01T00:00:00Z".parse().expect("a timestamp");
    account.delete(Entity::Deals, "2", old).expect("there");
    let ids = |target: &str| -> Vec<Value> {
        walk_v2(&account, target).iter().map(|row| row["id"].clone()).collect()
    };
    let deleted = ids("/api/v2/deals?limit=500&status=deleted");
    assert!(deleted.contains(&json!(1)) && !deleted.contains(&json!(2)));
    assert!(!ids("/api/v2/deals?limit=500").contains(&json!(1)));
    let (won, both) = (
        ids("/api/v2/deals?limit=500&status=won"),
        ids("/api/v2/deals?limit=500&status=won,deleted"),
    );
    assert_eq!(both.len(), won.len() + deleted.len());
    assert_eq!(fails(&account, "/api/v2/deals/2").0, 404, "purged");
}

#[test]
fn archiving_moves_a_deal_to_the_other_list() {
    let account = account();
    let (deals, archived) = (account.digest(Entity::Deals), account.digest(Entity::ArchivedDeals));
    let id = get(&account, "/api/v2/deals?limit=1")["data"][0]["id"].clone();
    let (_, deal) =
        ok(&account, &Method::PATCH, &format!("/api/v2/deals/{id}"), &json!({"is_archived": true}));
    assert_eq!(deal["archive_time"], "2026-03-02T09:00:00Z");
    assert_eq!(account.digest(Entity::Deals).rows, deals.rows - 1);
    assert_eq!(account.digest(Entity::ArchivedDeals).rows, archived.rows + 1);
}

#[test]
fn creation_says_200_or_201_as_documented() {
    let account = account();
    for (target, body, status) in [
        ("/api/v2/deals", json!({"title": "a"}), 200),
        ("/api/v2/persons", json!({"name": "Ann Lee"}), 200),
        ("/api/v2/organizations", json!({"name": "a"}), 200),
        (
            "/api/v2/activities",
            json!({"subject": "a", "participants": [{"person_id": 3, "primary": true}]}),
            200,
        ),
        ("/api/v2/products", json!({"name": "a"}), 201),
        ("/api/v2/pipelines", json!({"name": "a"}), 200),
        ("/api/v2/stages", json!({"name": "a", "pipeline_id": 1}), 200),
        ("/v1/notes", json!({"content": "a", "deal_id": 3}), 200),
        ("/v1/leads", json!({"title": "a", "person_id": 3}), 201),
        ("/v1/deals", json!({"title": "a", "user_id": 2, "org_id": "7"}), 200),
        ("/v1/persons", json!({"name": "Ann", "email": ["a@x.test"], "phone": "12"}), 200),
        ("/v1/organizations", json!({"name": "a", "address": "High Street 1"}), 200),
        ("/v1/activities", json!({"subject": "a", "done": 1, "person_id": 4}), 200),
    ] {
        let (got, row) = ok(&account, &Method::POST, target, &body);
        assert_eq!(got, status, "{target}");
        let path = format!("{target}/{}", row["id"].to_string().trim_matches('"'));
        assert_eq!(get(&account, &path)["data"], row, "{path}");
        if !target.ends_with("activities") {
            let (status, error) = refused(&account, &Method::POST, target, &json!({}));
            assert_eq!(status, 400, "{target}: {error}");
        }
    }
}

#[test]
fn version_2_is_strict_about_types_and_read_only_fields() {
    let account = account();
    for (target, body, text) in [
        ("/api/v2/activities/1", json!({"person_id": 3}), "'person_id' is a read-only field"),
        (
            "/api/v2/deals/1",
            json!({"creator_user_id": 3}),
            "'creator_user_id' is a read-only field",
        ),
        ("/api/v2/deals/1", json!({"value": "12"}), "'value' must be a number"),
        ("/api/v2/deals/1", json!({"owner_id": 0}), "'owner_id' must be a positive integer"),
        (
            "/api/v2/deals/1",
            json!({"status": "deleted"}),
            "'status' must be one of open, won, lost",
        ),
        ("/api/v2/deals/1", json!({"stage_id": 999}), "Stage 999 of the Deal does not exist"),
        (
            "/api/v2/persons/1",
            json!({"custom_fields": {"ab": 1}}),
            "'custom_fields.ab' is not a field",
        ),
        ("/api/v2/persons/1", json!([]), "The request body must be a JSON object"),
    ] {
        let before = account.row(Entity::Deals, "1");
        assert_eq!(refused(&account, &Method::PATCH, target, &body), (400, text.to_owned()));
        assert_eq!(account.row(Entity::Deals, "1"), before, "nothing half done");
    }
    let (status, answer) = call(&account, &Method::PATCH, "/api/v2/deals/1", r#"{"id": 4}"#);
    assert_eq!((status, &answer["code"]), (400, &json!("ERR_BAD_REQUEST")));
}

#[test]
fn missing_rows_answer_404_in_the_envelope_of_their_version() {
    let account = account();
    let (status, answer) = call(&account, &Method::GET, "/api/v2/deals/123456", "");
    assert_eq!(
        (status, answer),
        (404, json!({"success": false, "error": "Deal not found", "code": "ERR_NOT_FOUND"}))
    );
    let (status, answer) = call(&account, &Method::GET, "/v1/notes/123456", "");
    assert_eq!(
        (status, &answer["data"], &answer["error"]),
        (404, &Value::Null, &json!("Note not found"))
    );
    assert!(answer["error_info"].is_string());
    let lead = fails(&account, "/v1/leads/ad18af23-0000-4000-8000-000000000000");
    assert_eq!(lead, (404, "requested lead not found".to_owned()));
    assert_eq!(fails(&account, "/api/v2/deals/seven").0, 400);
    assert_eq!(
        fails(&account, "/api/v2/productFields/nothing"),
        (410, "The field is not found".to_owned())
    );
    assert_eq!(fails(&account, "/v1/roles").0, 501);
}

#[test]
fn own_fields_lie_flat_in_version_1_and_together_in_version_2() {
    let account = account();
    let fields = walk_v2(&account, "/api/v2/dealFields?limit=500");
    let money = fields
        .iter()
        .find(|field| field["field_type"] == "monetary" && field["is_custom_field"] == true);
    let key =
        money.and_then(|field| field["field_code"].as_str()).expect("a monetary field").to_owned();
    assert!(key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let old = get(&account, "/v1/dealFields?limit=500");
    assert!(
        old["data"].as_array().expect("a list").iter().any(|field| field["key"] == key.as_str())
    );

    let body = json!({"custom_fields": {&key: {"value": 900, "currency": "EUR"}}});
    let (_, deal) = ok(&account, &Method::PATCH, "/api/v2/deals/1", &body);
    assert_eq!(deal["custom_fields"][&key]["value"], 900);
    let deal = get(&account, "/v1/deals/1")["data"].clone();
    assert_eq!((&deal[&key], &deal[format!("{key}_currency")]), (&json!("900"), &json!("EUR")));
    let body = json!({&key: 901, format!("{key}_currency"): "PLN"});
    ok(&account, &Method::PUT, "/v1/deals/1", &body);
    let deal = get(&account, "/api/v2/deals/1")["data"].clone();
    assert_eq!(deal["custom_fields"][&key], json!({"value": 901, "currency": "PLN"}));
}

#[test]
fn the_fields_of_notes_are_listed_in_version_1_alone() {
    let account = account();
    let fields = get(&account, "/v1/noteFields?limit=500");
    let fields = fields["data"].as_array().expect("a list");
    assert!(fields.iter().all(|field| field["id"].is_u64() && field["name"].is_string()));
    assert!(fields.iter().any(|field| field["key"] == "content" && field["field_type"] == "text"));
}

#[test]
fn version_1_shows_its_own_shapes_and_selected_fields() {
    let account = account();
    account
        .update(
            Entity::Deals,
            "1",
            &json!({"person_id": 3, "org_id": 4, "is_deleted": false, "is_archived": false}),
            now(),
        )
        .expect("there");
    let body = get(&account, "/v1/deals?limit=1");
    let deal = &body["data"][0];
    assert_eq!(deal["person_id"]["value"], 3);
    assert_eq!(deal["org_id"]["name"], deal["org_name"]);
    assert_eq!(deal["update_time"], "2026-03-02 09:00:00");
    assert_eq!((&deal["deleted"], &deal["visible_to"].is_string()), (&json!(false), &true));
    assert!(deal.get("custom_fields").is_none() && deal.get("is_deleted").is_none());
    assert_eq!(body["related_objects"]["person"]["3"]["id"], 3);
    let body = get(&account, "/v1/deals:(id,title)?limit=2");
    assert_eq!(
        body["data"][0].as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["id".to_owned(), "title".to_owned()])
    );
    let body = get(&account, "/v1/notes:(id)?limit=1");
    assert_eq!(body["data"][0].as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn a_file_is_uploaded_as_a_form() {
    let account = account();
    let body = "--xx\r\nContent-Disposition: form-data; name=\"deal_id\"\r\n\r\n5\r\n--xx\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--xx--\r\n";
    let (status, answer) = call(&account, &Method::POST, "/v1/files", body);
    let file = &answer["data"];
    assert_eq!((status, &file["name"], &file["file_size"]), (200, &json!("a.txt"), &json!(5)));
    assert_eq!((&file["deal_id"], &file["add_time"]), (&json!(5), &json!("2026-03-02 09:00:00")));
    let (status, answer) = call(
        &account,
        &Method::PUT,
        &format!("/v1/files/{}", file["id"]),
        "name=b.txt&description=x+y",
    );
    assert_eq!(
        (status, &answer["data"]["name"], &answer["data"]["description"]),
        (200, &json!("b.txt"), &json!("x y"))
    );
}

#[test]
fn operations_that_left_version_1_can_be_switched_off() {
    let mut options = AccountOptions::default();
    options.legacy_v1 = false;
    let account = Account::with_options(1, Sizes::each(10), options);
    assert_eq!(fails(&account, "/v1/deals").0, 410);
    assert_eq!(get(&account, "/v1/notes")["success"], true);
}
