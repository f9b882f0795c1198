//! What a caller says about one request.

use http::{HeaderName, Method};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer};
use tower_retry_classify::{
    Deadline, DeadlineExceeded, DeadlineLayer, IdempotencyKeyLayer, NotRetried, Reason,
    RetryPolicy, Retryable,
};

use crate::support::*;

fn policy() -> RetryPolicy<Request, Response> {
    RetryPolicy::http().build().unwrap()
}

fn why(outcome: &Outcome) -> Option<Reason> {
    NotRetried::of(outcome.as_ref().unwrap()).map(NotRetried::reason)
}

#[tokio::test(start_paused = true)]
async fn a_mark_overrules_the_method_both_ways() {
    let mut post = request(Method::POST);
    post.extensions_mut().insert(Retryable(true));
    let script = Script::new([status(500), status(200)]);
    assert_eq!(script.run(&policy(), post).await.unwrap().status(), 200);

    let mut once = get();
    once.extensions_mut().insert(Retryable(false));
    for outcome in [status(500), status(429)] {
        let script = Script::new([outcome]);
        let outcome = script.run(&policy(), once.clone()).await;
        assert_eq!(why(&outcome), Some(Reason::NotIdempotent), "not even after a 429");
    }
}

#[tokio::test(start_paused = true)]
async fn once_is_stronger_than_a_key_and_than_idempotent() {
    let policy = RetryPolicy::http()
        .idempotent(|_| true)
        .once(|request: &Request| request.uri().path() == "/deals")
        .build()
        .unwrap();
    let script = Script::new([status(500)]);
    assert_eq!(why(&script.run(&policy, get()).await), Some(Reason::NotIdempotent));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_among_the_extensions_is_known_to_the_policy() {
    let mut request = get();
    request.extensions_mut().insert(Deadline::after(Instant::now(), seconds(2)));
    let script = Script::new([status(500), status(500)]);
    let start = Instant::now();
    assert_eq!(why(&script.run(&policy(), request).await), Some(Reason::Deadline));
    assert_eq!(script.calls(), 2, "one wait fits, the next does not");
    assert!(start.elapsed() < seconds(2));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_layer_ends_whatever_goes_on() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(seconds(5)))
        .service_fn(|_: Request| std::future::pending::<Outcome>());
    let start = Instant::now();
    let error = service.oneshot(get()).await.unwrap_err();
    assert!(error.is::<DeadlineExceeded>());
    assert!((5_000..5_002).contains(&start.elapsed().as_millis()));
    // A request's own deadline goes before, be it sooner or later.
    for own in [1, 60] {
        let mut request = get();
        request.extensions_mut().insert(Deadline::after(Instant::now(), seconds(own)));
        let start = Instant::now();
        service.oneshot(request).await.unwrap_err();
        assert!((start.elapsed() - seconds(own)).as_millis() < 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_s_deadline_keeps_the_policy_from_waiting_in_vain() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(seconds(2)))
        .layer(RetryLayer::new(policy()))
        .service(Script::new([status(500), status(503)]));
    let outcome = service.oneshot(get()).await;
    assert_eq!(why(&outcome), Some(Reason::Deadline));
    assert_eq!(outcome.unwrap().status(), 503, "the last real outcome, and no time-out");
    let now = Instant::now();
    assert!(Deadline::after(now, std::time::Duration::MAX).left(now) > seconds(86_400 * 365));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_at_the_deadline_is_given() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(seconds(0)))
        .service_fn(|_: Request| std::future::ready(status(200)));
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn each_request_has_a_key_of_its_own_and_every_attempt_the_same() {
    let header = HeaderName::from_static("idempotency-key");
    let policy = RetryPolicy::http().key_header(header.clone()).max_retries(2).build().unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let service = ServiceBuilder::new()
        .layer(IdempotencyKeyLayer::new(header.clone()))
        .layer(RetryLayer::new(policy))
        .service_fn(|request: Request| {
            seen.lock().unwrap().push(request.headers().get(&header).cloned());
            std::future::ready(status(503))
        });
    let mut own = request(Method::POST);
    own.headers_mut().insert(&header, "mine".parse().unwrap());
    for request in [request(Method::POST), request(Method::PATCH), own, get()] {
        service.clone().oneshot(request).await.unwrap();
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 12);
    for of_one in seen.chunks(3) {
        assert!(of_one.iter().all(|key| *key == of_one[0]), "{of_one:?}");
    }
    assert_ne!(seen[0], seen[3]);
    assert_eq!(seen[6].as_ref().unwrap(), "mine");
    assert_eq!(seen[9], None, "a GET needs none");
}
