//! Requests and settings that no sane client would send: an answer comes, and the next one too.

use std::fmt::Write as _;
use std::time::Duration;

use crate::common::{get, request, send, sim, small};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saas_sim::pipedrive::{Sim, SimConfig};

const PATHS: [&str; 14] = [
    "/api/v2/deals",
    "/api/v2/deals/archived",
    "/api/v2/persons",
    "/api/v2/activities",
    "/api/v2/deals/search",
    "/api/v2/itemSearch",
    "/api/v2/deals/{}",
    "/api/v2/products/{}/variations",
    "/v1/deals",
    "/v1/deals/{}",
    "/v1/recents",
    "/v1/notes",
    "/v1/users",
    "/v1/deals/{}/flow",
];

const VALUES: [&str; 16] = [
    "",
    "0",
    "-1",
    "1",
    "500",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "1.5",
    "%00",
    "%F0%9F%98%80",
    "-009999-01-02T01:59:59Z",
    "9999-12-30T22:00:00Z",
    "2026-02-10T11:00:42Z",
    "update_time",
    "1,2,18446744073709551615",
];

const NAMES: [&str; 12] = [
    "limit",
    "start",
    "cursor",
    "ids",
    "term",
    "updated_since",
    "updated_until",
    "since_timestamp",
    "sort_by",
    "sort_direction",
    "filter_id",
    "sort",
];

fn endless() -> SimConfig {
    SimConfig { limits: false, ..small() }
}

async fn status(sim: &Sim, method: &str, target: &str, body: &str) -> u16 {
    let mut request = request(sim, method, target);
    body.clone_into(request.body_mut());
    send(sim, request).await.expect("an answer").status
}

