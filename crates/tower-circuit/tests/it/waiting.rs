//! Back-pressure, on a paused clock.

use std::time::Duration;

use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, limit::ConcurrencyLimitLayer, service_fn};
use tower_circuit::{
    BoxError, Circuit, CircuitBuilder, ErrorsFail, Open, State, Verdict, Wait, WaitLayer,
};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> CircuitBuilder {
    Circuit::builder("wait").consecutive(1).open_for(10 * SECOND).half_open(2, 2)
}

async fn answer(works: bool) -> Result<bool, BoxError> {
    if works { Ok(works) } else { Err("down".into()) }
}

type Inner = tower::util::ServiceFn<fn(bool) -> Answer>;
type Answer = std::pin::Pin<Box<dyn Future<Output = Result<bool, BoxError>> + Send>>;

fn service(circuit: &Circuit) -> Wait<Inner, ErrorsFail> {
    let inner = service_fn((|works| Box::pin(answer(works)) as Answer) as fn(bool) -> Answer);
    WaitLayer::new(circuit.clone(), ErrorsFail).layer(inner)
}

fn fail(circuit: &Circuit) {
    circuit.admit().unwrap().record(Verdict::Failure);
}

macro_rules! ready {
    ($service:expr) => {
        task::spawn(std::future::poll_fn(|cx| $service.poll_ready(cx)))
    };
}

#[tokio::test(start_paused = true)]
async fn it_is_not_ready_while_open_and_is_woken_at_the_end() {
    let circuit = builder().build().unwrap();
    let mut service = service(&circuit);
    fail(&circuit);
    let mut ready = ready!(service);
    assert_pending!(ready.poll());
    advance(9 * SECOND).await;
    assert!(!ready.is_woken());
    advance(SECOND + Duration::from_millis(1)).await;
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
    drop(ready);
    assert_eq!(circuit.status().trials_running, 1, "the place is taken with the readiness");
    assert!(service.call(true).await.unwrap());
    assert_eq!(circuit.status().trial_successes, 1);
    assert_eq!(circuit.status().refused, 0, "waiting is no refusal");
}

