//! What is allocated on the way through, and what a target holds.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tower::{Layer, Service};
use tower_health::{
    BoxError, ErrorsBad, FailureDetector, FailureKind, Health, HealthGateLayer, HealthLayer, State,
    TargetState, Verdict,
};

struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

fn call(service: &mut impl Service<u64, Response = u64, Error = BoxError>, request: u64) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut answer = pin!(service.call(request));
    matches!(answer.as_mut().poll(&mut cx), Poll::Ready(Ok(_)))
}

#[test]
fn a_call_through_gate_and_layer_allocates_nothing() {
    let health = Health::builder("api").build().unwrap();
    let measured = HealthLayer::new(health.clone(), ErrorsBad).layer(Echo);
    let mut service = HealthGateLayer::builder(health.clone()).build().unwrap().layer(measured);
    assert!(call(&mut service, 0));
    let info = measure(|| (0..10_000).for_each(|n| assert!(call(&mut service, n))));
    assert_eq!((info.count_total, health.state()), (0, State::Healthy));
}

#[test]
fn a_refused_call_allocates_its_error_alone() {
    let health = Health::builder("api").build().unwrap();
    (0..10).for_each(|_| health.record(Verdict::Bad, Duration::ZERO));
    let mut service = HealthGateLayer::builder(health).build().unwrap().layer(Echo);
    assert!(call(&mut service, 0), "the trial");
    let info = measure(|| (0..1_000).for_each(|n| assert!(!call(&mut service, n))));
    assert_eq!(info.count_total, 1_000);
}

#[test]
fn a_beat_and_an_outcome_allocate_nothing_and_a_target_holds_what_the_builder_says() {
    let names: Vec<String> = (0..10_000).map(|n| format!("worker-{n}")).collect();
    for builder in [FailureDetector::builder("misses"), FailureDetector::builder("phi").phi(8.0)] {
        let detector = builder.build().unwrap();
        let mut held = 0;
        let info = measure(|| {
            for name in &names {
                detector.register(name.as_str(), ()).unwrap();
                detector.heartbeat(name).unwrap();
            }
        });
        held += info.bytes_current;
        // Names of eleven letters included; vectors that grow by half leave some room.
        assert!((600..1_100).contains(&(held / 10_000)), "{} bytes for each", held / 10_000);
        let took = Duration::from_millis(5);
        let info = measure(|| {
            for name in &names {
                assert_eq!(detector.heartbeat(name), Ok(TargetState::Healthy));
                detector.record_success(name, "job", took).unwrap();
                detector.record_failure(name, "job", FailureKind::Timeout, took).unwrap();
            }
        });
        assert_eq!(info.count_total, 0, "{}", detector.name());
    }
}