#[tokio::test(start_paused = true)]
async fn no_parameter_brings_it_down() {
    let sim = sim(endless());
    for path in PATHS {
        for value in VALUES {
            let path = path.replace("{}", if value.is_empty() { "7" } else { value });
            for name in NAMES {
                let found = status(&sim, "GET", &format!("{path}?{name}={value}"), "").await;
                assert_ne!(found, 500, "{path}?{name}={value}");
            }
            let mut all = format!("{path}?term=ab");
            for name in NAMES {
                write!(all, "&{name}={value}").expect("a string takes everything");
            }
            assert_ne!(status(&sim, "GET", &all, "").await, 500, "{all}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_cursor_brings_it_down() {
    let sim = sim(endless());
    for field in ["id", "add_time", "update_time", "nothing", ""] {
        for direction in ["asc", "desc"] {
            for value in [i64::MIN, -1, 0, 1, i64::MAX] {
                for id in [0, 1, 500, u64::MAX] {
                    let cursor = STANDARD.encode(format!(
                        r#"{{"field":"{field}","fieldValue":{value},"sortDirection":"{direction}","id":{id}}}"#
                    ));
                    let cursor = cursor.replace('+', "%2B").replace('=', "%3D");
                    for path in ["deals", "persons", "deals/archived", "itemSearch", "pipelines"] {
                        let query = format!("term=ab&sort_by={field}&sort_direction={direction}");
                        for query in [query.as_str(), "term=ab"] {
                            let target = format!("/api/v2/{path}?cursor={cursor}&{query}");
                            assert_ne!(status(&sim, "GET", &target, "").await, 500, "{target}");
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_body_brings_it_down() {
    let sim = sim(endless());
    let deep = "[".repeat(10_000);
    for body in [
        "",
        "null",
        "[]",
        "7",
        "\"\"",
        "{",
        "{}",
        r#"{"title":null}"#,
        r#"{"title":7}"#,
        &deep,
        r#"{"title":"x","value":1e308,"stage_id":18446744073709551615}"#,
        r#"{"title":"x","value":-0,"custom_fields":[]}"#,
        r#"{"name":"x","emails":7,"phones":[7],"label_ids":{}}"#,
        r#"{"id":1,"add_time":"x","is_deleted":true,"owner_id":-1}"#,
    ] {
        for (method, path) in [
            ("POST", "/api/v2/deals"),
            ("POST", "/api/v2/persons"),
            ("PATCH", "/api/v2/deals/1"),
            ("PATCH", "/api/v2/persons/1"),
            ("POST", "/v1/notes"),
            ("PUT", "/v1/notes/1"),
            ("DELETE", "/api/v2/deals/2"),
            ("POST", "/__sim/faults"),
            ("POST", "/__sim/token"),
        ] {
            // An empty text is TOML without faults.
            assert_ne!(status(&sim, method, path, body).await, 500, "{method} {path} {body:.80}");
        }
    }
    assert_eq!(get(&sim, "/api/v2/deals?limit=1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_tokens_is_too_great() {
    let sim = sim(small());
    let all = format!(r#"{{"tokens":{}}}"#, u64::MAX);
    for _ in 0..3 {
        assert_eq!(status(&sim, "POST", "/__sim/spend", &all).await, 200);
        assert_eq!(get(&sim, "/api/v2/deals?limit=1").await.status, 429);
        tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
        assert_eq!(get(&sim, "/__sim/truth").await.status, 200);
    }
    assert_eq!(get(&sim, "/api/v2/deals?limit=1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn settings_beyond_measure_are_refused_or_kept() {
    let huge = |change: &dyn Fn(&mut SimConfig)| {
        let mut config = small();
        change(&mut config);
        Sim::new(config)
    };
    for sim in [
        huge(&|config| config.window_ms = u64::MAX),
        huge(&|config| config.burst = Some(u32::MAX)),
        huge(&|config| config.seats = u32::MAX),
        huge(&|config| config.top_up = u64::MAX),
        huge(&|config| config.day_tokens = Some(u64::MAX)),
        huge(&|config| {
            (config.edge.refusals, config.edge.block_s, config.burst) = (1, u64::MAX, Some(1));
        }),
        huge(&|config| (config.edge.within_s, config.burst) = (u64::MAX, Some(1))),
    ] {
        let Ok(sim) = sim else { continue };
        for _ in 0..4 {
            let _ = get(&sim, "/api/v2/deals?limit=1").await;
        }
        let mut by_oauth = request(&sim, "GET", "/api/v2/deals?limit=1");
        let bearer = format!("Bearer {}", small().oauth_token).parse().expect("a header");
        by_oauth.headers_mut().remove("x-api-token");
        by_oauth.headers_mut().insert("authorization", bearer);
        assert_eq!(send(&sim, by_oauth).await.expect("an answer").status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn faults_beyond_measure_are_refused_or_kept() {
    for faults in [
        r#"{"latency_before_ms":[0,18446744073709551615]}"#,
        r#"{"latency_after_ms":[18446744073709551615,18446744073709551615]}"#,
        r#"{"latency_after_ms":[7,1]}"#,
        r#"{"expire":{"after_ms":18446744073709551615}}"#,
        r#"{"expire":{"after_requests":18446744073709551615}}"#,
        r#"{"each_within":4294967295}"#,
        r#"{"each_within":1,"rates":{"error_500":1.0,"reset":1.0}}"#,
        r#"{"rates":{"error_500":1e308}}"#,
        r#"{"rates":{"slow_drip":1.0},"drip":{"pieces":4294967295,"pause_ms":18446744073709551615}}"#,
        r#"{"rates":{"slow_drip":1.0},"drip":{"pieces":0,"pause_ms":0}}"#,
        r#"{"rules":[{"every":0,"fault":"error_500"}]}"#,
        r#"{"rules":[{"from":18446744073709551615,"to":0,"fault":"error_500"}]}"#,
    ] {
        let sim = sim(small());
        let found = status(&sim, "POST", "/__sim/faults", faults).await;
        assert!(found == 200 || found == 400, "{faults}");
        for _ in 0..3 {
            let sent = send(&sim, request(&sim, "GET", "/api/v2/deals?limit=1"));
            let _ = tokio::time::timeout(Duration::from_secs(10), sent).await;
        }
        assert_eq!(status(&sim, "POST", "/__sim/faults", "none").await, 200);
        assert_eq!(get(&sim, "/api/v2/deals?limit=1").await.status, 200, "{faults}");
    }
}
