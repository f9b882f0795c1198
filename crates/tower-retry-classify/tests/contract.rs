//! The laws that every layer must keep, held against `Retry` with this policy, and
//! against the layers that stand around it.

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use tower::{Layer, retry::RetryLayer, util::MapRequest};
use tower_retry_classify::{
    BoxError, Class, DeadlineLayer, Failed, FallbackLayer, FaultLayer, IdempotencyKeyLayer,
    PeekLayer, ReplayBody, ReplayLayer, RetryPolicy, Verdict,
};

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

fn post() -> Request<()> {
    Request::post("/").body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_a_deadline_faults_and_a_fallback_keep_every_law() {
    let header = HeaderName::from_static("idempotency-key");
    let keys = IdempotencyKeyLayer::new(header);
    tower_contract::check(post, || (), |probe| keys.layer(probe)).await;
    let deadline = DeadlineLayer::new(std::time::Duration::from_secs(3_600));
    tower_contract::check(post, || (), |probe| deadline.layer(probe)).await;
    let faults = FaultLayer::builder().build().unwrap();
    tower_contract::check(post, || (), |probe| faults.layer(probe)).await;
    let fallback = FallbackLayer::new(|failed: Failed<Response<()>>| async { failed.outcome });
    tower_contract::check(post, || Response::new(()), |probe| fallback.layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn looking_into_bodies_keeps_every_law() {
    for status in [200, 500] {
        let answer = move || {
            let body = Full::new(Bytes::from_static(b"body"));
            Response::builder().status(status).body(body).unwrap()
        };
        tower_contract::check(post, answer, |probe| PeekLayer::new().layer(probe)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keeping_bodies_keeps_every_law() {
    type Put = Request<BoxBody<Bytes, std::convert::Infallible>>;
    fn put(body: &'static str) -> Put {
        Request::put("/").body(Full::new(Bytes::from_static(body.as_bytes())).boxed()).unwrap()
    }
    for body in ["", "body", "a body that is longer than the bound"] {
        tower_contract::check(
            move || put(body),
            || (),
            |probe| {
                // The probe takes what the layer takes.
                let probe = MapRequest::new(probe, |_: Request<ReplayBody<_>>| put(""));
                ReplayLayer::new().limit(10).layer(probe)
            },
        )
        .await;
    }
}
