//! What others have got wrong, each as a test.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderName, Method};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
use tower_retry_classify::{
    Backoff, BoxError, Jitter, NotRetried, Quota, Reason, ReplayBody, ReplayLayer, RetryBudget,
    RetryPolicy,
};

use crate::support::*;

/// A generator that is cloned for each session gives each the same "jitter".
#[tokio::test(start_paused = true)]
async fn four_sessions_have_four_different_jitters() {
    let policy = RetryPolicy::http().build().unwrap();
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let script = Script::new([status(500), status(500), status(500), status(200)]);
        script.run(&policy, get()).await.unwrap();
        seen.insert(script.waits());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// Others retry every method by default.
#[tokio::test(start_paused = true)]
async fn a_post_without_a_key_is_sent_once() {
    let key = HeaderName::from_static("idempotency-key");
    let policy = RetryPolicy::http().key_header(key).build().unwrap();
    let script = Script::new([status(503)]);
    let answer = script.run(&policy, request(Method::POST)).await.unwrap();
    assert_eq!(NotRetried::of(&answer).unwrap().reason(), Reason::NotIdempotent);
    assert_eq!(script.calls(), 1);
}

type Body = BoxBody<Bytes, BoxError>;

/// What arrives of a PUT at a server that is never well.
async fn arrived(body: Body) -> Vec<Bytes> {
    let sent = std::sync::Mutex::new(Vec::new());
    ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(RetryPolicy::http().build().unwrap()))
        .service(service_fn(|request: http::Request<ReplayBody<Body>>| async {
            let body = request.into_body().collect().await?.to_bytes();
            sent.lock().unwrap().push(body);
            Ok::<_, BoxError>(http::Response::builder().status(503).body(())?)
        }))
        .oneshot(http::Request::put("/file").body(body).unwrap())
        .await
        .unwrap();
    sent.into_inner().unwrap()
}

/// Others replace a body that they cannot clone by an empty one.
#[tokio::test(start_paused = true)]
async fn a_streaming_body_is_sent_once_and_no_body_is_replaced_by_an_empty_one() {
    let frames = ["a", "b"].map(|part| Ok(http_body::Frame::data(Bytes::from(part))));
    let stream = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    assert_eq!(arrived(stream).await, ["ab"]);
    let whole = Full::new(Bytes::from("ab")).map_err(|never| match never {}).boxed();
    assert_eq!(arrived(whole).await, ["ab"; 4]);
}

/// Others retry an open circuit's refusals until the budget is gone.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_costs_no_retry_budget() {
    let budget = RetryBudget::new(Quota::AWS);
    let policy = RetryPolicy::http().local(is_local).budget(budget.clone()).build().unwrap();
    for _ in 0..1_000 {
        let script = Script::new([Err(Local.into())]);
        assert!(script.run(&policy, get()).await.unwrap_err().is::<Local>());
        assert_eq!(script.calls(), 1);
        // It opened between an attempt and its retry.
        let script = Script::new([status(503), Err(Local.into())]);
        assert_eq!(script.run(&policy, get()).await.unwrap().status(), 503);
    }
    assert_eq!(budget.available(), 500);
}

/// Others have no cap: the twentieth delay is a day.
#[test]
fn the_twentieth_delay_is_the_cap() {
    let backoff = Backoff::default().jitter(Jitter::None);
    assert_eq!(backoff.delay(20, seconds(0), 0.5), Some(seconds(30)));
}

/// Others copy the request also when it may never be retried.
#[tokio::test(start_paused = true)]
async fn without_retries_a_request_is_not_copied() {
    let policy = RetryPolicy::<Request, Response>::builder_with(|_| panic!("copied"))
        .classify(tower_retry_classify::HttpStatus::new())
        .max_retries(0)
        .build()
        .unwrap();
    let script = Script::new([status(503)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 503);
}
