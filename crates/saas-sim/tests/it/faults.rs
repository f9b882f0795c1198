//! Each fault, in process, on a paused clock.

use crate::common;

use std::time::Duration;

use crate::common::{DEALS, burst, get, request, send, sim, small, with_faults};
use http_body_util::BodyExt;
use saas_sim::pipedrive::{FaultKind, Faults, Sim, SimConfig};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

/// A simulator whose every request meets the fault, the first two apart.
fn third(kind: &str) -> Sim {
    with_faults(&format!("rules = [{{ fault = \"{kind}\", from = 3, path = \"/api/v2/deals*\" }}]"))
}

#[tokio::test(start_paused = true)]
async fn server_errors_have_their_status_and_are_counted() {
    for (kind, status, html) in [
        ("error_500", 500, false),
        ("error_502", 502, true),
        ("error_503", 503, false),
        ("error_504", 504, true),
        ("error_524", 524, true),
    ] {
        let sim = third(kind);
        assert_eq!(burst(&sim, DEALS, 3).await, [200, 200, status]);
        let answer = get(&sim, DEALS).await;
        assert_eq!(answer.body.starts_with(b"<"), html, "{kind}");
        assert_eq!(answer.number("x-ratelimit-remaining"), 96);
        let truth = sim.truth();
        assert_eq!((truth.charged, truth.day.used, truth.failed), (4, 40, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn server_errors_are_free_if_set() {
    let faults = Faults::from_toml("rates = { error_500 = 1.0 }").expect("good faults");
    let sim = sim(SimConfig { failed_calls_cost: false, faults, ..small() });
    assert_eq!(get(&sim, DEALS).await.status, 500);
    let truth = sim.truth();
    assert_eq!((truth.charged, truth.day.used, truth.window.peak), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_429_without_cause_looks_like_one_with_and_is_not_counted() {
    let sim = third("rate_limited");
    burst(&sim, DEALS, 2).await;
    let answer = get(&sim, DEALS).await;
    assert_eq!((answer.status, answer.number("x-ratelimit-remaining")), (429, 0));
    assert_eq!(answer.json()["error"], "request over limit");
    assert_eq!(answer.number("x-ratelimit-reset"), 2);
    let truth = sim.truth();
    assert_eq!(
        (truth.charged, truth.refusals.caused(), truth.fault(FaultKind::RateLimited)),
        (2, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_an_error_and_counted_as_set() {
    for (share, charged) in [(1.0, 0), (0.0, 1)] {
        let sim = with_faults(&format!("reset_before_count = {share}\n[rates]\nreset = 1.0"));
        let error = send(&sim, request(&sim, "GET", DEALS)).await.expect_err("a reset");
        assert!(error.is_reset());
        let source = std::error::Error::source(&error).expect("a source");
        let source = source.downcast_ref::<std::io::Error>().expect("of the system's kind");
        assert_eq!(source.kind(), std::io::ErrorKind::ConnectionReset);
        let truth = sim.truth();
        assert_eq!((truth.asked, truth.charged, truth.answered), (1, charged, 0));
        assert_eq!(truth.fault(FaultKind::Reset), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_inside_the_body_gives_a_part_of_it() {
    let sim = third("reset_in_body");
    let whole = get(&sim, DEALS).await.body;
    get(&sim, DEALS).await;
    let response = sim.service().oneshot(request(&sim, "GET", DEALS)).await.expect("a head");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let part = body.frame().await.expect("a part").expect("data").into_data().expect("data");
    assert!(whole.starts_with(&part) && part.len() < whole.len());
    let error = body.frame().await.expect("an error").expect_err("an error");
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn cut_json_is_a_whole_answer_that_does_not_parse() {
    let sim = third("truncated_json");
    let whole = get(&sim, DEALS).await.body;
    get(&sim, DEALS).await;
    let answer = get(&sim, DEALS).await;
    assert_eq!(answer.status, 200);
    assert!(whole.starts_with(&answer.body) && answer.body.len() < whole.len());
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
}

#[tokio::test(start_paused = true)]
async fn html_and_null_come_with_200() {
    let sim = third("html");
    burst(&sim, DEALS, 2).await;
    let answer = get(&sim, DEALS).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));

    let sim = third("null_data");
    burst(&sim, DEALS, 2).await;
    let answer = get(&sim, DEALS).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"success":true,"data":null}"#[..]));
}

#[tokio::test(start_paused = true)]
async fn a_hang_never_answers_but_was_counted() {
    let sim = with_faults("rules = [{ fault = \"hang\", nth = 1 }]");
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, send(&sim, request(&sim, "GET", DEALS))).await.is_err());
    assert_eq!(get(&sim, DEALS).await.status, 200);
    let truth = sim.truth();
    assert_eq!((truth.asked, truth.charged, truth.answered), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_takes_its_time_and_is_whole() {
    let sim = with_faults(
        "drip = { pieces = 10, pause_ms = 300 }\nrules = [{ fault = \"slow_drip\", nth = 2 }]",
    );
    let whole = get(&sim, DEALS).await.body;
    let start = Instant::now();
    assert_eq!(get(&sim, DEALS).await.body, whole);
    let took = start.elapsed();
    assert!((2900..3100).contains(&took.as_millis()), "{took:?}");
    assert_eq!(sim.truth().failed, 0, "slow is not failed");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_stays_so_until_it_is_replaced() {
    for expiry in
        ["expire = { after_requests = 2 }", "rules = [{ fault = \"expired_token\", nth = 3 }]"]
    {
        let sim = with_faults(expiry);
        assert_eq!(burst(&sim, DEALS, 5).await, [200, 200, 401, 401, 401]);
        let old = request(&sim, "GET", DEALS);
        sim.set_api_token("renewed");
        assert_eq!(burst(&sim, DEALS, 2).await, [200, 200]);
        assert_eq!(send(&sim, old).await.expect("an answer").status, 401);
        assert_eq!(sim.truth().day.used, 40);
    }
    let sim = with_faults("expire = { after_ms = 1000 }");
    assert_eq!(get(&sim, DEALS).await.status, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&sim, DEALS).await.status, 401);
    sim.set_api_token(sim.api_token());
    assert_eq!(get(&sim, DEALS).await.status, 200, "the same text again ends the expiry");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_cursor_is_the_one_that_was_asked() {
    let sim = third("repeated_cursor");
    let cursor = |answer: &common::Answer| {
        answer.json()["additional_data"]["next_cursor"].as_str().expect("a cursor").to_owned()
    };
    let first = cursor(&get(&sim, DEALS).await);
    let target = format!("{DEALS}&cursor={}", encoded(&first));
    let good = cursor(&get(&sim, &target).await);
    assert_ne!(good, first);
    assert_eq!(cursor(&get(&sim, &target).await), first);
    assert_eq!(cursor(&get(&sim, DEALS).await), first, "without a cursor there is none to repeat");
    assert_eq!(sim.truth().fault(FaultKind::RepeatedCursor), 1);
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn latency_is_spent_before_and_after_the_count() {
    let sim = with_faults("latency_before_ms = [30, 40]\nlatency_after_ms = [100, 120]");
    let start = Instant::now();
    let counted = tokio::join!(get(&sim, DEALS), async {
        tokio::time::sleep(Duration::from_millis(29)).await;
        let early = sim.truth().charged;
        tokio::time::sleep(Duration::from_millis(13)).await;
        (early, sim.truth().charged)
    });
    assert_eq!(counted.1, (0, 1));
    let took = start.elapsed().as_millis();
    assert!((130..=162).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_sets_a_latency_of_its_own() {
    let sim = with_faults("rules = [{ method = \"GET\", query = \"limit=1\", before_ms = 5000 }]");
    let start = Instant::now();
    get(&sim, "/api/v2/deals?limit=2").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    get(&sim, DEALS).await;
    assert!(start.elapsed() >= Duration::from_secs(5));
}

/// What 400 requests met: the status, or 0 for a reset; with the length of the body.
async fn met(seed: u64) -> (Vec<(u16, usize)>, u128) {
    let sim =
        sim(SimConfig { faults: Faults { seed, ..Faults::storm() }, limits: false, ..small() });
    let start = Instant::now();
    let mut met = Vec::new();
    for _ in 0..400 {
        let asked = sim.service().oneshot(request(&sim, "GET", DEALS));
        met.push(match timeout(Duration::from_secs(30), asked).await {
            Ok(Ok(response)) => {
                let status = response.status().as_u16();
                let body = response.into_body().collect().await;
                (status, body.map_or(1, |body| body.to_bytes().len()))
            }
            Ok(Err(_)) => (0, 0),
            Err(_) => (0, 2),
        });
    }
    let truth = sim.truth();
    assert!(truth.share_failed() >= 0.1, "{}", truth.share_failed());
    assert!(truth.fault(FaultKind::Hang) >= 1);
    (met, start.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_order_meet_the_same_faults() {
    assert_eq!(met(5).await, met(5).await);
    assert_ne!(met(5).await, met(6).await);
}

#[tokio::test(start_paused = true)]
async fn faults_can_be_replaced_while_it_runs() {
    let sim = sim(small());
    assert_eq!(get(&sim, DEALS).await.status, 200);
    let ask = async |target: &str, body: &str| {
        let mut request = request(&sim, "POST", target);
        *request.body_mut() = body.to_owned();
        send(&sim, request).await.expect("an answer").status
    };
    assert_eq!(ask("/__sim/faults", "rates = { error_503 = 1.0 }").await, 200);
    assert_eq!(get(&sim, DEALS).await.status, 503);
    assert_eq!(ask("/__sim/faults", "rates = { error_503 = 3.0 }").await, 400);
    assert_eq!(get(&sim, DEALS).await.status, 503, "bad faults leave the old ones");
    assert_eq!(ask("/__sim/faults", "{\"rates\":{\"html\":1.0}}").await, 200);
    assert_eq!(get(&sim, DEALS).await.status, 200);
    assert_eq!(ask("/__sim/faults", "none").await, 200);
    assert_eq!(ask("/__sim/spend", "{\"tokens\":500}").await, 200);
    assert_eq!(sim.truth().day.used, 540);
    assert_eq!(ask("/__sim/token", "{\"token\":\"other\"}").await, 200);
    assert_eq!(sim.api_token(), "other");
    assert_eq!(sim.truth().requests, 4, "its own paths are not counted");
}
