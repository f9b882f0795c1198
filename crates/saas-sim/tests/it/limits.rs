//! The limits, exactly, on a paused clock.

use std::time::Duration;

use crate::common::{DEALS, burst, get, request, send, sim, small};
use http::Request;
use jiff::Timestamp;
use saas_sim::pipedrive::{Edge, IdleHeaders, Plan, SimConfig};
use tokio::time::{Instant, advance};

const ONE: &str = "/api/v2/deals/1";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

#[tokio::test(start_paused = true)]
async fn the_101st_is_refused_until_the_first_is_two_seconds_old() {
    let sim = sim(small());
    assert_eq!(burst(&sim, DEALS, 100).await, [200; 100]);
    let refused = get(&sim, DEALS).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"], "request over limit");
    assert_eq!(refused.json()["errorCode"], 429);
    assert_eq!(refused.number("x-ratelimit-limit"), 100);
    assert_eq!(refused.number("x-ratelimit-remaining"), 0);
    assert_eq!(refused.number("x-ratelimit-reset"), 2);
    assert_eq!(refused.header("retry-after"), None);

    advance(Duration::from_millis(1999)).await;
    assert_eq!(get(&sim, DEALS).await.status, 429);
    advance(Duration::from_millis(1)).await;
    assert_eq!(burst(&sim, DEALS, 100).await, [200; 100]);
    assert_eq!(get(&sim, DEALS).await.status, 429);
    assert_eq!(sim.truth().window.peak, 100);
    assert_eq!(sim.truth().refusals.burst, 3);
}

#[tokio::test(start_paused = true)]
async fn the_window_rolls() {
    let sim = sim(SimConfig { plan: Plan::Lite, ..small() });
    burst(&sim, DEALS, 5).await;
    advance(Duration::from_millis(1500)).await;
    assert_eq!(burst(&sim, DEALS, 16).await[14..], [200, 429]);
    advance(Duration::from_millis(500)).await;
    let statuses = burst(&sim, DEALS, 6).await;
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429], "only the first five have left");
    advance(Duration::from_secs(9)).await;
    assert_eq!(get(&sim, DEALS).await.number("x-ratelimit-remaining"), 19);
    assert_eq!(sim.truth().window.peak, 20);
}

#[tokio::test(start_paused = true)]
async fn searches_have_a_window_of_their_own() {
    let sim = sim(small());
    let search = "/api/v2/deals/search?term=abc";
    assert_eq!(burst(&sim, search, 11).await.iter().filter(|&&status| status == 429).count(), 1);
    assert_eq!(burst(&sim, DEALS, 100).await, [200; 100]);
    let truth = sim.truth();
    assert_eq!((truth.window.peak, truth.window.search_peak), (100, 10));
    assert_eq!((truth.refusals.burst, truth.refusals.search), (0, 1));
    advance(Duration::from_secs(2)).await;
    let answer = get(&sim, search).await;
    assert_eq!((answer.status, answer.number("x-ratelimit-limit")), (200, 10));
}

#[tokio::test(start_paused = true)]
async fn each_token_has_its_window_and_all_share_the_day() {
    let config = SimConfig { plan: Plan::Lite, other_tokens: vec!["second".to_owned()], ..small() };
    let sim = sim(config);
    assert_eq!(burst(&sim, ONE, 21).await[19..], [200, 429]);
    let with = |name: &'static str, value: String| {
        Request::get(ONE).header(name, value).body(String::new()).expect("a request")
    };
    let second = send(&sim, with("x-api-token", "second".to_owned())).await.expect("an answer");
    assert_eq!((second.status, second.number("x-ratelimit-remaining")), (200, 19));
    assert_eq!(second.number("x-daily-ratelimit-token-remaining"), 30_000 - 21);
    let bearer = format!("Bearer {}", sim.config().oauth_token);
    let oauth = send(&sim, with("authorization", bearer)).await.expect("an answer");
    assert_eq!((oauth.status, oauth.number("x-ratelimit-limit")), (200, 80));
    assert_eq!(oauth.header("x-daily-requests-left"), None, "of API tokens only");
    assert_eq!(sim.truth().day.used, 22);
}

