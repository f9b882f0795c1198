//! The API's host as the failure detector sees it, fed by real attempts, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::config;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pipedrive_service::Client;
use tokio::time::sleep;
use tower_health::{FailureKind, TargetState};

/// A client, and the status that the API answers with; 0 for never.
fn client(more: &[(&str, &str)]) -> (Client, Arc<AtomicU16>) {
    let answers = Arc::new(AtomicU16::new(200));
    let status = Arc::clone(&answers);
    let api = tower::service_fn(move |_: Request<Full<Bytes>>| {
        let status = status.load(Relaxed);
        async move {
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let body = Full::new(Bytes::from_static(br#"{"success":true,"data":{"id":1}}"#));
            Ok::<_, std::io::Error>(Response::builder().status(status).body(body).unwrap())
        }
    });
    let settings = [
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED", "false"),
        ("PIPEDRIVE_REQUEST_TIMEOUT", "600"),
        ("PIPEDRIVE_RATE_LIMITING_ENABLED", "false"),
    ];
    let settings = settings.iter().chain(more).copied().collect::<Vec<_>>();
    (Client::with_transport(config(&settings), api).unwrap(), answers)
}

fn state(client: &Client) -> TargetState {
    client.host().unwrap().status().state
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_make_it_unhealthy_and_answers_make_it_well() {
    for (threshold, failures) in [("3", 3), ("2", 2)] {
        let (client, answers) = client(&[("PIGEON_FD_FAILURE_THRESHOLD", threshold)]);
        assert_eq!(state(&client), TargetState::Unknown);
        client.me().await.unwrap();
        assert_eq!(state(&client), TargetState::Healthy);
        answers.store(503, Relaxed);
        for _ in 1..failures {
            client.me().await.unwrap_err();
            assert_eq!(state(&client), TargetState::Healthy);
        }
        client.me().await.unwrap_err();
        assert_eq!(state(&client), TargetState::Unhealthy);
        assert_eq!(client.host().unwrap().status().failed[FailureKind::Error as usize], failures);
        // An hour without work changes nothing about that.
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(state(&client), TargetState::Unhealthy);
        answers.store(200, Relaxed);
        client.me().await.unwrap();
        assert_eq!(state(&client), TargetState::Recovering);
        client.me().await.unwrap();
        client.me().await.unwrap();
        assert!(state(&client).is_available());
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_from_the_beginning_is_unhealthy_too() {
    let (client, answers) = client(&[]);
    answers.store(500, Relaxed);
    for expected in [TargetState::Unknown, TargetState::Unknown, TargetState::Unhealthy] {
        client.me().await.unwrap_err();
        assert_eq!(state(&client), expected);
        sleep(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_counts_only_while_something_is_asked() {
    let (client, answers) = client(&[("PIGEON_FD_HEARTBEAT_INTERVAL_MS", "20000")]);
    client.me().await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(state(&client), TargetState::Unknown, "it may have gone meanwhile");
    client.me().await.unwrap();
    sleep(Duration::from_secs(25)).await;
    assert_eq!(state(&client), TargetState::Healthy);

    answers.store(0, Relaxed);
    let hangs = tokio::spawn({
        let client = client.clone();
        async move { client.me().await.map(drop) }
    });
    sleep(Duration::from_secs(39)).await;
    assert_eq!(state(&client), TargetState::Healthy, "two thirds of three intervals are 40 s");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(state(&client), TargetState::Degraded);
    sleep(Duration::from_secs(20)).await;
    let status = client.host().unwrap().status();
    assert_eq!(status.state, TargetState::Unhealthy);
    assert!(status.reason.to_string().starts_with("silent for"), "{}", status.reason);
    hangs.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_ours_and_a_429_say_nothing_against_it() {
    let (client, answers) = client(&[("PIGEON_FD_FAILURE_THRESHOLD", "1")]);
    client.me().await.unwrap();
    answers.store(429, Relaxed);
    client.me().await.unwrap_err();
    client.circuit().force_open(None);
    client.me().await.unwrap_err();
    let status = client.host().unwrap().status();
    assert_eq!((status.state, status.bad), (TargetState::Healthy, 0));
}

#[tokio::test(start_paused = true)]
async fn answers_beyond_the_response_time_out_degrade_it() {
    let slow = tower::service_fn(|_: Request<Full<Bytes>>| async {
        sleep(Duration::from_secs(3)).await;
        let body = Full::new(Bytes::from_static(br#"{"success":true,"data":{"id":1}}"#));
        Ok::<_, std::io::Error>(Response::new(body))
    });
    for (limit, expected) in [("2000", TargetState::Degraded), ("10000", TargetState::Healthy)] {
        let settings = [("PIGEON_FD_RESPONSE_TIMEOUT_MS", limit)];
        let client = Client::with_transport(config(&settings), slow).unwrap();
        for _ in 0..10 {
            client.me().await.unwrap();
        }
        assert_eq!(state(&client), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn without_health_monitoring_nothing_is_watched() {
    let (client, _) = client(&[("PIPEDRIVE_HEALTH_MONITORING_ENABLED", "false")]);
    client.me().await.unwrap();
    assert!(client.host().is_none());
}
