//! Fallbacks, and retries without tower.

use std::{
    io::{self, ErrorKind},
    sync::Mutex,
};

use http::Method;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer};
use tower_retry_classify::{
    BoxError, Class, Failed, FallbackLayer, GaveUp, Operation, Quota, Reason, RetryBudget,
    RetryPolicy,
};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_fallback_gets_the_final_outcome_and_its_context() {
    let seen = Mutex::new(Vec::new());
    let fallback = |failed: Failed<Response>| {
        let why = failed.why.as_ref().map(|why| (why.reason(), why.class(), why.retries()));
        seen.lock().unwrap().push((failed.endpoint(), why));
        async move { failed.outcome }
    };
    for outcomes in [
        vec![status(200)],
        vec![status(404)],
        vec![status(501)],
        vec![status(500), status(503)],
        vec![Err("unknown".into())],
        vec![io(ErrorKind::ConnectionReset), io(ErrorKind::BrokenPipe)],
        vec![status(429), Err(Local.into())],
    ] {
        let policy = RetryPolicy::http().max_retries(1).local(is_local).build().unwrap();
        let service = ServiceBuilder::new()
            .layer(FallbackLayer::new(&fallback))
            .layer(RetryLayer::new(policy))
            .service(Script::new(outcomes));
        let mut request = get();
        *request.uri_mut() = "/deals/17?secret=1".parse().unwrap();
        let _ = service.oneshot(request).await;
    }
    let expected = [
        None,
        Some((Reason::Exhausted, Class::Server, 1)),
        None,
        Some((Reason::Exhausted, Class::Connection, 1)),
        Some((Reason::Refused, Class::RateLimit, 0)),
    ];
    let expected = expected.map(|why| ("GET /deals/{id}".to_owned(), why));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_the_fallback_gives_is_the_caller_s() {
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(|failed: Failed<Response>| async move {
            tokio::time::sleep(seconds(1)).await;
            match failed.outcome {
                Ok(_) => status(203),
                Err(_) => Err("nothing in the cache".into()),
            }
        }))
        .service(Script::new([status(500), io(ErrorKind::BrokenPipe)]));
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 203);
    let error = service.oneshot(get()).await.unwrap_err();
    assert_eq!(error.to_string(), "nothing in the cache");
}

/// Fails so often with a reset connection.
fn failing(times: u32) -> impl FnMut(Operation) -> std::future::Ready<io::Result<u32>> {
    let mut attempts = 0;
    move |_| {
        attempts += 1;
        std::future::ready(match attempts {
            n if n > times => Ok(n),
            _ => Err(ErrorKind::ConnectionReset.into()),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn run_waits_pays_and_counts_as_the_layer_does() {
    let budget = RetryBudget::new(Quota::AWS.capacity(12));
    let policy = RetryPolicy::operations().budget(budget.clone()).seed(7).build().unwrap();
    let start = Instant::now();
    assert_eq!(policy.run(Operation::read("deals"), failing(2)).await.unwrap(), 3);
    assert!((2_700..=3_002).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(budget.available(), 7, "ten were paid, the last retry's five came back");
    assert_eq!(policy.stats().snapshot().succeeded_at[..3], [0, 0, 1]);

    let error = policy.run(Operation::read("deals"), failing(9)).await.unwrap_err();
    let found = GaveUp::find(&*error).unwrap();
    assert_eq!((found.why().reason(), found.why().retries()), (Reason::Budget, 1));
}

#[tokio::test(start_paused = true)]
async fn run_knows_what_may_be_done_twice_and_until_when() {
    let policy = RetryPolicy::<_, u32>::operations().build().unwrap();
    let reason = |error: BoxError| GaveUp::find(&*error).unwrap().why().reason();
    let insert = Operation::new(Method::POST, "deals");
    let error = policy.run(insert.clone(), failing(1)).await.unwrap_err();
    assert_eq!(reason(error), Reason::NotIdempotent);
    assert_eq!(policy.run(insert.retryable(true), failing(1)).await.unwrap(), 2);
    let once = Operation::read("queue").retryable(false);
    assert_eq!(reason(policy.run(once, failing(1)).await.unwrap_err()), Reason::NotIdempotent);
    let late = Operation::read("deals").deadline(Instant::now());
    assert_eq!(reason(policy.run(late, failing(1)).await.unwrap_err()), Reason::Deadline);
}
