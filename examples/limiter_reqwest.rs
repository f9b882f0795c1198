//! A 429 closes the limiter's gate for every clone of the client, until the
//! time that `Retry-After` names. Around reqwest.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use bytes::Bytes;
use examples::{BoxError, serve};
use http::{Request, Response};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, RetryAfterDialect, TokenLimitLayer};

static REFUSED: AtomicBool = AtomicBool::new(false);

async fn once_too_many() -> impl IntoResponse {
    if REFUSED.swap(true, Ordering::Relaxed) {
        "hello".into_response()
    } else {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "slow down").into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(Router::new().route("/", get(once_too_many))).await?;

    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(2)));
    let limiter = limits.build()?;
    let reqwest = reqwest::Client::new();
    let client = ServiceBuilder::new()
        .layer(
            TokenLimitLayer::new(limiter.clone(), Charge::new().with(burst, 1))
                .dialect(RetryAfterDialect::new()),
        )
        .service(service_fn(|request: Request<Bytes>| {
            let reqwest = reqwest.clone();
            async move {
                let request = reqwest::Request::try_from(request)?;
                Ok::<_, BoxError>(Response::from(reqwest.execute(request).await?))
            }
        }));

    let start = Instant::now();
    let response = client.clone().oneshot(Request::get(&url).body(Bytes::new())?).await?;
    println!("{}; the gate: {:?}", response.status(), limiter.status().gate);

    // Another clone of the client waits as well.
    let response = client.oneshot(Request::get(&url).body(Bytes::new())?).await?;
    assert_eq!(response.status(), 200);
    assert!(start.elapsed() >= Duration::from_secs(1));
    println!("{} after {:?}", response.status(), start.elapsed());
    Ok(())
}
