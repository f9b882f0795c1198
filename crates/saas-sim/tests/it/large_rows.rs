//! Rows of a size that is set: written while they are sent, and the same as ever.

use crate::data_support;

use crate::common::{get, request, sim};
use bytes::Buf;
use http_body_util::BodyExt;
use saas_sim::pipedrive::{Churn, Entity, FaultKind, Faults, Rule, Sim, SimConfig, Sizes};
use serde_json::{Value, json};
use tower::ServiceExt;

const LENGTH: usize = 20_000;

fn account(faults: Faults) -> Sim {
    let mut sizes = Sizes::each(60);
    (sizes.deals, sizes.notes) = (600, 200);
    let sizes = Some(sizes);
    sim(SimConfig { sizes, row_bytes: LENGTH, faults, limits: false, ..SimConfig::default() })
}

#[tokio::test(start_paused = true)]
async fn rows_have_the_length_that_is_set_and_the_digest_of_the_account() {
    let sim = account(Faults::none());
    for (entity, path) in [
        (Entity::Deals, "/api/v2/deals?limit=500"),
        (Entity::Notes, "/v1/notes?limit=500"),
        (Entity::Files, "/v1/files?limit=100"),
    ] {
        sim.change_now(Churn { updates: 5.0, creates: 2.0, ..Churn::default() }).expect("good");
        let (mut rows, mut from) = (Vec::<Value>::new(), String::new());
        loop {
            let body = get(&sim, &format!("{path}{from}")).await.json();
            rows.extend(body["data"].as_array().expect("a list").iter().cloned());
            match body["additional_data"]["next_cursor"].as_str() {
                Some(cursor) => from = format!("&cursor={}", cursor.replace('=', "%3D")),
                None => break,
            }
        }
        let digest = sim.digest(entity);
        assert_eq!(data_support::digest(&rows), (digest.rows, digest.sha256), "{path}");
        let length = rows[0].to_string().len();
        assert_eq!(length, LENGTH, "{path}");
    }
    let stage = get(&sim, "/api/v2/stages?limit=1").await;
    assert!(stage.body.len() < 2_000, "small kinds stay small");
}

#[tokio::test(start_paused = true)]
async fn a_long_page_is_written_while_it_is_sent() {
    let sim = account(Faults::none());
    let request = request(&sim, "GET", "/api/v2/deals?limit=500");
    let mut body = sim.service().oneshot(request).await.expect("an answer").into_body();
    let (mut most, mut all) = (0, 0);
    while let Some(frame) = body.frame().await {
        let length = frame.expect("no error").into_data().expect("data").remaining();
        (most, all) = (most.max(length), all + length);
    }
    assert!(all > 450 * LENGTH, "{all}");
    assert!(most < 256 * 1024 + 2 * LENGTH, "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_long_page_shows_the_rows_of_the_moment_it_was_asked() {
    let sim = account(Faults::none());
    let request = request(&sim, "GET", "/api/v2/deals?limit=500");
    let response = sim.service().oneshot(request).await.expect("an answer");
    let id = sim.account().throughout(Entity::Deals, 0, 0)[3].clone();
    sim.account()
        .update(Entity::Deals, &id, &json!({ "title": "late" }), sim.now())
        .expect("there");
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_ne!(body["data"][3]["title"], "late");
}

#[tokio::test(start_paused = true)]
async fn faults_happen_to_long_pages_too() {
    let rule = Rule { fault: Some(FaultKind::TruncatedJson), ..Rule::default() };
    let sim = account(Faults { rules: vec![rule], ..Faults::none() });
    let answer = get(&sim, "/api/v2/deals?limit=100").await;
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
    assert_eq!(sim.truth().fault(FaultKind::TruncatedJson), 1);
}
