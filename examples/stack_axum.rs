//! An axum service that calls another one through retry, circuit and health, and says how that one is doing.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use bytes::Bytes;
use examples::{BoxError, collect, flaky, hyper_client, serve};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{
    Service, ServiceBuilder, ServiceExt,
    retry::RetryLayer,
    util::{BoxCloneSyncService, MapErrLayer},
};
use tower_circuit::{Circuit, CircuitLayer, Open};
use tower_health::{Health, HealthLayer};
use tower_retry_classify::{Backoff, HttpStatus, RetryPolicy};

type Upstream = BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// What the handlers share.
#[derive(Clone)]
struct App {
    upstream: Upstream,
    url: String,
    health: Health,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // It fails six times and is well then.
    let url = serve(flaky(6)).await?;
    let health = Health::builder("upstream").build()?;
    let circuit =
        Circuit::builder("upstream").consecutive(5).open_for(Duration::from_millis(200)).build()?;
    let policy = RetryPolicy::<Request<Full<Bytes>>, Response<Incoming>>::builder()
        .classify(HttpStatus::new())
        .max_retries(2)
        .backoff(Backoff::constant(Duration::from_millis(5)))
        // Nothing was sent, so there is nothing to repeat.
        .local(|error: &BoxError| error.is::<Open>())
        .build()?;
    let fails = |outcome: &Result<&Response<Incoming>, &BoxError>| {
        outcome.is_ok_and(|answer| answer.status().is_server_error()) || outcome.is_err()
    };
    let upstream = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(CircuitLayer::new(circuit.clone(), move |outcome: Result<&_, &BoxError>| {
            if fails(&outcome) {
                tower_circuit::Verdict::Failure
            } else {
                tower_circuit::Verdict::Success
            }
        }))
        .layer(HealthLayer::new(health.clone(), move |outcome: Result<&_, &BoxError>| {
            if fails(&outcome) { tower_health::Verdict::Bad } else { tower_health::Verdict::Good }
        }))
        .layer(MapErrLayer::new(BoxError::from))
        .service(hyper_client());
    let app = App { upstream: BoxCloneSyncService::new(upstream), url, health };
    let front = serve(Router::new().route("/", get(ask)).with_state(app.clone())).await?;

    let mut answers = Vec::new();
    let mut client = hyper_client();
    for _ in 0..60 {
        let request = Request::get(&front).body(Full::<Bytes>::default())?;
        let answer = collect(client.ready().await?.call(request).await?).await?;
        answers.push(answer.status());
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let well = answers.iter().filter(|status| status.is_success()).count();
    println!("{well} of {} requests were answered", answers.len());
    println!("circuit: {}, {} refused", circuit.state(), circuit.status().refused);
    println!("health: {}, {}", app.health.state(), app.health.report().reason);
    assert!(circuit.status().refused > 0, "while it was down it was left alone");
    assert!(answers.last().is_some_and(StatusCode::is_success), "and it came back");
    Ok(())
}

/// Answers with what the other one says, or why there is nothing.
async fn ask(State(app): State<App>) -> Result<Bytes, (StatusCode, String)> {
    let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    let request = Request::get(&app.url).body(Full::default());
    let request = request.map_err(|error| unavailable(error.to_string()))?;
    match app.upstream.oneshot(request).await {
        Ok(answer) if answer.status().is_success() => {
            let answer = collect(answer).await.map_err(|error| unavailable(error.to_string()))?;
            Ok(answer.into_body())
        }
        Ok(answer) => Err(unavailable(format!("it says {}", answer.status()))),
        Err(error) => Err(unavailable(format!("{error}; it is {}", app.health.state()))),
    }
}
