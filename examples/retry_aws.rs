//! An API in the manner of AWS: it throttles with a 400 whose code stands in the body,
//! and has a fault of its own that only a rule from a file knows.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use bytes::Bytes;
use examples::BoxError;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer};
use tower_retry_classify::{
    Backoff, Class, DeadlineLayer, IdempotencyKeyLayer, Jitter, PeekBody, PeekLayer, RecentHistory,
    RetryPolicy, Rules,
};

/// As a file would hold them.
const RULES: &str = r#"{ "error_categories": [
    { "name": "shard is moving", "status": [409], "code": ["ShardMoving"],
      "category": "recoverable", "class": "shard_moving" }
] }"#;

/// Throttles, moves a shard, fails, and then works. It knows keys.
async fn table(headers: HeaderMap) -> impl IntoResponse {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    assert!(headers.contains_key("x-client-token"), "the key that makes it safe to ask again");
    match ASKED.fetch_add(1, Relaxed) {
        0 => {
            (StatusCode::BAD_REQUEST, r#"{"__type":"api#ThrottlingException","message":"slower"}"#)
        }
        1 => (StatusCode::CONFLICT, r#"{"code":"ShardMoving"}"#),
        2 => (StatusCode::INTERNAL_SERVER_ERROR, "<Error><Code>InternalError</Code></Error>"),
        3 => (StatusCode::OK, r#"{"ok":true}"#),
        _ => (StatusCode::BAD_REQUEST, r#"{"__type":"api#ExpiredTokenException"}"#),
    }
}

type Answer = Response<PeekBody<Body>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let key = HeaderName::from_static("x-client-token");
    let moving = Class::Custom("shard_moving");
    // Edited while the program runs? Read the file again, and `rules.replace(..)`.
    let rules = Rules::new(serde_json::from_str(RULES)?, &[moving])?;
    let history = RecentHistory::default();
    let policy = RetryPolicy::<Request<Full<Bytes>>, Answer>::aws()
        .classify(rules)
        // The preset begins with two seconds; an example has no time.
        .backoff(Backoff::exponential(Duration::from_millis(5), 2.0).jitter(Jitter::Full))
        .key_header(key.clone())
        .history(history.clone())
        .build()?;
    let stats = policy.stats();

    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(10)))
        .layer(IdempotencyKeyLayer::new(key))
        .layer(RetryLayer::new(policy))
        .layer(PeekLayer::new())
        .map_request(|request: Request<Full<Bytes>>| request.map(Body::new))
        .map_err(|never: std::convert::Infallible| -> BoxError { match never {} })
        .service(Router::new().route("/table/{id}", post(table)));

    let put = || Request::post("/table/7").body(Full::from(r#"{"Item":{}}"#));
    let answer = client.clone().oneshot(put()?).await?;
    assert_eq!(answer.status(), 200);
    for record in history.records() {
        println!(
            "{} attempt {}: {} {:?}",
            record.endpoint, record.attempt, record.class, record.event
        );
    }
    let classes = [Class::RateLimit, moving, Class::Server];
    assert!(classes.iter().all(|class| stats.snapshot().failed_with(*class) == 1));

    // Credentials that have expired are not asked with again, and the advice says what to do.
    assert_eq!(client.oneshot(put()?).await?.status(), 400);
    let errors = stats.errors(Duration::from_secs(3_600));
    assert_eq!((errors.total, errors.recovered, errors.lost, errors.critical), (4, 1, 1, 1));
    let auth = errors.top.iter().find(|error| error.class == Class::Auth).ok_or("counted")?;
    println!("{}: {}", auth.endpoint, auth.advice.text);
    Ok(())
}
