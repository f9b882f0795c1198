//! The laws that every layer must keep, held against `Retry` with this policy.

use tower::{Layer, retry::RetryLayer};
use tower_retry_classify::{BoxError, Class, RetryPolicy, Verdict};

#[tokio::test(start_paused = true)]
async fn a_retry_service_with_this_policy_keeps_every_law() {
    let policy = RetryPolicy::builder()
        .classify(|_: &(), _: Result<&(), &BoxError>| Verdict::NoOpinion)
        .build()
        .unwrap();
    tower_contract::check(|| (), || (), |probe| RetryLayer::new(policy.clone()).layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn and_when_every_error_is_tried_again() {
    let policy = RetryPolicy::builder()
        .classify(|_: &(), outcome: Result<&(), &BoxError>| match outcome {
            Ok(()) => Verdict::NoOpinion,
            Err(_) => Verdict::retry(Class::Connection),
        })
        .build()
        .unwrap();
    tower_contract::check(|| (), || (), |probe| RetryLayer::new(policy.clone()).layer(probe)).await;
}
