//! What opens a circuit, on a paused clock.

use std::time::Duration;

use tokio::time::advance;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_circuit::{
    BoxError, Circuit, CircuitBuilder, CircuitLayer, Reason, State, Throttled, Verdict, Window,
};

const SECOND: Duration = Duration::from_secs(1);

fn build(builder: CircuitBuilder) -> Circuit {
    builder.open_for(10 * SECOND).half_open(1, 1).build().unwrap()
}

fn record(circuit: &Circuit, verdict: Verdict, times: usize) {
    for _ in 0..times {
        circuit.admit().unwrap().record(verdict);
    }
}

async fn slow(circuit: &Circuit, verdict: Verdict, took: Duration, times: usize) {
    let calls: Vec<_> = (0..times).map(|_| circuit.admit().unwrap()).collect();
    advance(took).await;
    for call in calls {
        call.record(verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_opens_after_what_it_holds_however_long_the_past() {
    let circuit = build(Circuit::builder("w").failure_ratio(0.5).window(Window::Calls(100), 10));
    record(&circuit, Verdict::Success, 100_000);
    record(&circuit, Verdict::Failure, 49);
    assert_eq!(circuit.state(), State::Closed);
    record(&circuit, Verdict::Failure, 1);
    let reason = circuit.status().last.reason;
    let window = Window::Calls(100);
    assert_eq!(reason, Reason::FailureRatio { failures: 50, calls: 100, window });
    assert_eq!(reason.to_string(), "50 failures in 100 calls of the last 100");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_opens_after_what_it_holds_however_long_the_past() {
    let builder = Circuit::builder("w").failure_ratio(0.5).window(Window::Time(10 * SECOND), 10);
    let circuit = build(builder);
    record(&circuit, Verdict::Success, 100_000);
    advance(10 * SECOND).await;
    record(&circuit, Verdict::Failure, 9);
    assert_eq!(circuit.state(), State::Closed, "nine calls are too few");
    record(&circuit, Verdict::Failure, 1);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_forgets_failures_only_by_newer_calls() {
    let circuit = build(Circuit::builder("w").failure_ratio(0.5).window(Window::Calls(4), 4));
    record(&circuit, Verdict::Failure, 1);
    advance(1_000_000 * SECOND).await;
    record(&circuit, Verdict::Success, 3);
    assert_eq!(circuit.status().window.unwrap().failures, 1);
    record(&circuit, Verdict::Success, 1);
    assert_eq!(circuit.status().window.unwrap().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn opens_when_too_many_calls_are_slow_whatever_their_verdict() {
    let builder = Circuit::builder("slow").slow_ratio(0.5, 2 * SECOND);
    let circuit = build(builder.window(Window::Calls(10), 6));
    slow(&circuit, Verdict::Success, 2 * SECOND - Duration::from_millis(1), 3).await;
    slow(&circuit, Verdict::Ignore, 9 * SECOND, 3).await;
    slow(&circuit, Verdict::Success, 2 * SECOND, 2).await;
    assert_eq!(circuit.state(), State::Closed, "two of five");
    assert_eq!(circuit.status().window.unwrap().slow, 2);
    slow(&circuit, Verdict::Failure, 3 * SECOND, 1).await;
    let reason = circuit.status().last.reason;
    let window = Window::Calls(10);
    assert_eq!(reason, Reason::SlowRatio { slow: 3, calls: 6, window, from: 2 * SECOND });
    assert_eq!(reason.to_string(), "3 of 6 calls of the last 10 took 2s or longer");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_slow_is_a_failed_one() {
    let builder = Circuit::builder("slow").slow_ratio(1.0, 2 * SECOND);
    let circuit = build(builder.window(Window::Calls(2), 2));
    slow(&circuit, Verdict::Success, 2 * SECOND, 2).await;
    advance(10 * SECOND).await;
    slow(&circuit, Verdict::Success, 3 * SECOND, 1).await;
    assert_eq!(circuit.status().last.reason, Reason::TrialSlow { took: 3 * SECOND });
    advance(10 * SECOND).await;
    slow(&circuit, Verdict::Success, SECOND, 1).await;
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn of_three_rules_the_first_to_hold_opens() {
    let any = || {
        let builder = Circuit::builder("any").consecutive(4).failure_ratio(0.5);
        build(builder.slow_ratio(0.5, 2 * SECOND).window(Window::Calls(20), 10))
    };
    let row = any();
    record(&row, Verdict::Success, 20);
    record(&row, Verdict::Failure, 4);
    assert_eq!(row.status().last.reason, Reason::Consecutive { failures: 4 });
    let ratio = any();
    for _ in 0..5 {
        record(&ratio, Verdict::Failure, 1);
        record(&ratio, Verdict::Success, 1);
    }
    assert!(matches!(ratio.status().last.reason, Reason::FailureRatio { calls: 10, .. }));
    let dragging = any();
    record(&dragging, Verdict::Success, 5);
    slow(&dragging, Verdict::Success, 2 * SECOND, 5).await;
    assert!(matches!(dragging.status().last.reason, Reason::SlowRatio { slow: 5, .. }));
}

#[tokio::test(start_paused = true)]
async fn being_throttled_counts_for_nothing() {
    let builder = Circuit::builder("429").consecutive(2).failure_ratio(0.1);
    let circuit = build(builder.window(Window::Calls(10), 1));
    record(&circuit, Verdict::Throttled, 100);
    assert_eq!(circuit.state(), State::Closed);
    assert_eq!(circuit.status().window.unwrap().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn being_throttled_may_count_in_the_ratio_alone() {
    let builder = Circuit::builder("429").consecutive(2).failure_ratio(0.5);
    let builder = builder.window(Window::Calls(10), 10).throttled(Throttled::RatioOnly);
    let circuit = build(builder);
    record(&circuit, Verdict::Success, 5);
    record(&circuit, Verdict::Failure, 1);
    record(&circuit, Verdict::Throttled, 3);
    let status = circuit.status();
    assert_eq!((status.consecutive_failures, status.state), (1, State::Closed));
    record(&circuit, Verdict::Throttled, 1);
    assert!(matches!(circuit.status().last.reason, Reason::FailureRatio { failures: 5, .. }));
    // Half-open, it moves nothing.
    advance(10 * SECOND).await;
    record(&circuit, Verdict::Throttled, 5);
    let status = circuit.status();
    assert_eq!((status.state, status.trials_running), (State::HalfOpen, 0));
}

#[tokio::test(start_paused = true)]
async fn fifty_cancelled_calls_open_a_circuit_of_three() {
    let circuit = build(Circuit::builder("cancel").consecutive(3));
    let mut service = ServiceBuilder::new()
        .layer(CircuitLayer::new(circuit.clone(), tower_circuit::ErrorsFail))
        .service(service_fn(|(): ()| std::future::pending::<Result<(), BoxError>>()));
    let mut refused = 0;
    for _ in 0..50 {
        let call = service.ready().await.unwrap().call(());
        refused += usize::from(tokio::time::timeout(SECOND / 1_000, call).await.is_ok());
    }
    assert_eq!((circuit.state(), refused), (State::Open, 47));
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_just_the_slow_time_is_slow() {
    let builder = Circuit::builder("slow").consecutive(1).slow_ratio(1.0, 2 * SECOND);
    let circuit = build(builder);
    record(&circuit, Verdict::Failure, 1);
    advance(10 * SECOND).await;
    slow(&circuit, Verdict::Success, 2 * SECOND, 1).await;
    assert_eq!(circuit.status().last.reason, Reason::TrialSlow { took: 2 * SECOND });
}

#[tokio::test(start_paused = true)]
async fn each_success_leaves_the_window_by_its_own_time() {
    let window = Window::Time(10 * SECOND);
    let circuit = build(Circuit::builder("w").failure_ratio(0.5).window(window, 1));
    record(&circuit, Verdict::Success, 3);
    advance(5 * SECOND).await;
    record(&circuit, Verdict::Success, 4);
    // Nobody has looked in between.
    advance(6 * SECOND).await;
    assert_eq!(circuit.status().window.unwrap().calls, 4);
    record(&circuit, Verdict::Failure, 3);
    assert_eq!(circuit.state(), State::Closed);
    record(&circuit, Verdict::Failure, 1);
    assert_eq!(circuit.state(), State::Open);
}
