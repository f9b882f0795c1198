//! The order of the layers, seen from outside: each test fails if two of them change places.

use crate::support;

use std::time::Duration;

use crate::support::{client, sim, small};
use futures_util::future::join_all;
use pipedrive_service::{Entity, ErrorKind, ListQuery};
use saas_sim::pipedrive::{Drip, FaultKind, Faults, Rule, SimConfig};
use tokio::time::Instant;

fn faulty(rule: Rule) -> SimConfig {
    SimConfig { faults: Faults { rules: vec![rule], ..Faults::none() }, ..small() }
}

#[tokio::test(start_paused = true)]
async fn the_limiter_stands_inside_the_retry_so_each_attempt_pays() {
    let sim =
        sim(faulty(Rule { fault: Some(FaultKind::Error503), to: Some(2), ..Rule::default() }));
    // The server's own count would set ours right.
    let client = client(&sim, &[]);
    client.me().await.unwrap();
    let status = client.limiter().status();
    let usage = status.endpoints.iter().find(|usage| &*usage.name == "/api/v1/users/me").unwrap();
    assert_eq!((usage.calls, usage.spent[client.budgets().day.index()]), (3, 6));
    assert_eq!(sim.truth().day.used, 6);
}

#[tokio::test(start_paused = true)]
async fn the_guard_stands_inside_the_limiter_so_who_waited_asks_again() {
    let sim = sim(faulty(Rule {
        fault: Some(FaultKind::Error500),
        after_ms: Some(10),
        ..Rule::default()
    }));
    let settings = [
        ("PIPEDRIVE_BURST_LIMIT", "1"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", "1"),
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
    ];
    let client = client(&sim, &settings);
    let answers = join_all((0..5).map(|_| client.me())).await;
    let open = answers
        .iter()
        .filter(|me| matches!(me.as_ref().unwrap_err().kind(), ErrorKind::CircuitOpen));
    assert_eq!(open.count(), 4);
    assert_eq!(sim.truth().requests, 1, "the four were in the queue when the circuit opened");
    assert_eq!(client.limiter().status().budget("day").unwrap().used, 2, "and paid nothing");
}

#[tokio::test(start_paused = true)]
async fn health_stands_inside_the_limiter_so_waiting_is_nobody_s_latency() {
    let sim = sim(small());
    let client = client(&sim, &[("PIPEDRIVE_BURST_LIMIT", "1")]);
    let since = Instant::now();
    join_all((0..5).map(|_| client.me())).await.into_iter().for_each(|me| drop(me.unwrap()));
    assert!(since.elapsed() >= Duration::from_secs(8), "one in two seconds: {:?}", since.elapsed());
    assert!(client.health().unwrap().report().average < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn the_time_out_stands_outside_of_collect_so_it_covers_the_body() {
    let mut config = faulty(Rule { fault: Some(FaultKind::SlowDrip), ..Rule::default() });
    config.faults.drip = Drip { pieces: 20, pause_ms: 2_000 };
    let sim = sim(config);
    let client = client(&sim, &[("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0")]);
    let since = Instant::now();
    let error = client.list(Entity::Users, ListQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(since.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_gate_stands_inside_the_retry_so_an_open_circuit_ends_it() {
    let sim = sim(faulty(Rule { fault: Some(FaultKind::Error500), ..Rule::default() }));
    let client = client(
        &sim,
        &[("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", "2"), ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "9")],
    );
    let error = client.me().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Server { .. }) && error.refusal().is_some(),
        "{error:?}"
    );
    assert_eq!((sim.truth().requests, error.context().attempts), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn all_attempts_carry_the_same_request_id() {
    use std::sync::{Arc, Mutex};
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let transport = tower::service_fn(
        move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            let mut ids = seen.lock().unwrap();
            ids.push(request.headers()["x-request-id"].clone());
            let answer =
                http::Response::builder().status(if ids.len() % 3 == 0 { 200 } else { 503 });
            let body = bytes::Bytes::from_static(br#"{"success":true,"data":{"id":1}}"#);
            async move { Ok::<_, std::io::Error>(answer.body(http_body_util::Full::new(body)).unwrap()) }
        },
    );
    let client =
        pipedrive_service::Client::with_transport(support::config(&[]), transport).unwrap();
    client.me().await.unwrap();
    client.me().await.unwrap();
    let ids = ids.lock().unwrap();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[3] == ids[5], "{ids:?}");
    assert_ne!(ids[0], ids[3]);
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_request_without_a_call_carry_one_id_too() {
    use std::sync::{Arc, Mutex};
    use tower::ServiceExt as _;
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let transport =
        tower::service_fn(move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            seen.lock().unwrap().push(request.headers()["x-request-id"].clone());
            let answer = http::Response::builder().status(503);
            async move {
                Ok::<_, std::io::Error>(
                    answer.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap(),
                )
            }
        });
    let builder = pipedrive_service::Client::builder(support::config(&[]));
    let (_, parts) = builder.parts().unwrap();
    let request = http::Request::get("https://acme.test/api/v2/deals").body(bytes::Bytes::new());
    let stack = pipedrive_service::stack::stack(&parts, transport);
    assert_eq!(stack.oneshot(request.unwrap()).await.unwrap().status(), 503);
    let ids = ids.lock().unwrap();
    assert!(ids.len() > 1 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