#[tokio::test(start_paused = true)]
async fn the_day_ends_at_midnight_of_its_zone() {
    // 23:59 in São Paulo, which is three hours behind.
    let config = SimConfig {
        day_tokens: Some(25),
        start: at("2026-03-03T02:59:00Z"),
        reset_zone: "America/Sao_Paulo".to_owned(),
        ..small()
    };
    let sim = sim(config);
    assert_eq!(burst(&sim, DEALS, 3).await, [200, 200, 429]);
    let refused = get(&sim, DEALS).await;
    assert_eq!(refused.json()["error"], "daily request budget exceeded");
    assert_eq!(refused.json()["error_info"], "Please check developers.pipedrive.com");
    assert_eq!(refused.number("retry-after"), 60);
    assert_eq!(refused.number("x-daily-ratelimit-token-remaining"), 5);
    assert_eq!(get(&sim, ONE).await.status, 200, "what is left can be spent");
    assert_eq!(sim.truth().day.resets_at, at("2026-03-03T03:00:00Z"));

    advance(Duration::from_millis(59_999)).await;
    assert_eq!(get(&sim, DEALS).await.status, 429);
    advance(Duration::from_millis(1)).await;
    assert_eq!(burst(&sim, DEALS, 3).await, [200, 200, 429]);

    // A whole day, on the paused clock.
    advance(Duration::from_secs(86_400 - 1)).await;
    assert_eq!(get(&sim, DEALS).await.status, 429);
    advance(Duration::from_secs(1)).await;
    assert_eq!(get(&sim, DEALS).await.status, 200);
    let day = sim.truth().day;
    assert_eq!((day.used, day.used_ever, day.resets), (10, 21 + 20 + 10, 2));
}

#[tokio::test(start_paused = true)]
async fn a_day_may_have_23_hours_and_another_hour_of_reset() {
    let config = SimConfig {
        start: at("2026-03-28T12:00:00Z"),
        reset_zone: "Europe/Berlin".to_owned(),
        ..small()
    };
    assert_eq!(sim(config.clone()).truth().day.resets_at, at("2026-03-28T23:00:00Z"));
    let sim = sim(SimConfig { reset_time: "06:30:00".parse().expect("a time"), ..config });
    assert_eq!(sim.truth().day.resets_at, at("2026-03-29T04:30:00Z"));
    advance(Duration::from_secs(86_400)).await;
    assert_eq!(sim.truth().day.resets_at, at("2026-03-30T04:30:00Z"));
}

#[tokio::test(start_paused = true)]
async fn the_days_tokens_come_from_plan_seats_and_top_up() {
    let config = SimConfig { plan: Plan::Growth, seats: 10, top_up: 500, ..small() };
    let answer = get(&sim(config), DEALS).await;
    assert_eq!(answer.number("x-daily-ratelimit-token-limit"), 600_500);
    assert_eq!(answer.number("x-daily-ratelimit-token-remaining"), 600_490);
    assert_eq!(answer.number("x-daily-requests-left"), 10_000);
}

