//! What is allocated, and how much a key holds.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tower::{Layer, Service};
use tower_circuit::{
    BoxError, Circuit, CircuitBuilder, CircuitLayer, Circuits, ErrorsFail, GateLayer, GuardLayer,
    Verdict, Window,
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

fn call(service: &mut impl Service<u64, Response = u64, Error = BoxError>, request: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut answer = pin!(service.call(request));
    assert!(matches!(answer.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

fn all_rules() -> CircuitBuilder {
    Circuit::builder("a").consecutive(5).failure_ratio(0.5).slow_ratio(0.5, Duration::from_secs(5))
}

#[test]
fn a_call_through_a_closed_circuit_allocates_nothing() {
    let circuit = all_rules().build().unwrap();
    let keys: Circuits<u64> = all_rules().keyed().build().unwrap();
    let by = keys.by(|request: &u64| request % 100);
    let guard = GuardLayer::new(by.clone(), ErrorsFail).layer(Echo);
    let guard = CircuitLayer::new(circuit.clone(), ErrorsFail).layer(guard);
    let guard = GuardLayer::new(circuit.clone(), ErrorsFail).layer(guard);
    let mut service = GateLayer::new(circuit).layer(GateLayer::new(by).layer(guard));
    (0..100).for_each(|request| call(&mut service, request));
    let info = measure(|| (0..10_000).for_each(|request| call(&mut service, request)));
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_refused_call_allocates_its_error_alone() {
    let circuit = Circuit::builder("a").consecutive(1).build().unwrap();
    circuit.admit().unwrap().record(Verdict::Failure);
    let mut service = CircuitLayer::new(circuit, ErrorsFail).layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    let info = measure(|| {
        for _ in 0..1_000 {
            let mut answer = pin!(service.call(1));
            assert!(matches!(answer.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
        }
    });
    assert_eq!(info.count_total, 1_000);
}

/// Bytes that a key of eight bytes holds, the room of the table included.
fn bytes_per_key(builder: CircuitBuilder) -> u64 {
    let circuits: Circuits<u64> = builder.keyed().max_keys(1_000_000).build().unwrap();
    // Near the size at which the tables double, so with little room to spare.
    let keys = 200_000;
    let info = measure(|| (0..keys).for_each(|key| drop(circuits.get(&key))));
    assert_eq!(circuits.len() as u64, keys);
    u64::try_from(info.bytes_current).unwrap() / keys
}

#[test]
fn a_key_holds_as_many_bytes_as_documented() {
    let row = bytes_per_key(Circuit::builder("k").consecutive(5));
    let time = bytes_per_key(Circuit::builder("k").failure_ratio(0.5));
    let builder = Circuit::builder("k").failure_ratio(0.5);
    let calls = bytes_per_key(builder.window(Window::Calls(128), 20));
    assert!(row <= 400 && time <= 590 && calls <= 440, "{row} {time} {calls}");
}
