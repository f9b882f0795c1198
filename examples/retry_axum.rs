//! The retry around an axum router, in process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use examples::{BoxError, flaky};
use http::Request;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer};
use tower_retry_classify::{Backoff, Class, RetryPolicy};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let policy = RetryPolicy::<Request<Full<Bytes>>, Response>::http()
        .backoff(Backoff::constant(Duration::from_millis(5)))
        .build()?;
    let stats = policy.stats();
    // axum's body cannot be copied; the request that the policy sees can.
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .map_request(|request: Request<Full<Bytes>>| request.map(Body::new))
        .map_err(|never: std::convert::Infallible| -> BoxError { match never {} })
        .service(flaky(2));

    let response = client.oneshot(Request::get("/").body(Full::default())?).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(stats.snapshot().failed_with(Class::Server), 2);
    println!("{:?}", stats.snapshot());
    Ok(())
}