#[tokio::test(start_paused = true)]
async fn of_many_who_wait_as_many_become_ready_as_there_are_places() {
    let circuit = builder().build().unwrap();
    fail(&circuit);
    let mut services: Vec<_> = (0..5).map(|_| service(&circuit)).collect();
    let mut waiting: Vec<_> = services.iter_mut().map(|service| ready!(service)).collect();
    waiting.iter_mut().for_each(|ready| assert_pending!(ready.poll()));
    advance(10 * SECOND + Duration::from_millis(1)).await;
    let ready: Vec<_> = waiting.iter_mut().map(|ready| ready.poll().is_ready()).collect();
    assert_eq!(ready, [true, true, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_ends_lets_the_next_one_in() {
    let circuit = builder().half_open(1, 2).build().unwrap();
    fail(&circuit);
    let (mut first, mut second) = (service(&circuit), service(&circuit));
    advance(10 * SECOND).await;
    assert_ready_ok!(ready!(first).poll());
    let mut waits = ready!(second);
    assert_pending!(waits.poll());
    assert!(first.call(true).await.unwrap());
    assert!(waits.is_woken());
    assert_ready_ok!(waits.poll());
    drop(waits);
    assert!(second.call(true).await.unwrap());
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_that_is_dropped_gives_its_place_back_without_a_verdict() {
    let circuit = builder().half_open(1, 1).build().unwrap();
    fail(&circuit);
    advance(10 * SECOND).await;
    let (mut first, mut second) = (service(&circuit), service(&circuit));
    assert_ready_ok!(ready!(first).poll());
    let mut waits = ready!(second);
    assert_pending!(waits.poll());
    drop(first);
    assert_eq!(circuit.state(), State::HalfOpen);
    assert!(waits.is_woken());
    assert_ready_ok!(waits.poll());
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_that_is_not_called_loses_its_place_in_time_and_asks_anew() {
    let circuit = builder().half_open(1, 1).trial_time(5 * SECOND).build().unwrap();
    fail(&circuit);
    advance(10 * SECOND).await;
    let mut idle = service(&circuit);
    assert_ready_ok!(ready!(idle).poll());
    advance(5 * SECOND).await;
    assert_eq!((circuit.state(), circuit.status().trials_running), (State::HalfOpen, 0));
    let other = circuit.admit().unwrap();
    let refused = idle.call(true).await.unwrap_err();
    assert_eq!(refused.downcast_ref::<Open>().unwrap().state(), State::HalfOpen);
    other.record(Verdict::Success);
    assert!(idle.call(true).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_trial_begins_with_its_call() {
    let circuit = builder().half_open(1, 1).trial_time(5 * SECOND).build().unwrap();
    fail(&circuit);
    advance(10 * SECOND).await;
    let mut service = service(&circuit);
    assert_ready_ok!(ready!(service).poll());
    advance(4 * SECOND).await;
    let call = service.call(true);
    advance(4 * SECOND).await;
    assert_eq!(circuit.status().trials_running, 1);
    assert!(call.await.unwrap());
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_operators_word_wakes_who_waits() {
    let circuit = builder().build().unwrap();
    circuit.force_open(None);
    let mut service = service(&circuit);
    let mut ready = ready!(service);
    assert_pending!(ready.poll());
    advance(1_000_000 * SECOND).await;
    assert!(!ready.is_woken());
    circuit.reset();
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
}

#[tokio::test(start_paused = true)]
async fn a_longer_open_time_is_waited_for() {
    let circuit = builder().build().unwrap();
    fail(&circuit);
    let mut service = service(&circuit);
    let mut ready = ready!(service);
    assert_pending!(ready.poll());
    circuit.open_until(tokio::time::Instant::now() + 60 * SECOND, "edge ban");
    assert_pending!(ready.poll());
    advance(59 * SECOND).await;
    assert_pending!(ready.poll());
    advance(SECOND + Duration::from_millis(1)).await;
    assert_ready_ok!(ready.poll());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_ready_before_it_opened_is_refused() {
    let circuit = builder().build().unwrap();
    let mut service = service(&circuit);
    assert_ready_ok!(ready!(service).poll());
    fail(&circuit);
    assert!(assert_ready_err!(task::spawn(service.call(true)).poll()).is::<Open>());
}

#[tokio::test(start_paused = true)]
async fn no_readiness_of_the_inner_service_is_held_while_waiting() {
    let circuit = builder().half_open(1, 1).build().unwrap();
    let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service_fn(answer);
    let layer = WaitLayer::new(circuit.clone(), ErrorsFail);
    let (mut waits, mut beside) = (layer.layer(inner.clone()), inner);
    fail(&circuit);
    assert_pending!(ready!(waits).poll());
    assert_ready_ok!(ready!(beside).poll());
    drop(beside);
    // A place that another takes between the look and the readiness: the permit is let go.
    advance(10 * SECOND).await;
    let taken = circuit.admit().unwrap();
    assert_pending!(ready!(waits).poll());
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_lets_nobody_wait() {
    let circuit = builder().observe_only(true).build().unwrap();
    fail(&circuit);
    let mut service = service(&circuit);
    assert_ready_ok!(ready!(service).poll());
    assert!(service.call(true).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_place_of_an_earlier_half_open_time_is_none_of_this_one() {
    let circuit = builder().half_open(1, 1).build().unwrap();
    fail(&circuit);
    advance(10 * SECOND).await;
    let mut old = service(&circuit);
    assert_ready_ok!(ready!(old).poll());
    circuit.reset();
    fail(&circuit);
    advance(10 * SECOND).await;
    let taken = circuit.admit().unwrap();
    assert!(old.call(true).await.unwrap_err().is::<Open>(), "the place is another's now");
    taken.record(Verdict::Success);
    assert_eq!(circuit.state(), State::Closed);
}