#[tokio::test(start_paused = true)]
async fn refused_calls_cost_only_if_set() {
    for (refused_calls_cost, used) in [(false, 20), (true, 21)] {
        let sim = sim(SimConfig { plan: Plan::Lite, refused_calls_cost, ..small() });
        burst(&sim, ONE, 21).await;
        assert_eq!(sim.truth().day.used, used);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_setting_for_both_refusals() {
    let config = SimConfig {
        burst: Some(1),
        day_tokens: Some(10),
        retry_after_on_burst: true,
        retry_after_on_daily: false,
        ..small()
    };
    let sim = sim(config);
    burst(&sim, DEALS, 1).await;
    assert_eq!(get(&sim, DEALS).await.number("retry-after"), 2);
    advance(Duration::from_secs(2)).await;
    let daily = get(&sim, DEALS).await;
    assert_eq!((daily.status, daily.header("retry-after")), (429, None));
}

#[tokio::test(start_paused = true)]
async fn the_edge_bans_a_token_that_goes_on_after_refusals() {
    let edge = Edge { enabled: true, refusals: 3, within_s: 10, block_s: 60 };
    let sim = sim(SimConfig { burst: Some(1), edge, ..small() });
    assert_eq!(burst(&sim, DEALS, 5).await, [200, 429, 429, 429, 403]);
    let banned = get(&sim, DEALS).await;
    assert!(banned.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(banned.body.starts_with(b"<!DOCTYPE html>"));
    assert_eq!(banned.header("x-ratelimit-limit"), None);
    advance(Duration::from_millis(59_999)).await;
    assert_eq!(get(&sim, DEALS).await.status, 403);
    advance(Duration::from_millis(1)).await;
    assert_eq!(burst(&sim, DEALS, 3).await, [200, 429, 429], "and counts from nothing");
    assert_eq!(sim.truth().refusals.edge, 3);
    assert_eq!(sim.truth().refusals.caused(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_is_over_leaves_nothing_behind() {
    let edge = Edge { enabled: true, refusals: 3, within_s: 600, block_s: 5 };
    let sim = sim(SimConfig { burst: Some(1), edge, ..small() });
    assert_eq!(burst(&sim, DEALS, 5).await[3..], [429, 403]);
    advance(Duration::from_secs(5)).await;
    assert_eq!(burst(&sim, DEALS, 4).await, [200, 429, 429, 429]);
}

#[tokio::test(start_paused = true)]
async fn refusals_that_are_far_apart_bring_no_ban() {
    let edge = Edge { enabled: true, refusals: 3, within_s: 10, block_s: 60 };
    let sim = sim(SimConfig { burst: Some(1), edge, ..small() });
    for _ in 0..10 {
        assert_eq!(burst(&sim, DEALS, 2).await, [200, 429]);
        advance(Duration::from_secs(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_headers_may_be_missing_after_idling() {
    let config =
        SimConfig { token_headers_idle: Some(IdleHeaders { after_s: 600, answers: 2 }), ..small() };
    let sim = sim(config);
    let shown = async || get(&sim, DEALS).await.header("x-daily-ratelimit-token-limit").is_some();
    assert!(shown().await);
    advance(Duration::from_secs(600)).await;
    assert_eq!([shown().await, shown().await, shown().await], [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_needed_and_the_query_form_is_for_version_1() {
    let sim = sim(small());
    let ask = async |target: String, header: Option<&str>| {
        let mut request = Request::get(target);
        if let Some(token) = header {
            request = request.header("x-api-token", token);
        }
        send(&sim, request.body(String::new()).expect("a request")).await.expect("an answer")
    };
    for header in [None, Some("wrong")] {
        let answer = ask("/v1/users/me".to_owned(), header).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("x-401-by-gw"), Some("true"));
        assert_eq!(
            answer.body,
            r#"{"success":false,"error":"unauthorized access","errorCode":401,"error_info":"Please check developers.pipedrive.com"}"#
        );
        assert_eq!(ask("/nowhere".to_owned(), header).await.status, 401);
    }
    let token = sim.api_token();
    assert_eq!(ask(format!("/v1/users/me?api_token={token}"), None).await.status, 200);
    assert_eq!(ask(format!("{ONE}?api_token={token}"), None).await.status, 401);
    assert_eq!(sim.truth().refusals.unauthorized, 5);
    assert_eq!(sim.truth().day.used, 2);
}

#[tokio::test(start_paused = true)]
async fn unknown_paths_and_methods_are_told_apart() {
    let sim = sim(small());
    assert_eq!(get(&sim, "/api/v2/nothing").await.status, 404);
    let put = send(&sim, request(&sim, "PUT", ONE)).await.expect("an answer");
    assert_eq!(put.status, 405);
    assert_eq!(sim.truth().refusals.unknown, 2);
}

#[tokio::test(start_paused = true)]
async fn writes_are_counted_down_until_midnight_utc_and_bodies_are_bounded() {
    let sim = sim(SimConfig { max_body: 100, ..small() });
    let write = async |body: String| {
        let mut request = request(&sim, "POST", "/api/v2/persons");
        *request.body_mut() = body;
        send(&sim, request).await.expect("an answer")
    };
    let body = r#"{"name":"Otto Lind"}"#;
    let created = write(body.to_owned()).await;
    assert!((200..300).contains(&created.status), "{created:?}");
    assert_eq!(created.json()["data"]["name"], "Otto Lind");
    assert_eq!(created.number("x-daily-requests-left"), 9_999);
    assert_eq!(write(body.to_owned()).await.number("x-daily-requests-left"), 9_998);
    assert_eq!(get(&sim, DEALS).await.number("x-daily-requests-left"), 9_998);
    assert_eq!(write(" ".repeat(101)).await.status, 413);
    assert_eq!(sim.truth().day.used, 5 + 5 + 10);
    advance(Duration::from_secs(86_400)).await;
    assert_eq!(get(&sim, DEALS).await.number("x-daily-requests-left"), 10_000);
}

#[tokio::test(start_paused = true)]
async fn without_limits_everything_is_counted_and_nothing_refused() {
    let sim = sim(SimConfig { limits: false, day_tokens: Some(1), ..small() });
    assert_eq!(burst(&sim, DEALS, 300).await, [200; 300]);
    assert_eq!(get(&sim, DEALS).await.header("x-ratelimit-limit"), None);
    let truth = sim.truth();
    assert_eq!((truth.window.peak, truth.day.used, truth.charged), (301, 3010, 301));
}

#[tokio::test(start_paused = true)]
async fn the_truth_is_what_was_sent() {
    let sim = sim(SimConfig { plan: Plan::Lite, log: 5, ..small() });
    let answers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = answers.clone();
    sim.on_answer(move |answered| {
        heard.lock().expect("no panic").push((answered.number, answered.status));
    });
    let start = Instant::now();
    burst(&sim, DEALS, 15).await;
    advance(Duration::from_secs(1)).await;
    burst(&sim, "/v1/users/me?api_token=secret", 6).await;
    sim.spend_elsewhere(1000);

    let truth = sim.truth();
    let deals = truth.operation("GET v2 /deals").expect("asked");
    assert_eq!((deals.asked, deals.charged, deals.tokens, deals.refused), (15, 15, 150, 0));
    let me = truth.operation("GET v1 /users/me").expect("asked");
    assert_eq!((me.asked, me.charged, me.tokens, me.refused), (6, 5, 10, 1));
    assert_eq!(me.answered.get(&200), Some(&5));
    assert_eq!(me.answered.get(&429), Some(&1));
    assert_eq!((truth.requests, truth.asked, truth.charged, truth.answered), (21, 21, 20, 21));
    assert_eq!((truth.day.used, truth.day.elsewhere), (1160, 1000));
    assert_eq!(sim.charged_between(start, start + Duration::from_secs(1)), 15);
    assert_eq!(sim.charged_between(start, start + Duration::from_secs(2)), 20);
    assert_eq!(truth.log.len(), 5);
    let last = truth.log.last().expect("five");
    assert_eq!((last.number, last.status, last.counted_us), (21, Some(429), None));
    assert_eq!((last.arrived_us, last.tokens), (1_000_000, 0));
    assert_eq!(last.target, "/v1/users/me?api_token=***");

    let answers = answers.lock().expect("no panic").clone();
    assert_eq!(answers.len(), 21);
    assert_eq!(answers[0], (1, 200));
    assert_eq!(answers[20], (21, 429));
}
