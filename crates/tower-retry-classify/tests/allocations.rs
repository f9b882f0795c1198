//! What is allocated as long as nothing fails.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, retry::RetryLayer};
use tower_retry_classify::{
    AwsCodes, BoxError, Category, Failed, FallbackLayer, FaultLayer, GrpcStatus,
    IdempotencyKeyLayer, Learning, PeekBody, PeekLayer, RecentHistory, ReplayBody, ReplayLayer,
    RetryBudget, RetryPolicy, Rule, RuleSet, Rules, Share,
};

#[derive(Clone)]
struct Echo;

impl<B> Service<Request<B>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::default())))
    }
}

fn call<B, R>(
    service: &mut impl Service<Request<B>, Response = R, Error = BoxError>,
    request: Request<B>,
) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut answer = pin!(service.call(request));
    assert!(matches!(answer.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

#[test]
fn a_call_that_goes_well_at_once_allocates_nothing_whatever_is_configured() {
    type Answer = Response<PeekBody<Full<Bytes>>>;
    let mut rule = Rule::new(Category::Recoverable, "server");
    rule.status = vec![404];
    let policy = RetryPolicy::<Request<ReplayBody<Full<Bytes>>>, Answer>::http()
        .classify(AwsCodes::new())
        .classify(GrpcStatus::new())
        .classify(Rules::new(RuleSet::new([rule]), &[]).unwrap())
        .budget(RetryBudget::share(Share::FINAGLE))
        .history(RecentHistory::default())
        .learning(Learning::new())
        .local(|_| false)
        .build()
        .unwrap();
    let mut service = ServiceBuilder::new()
        .layer(FallbackLayer::new(|failed: Failed<Answer>| async { failed.outcome }))
        .layer(IdempotencyKeyLayer::new(HeaderName::from_static("idempotency-key")))
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(policy))
        .layer(PeekLayer::new())
        .layer(FaultLayer::builder().build().unwrap())
        .service(Echo);
    let uri: http::Uri = "/deals".parse().unwrap();
    let mut ask = |times| {
        for _ in 0..times {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = uri.clone();
            call(&mut service, request);
        }
    };
    ask(100);
    assert_eq!(measure(|| ask(10_000)).count_total, 0);
}

#[test]
fn an_error_that_is_final_allocates_little_and_keeps_nothing() {
    let policy = RetryPolicy::<Request<()>, Response<()>>::http().build().unwrap();
    let gone = tower::service_fn(|_: Request<()>| {
        let mut answer = Response::new(());
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
        ready(Ok::<_, BoxError>(answer))
    });
    let mut service = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(gone);
    let mut ask = |times| (0..times).for_each(|_| call(&mut service, Request::new(())));
    ask(100);
    let info = measure(|| ask(1_000));
    assert!(info.count_total <= 3_000, "the name of its endpoint: {}", info.count_total);
    assert_eq!(info.bytes_current, 0);
}
