//! How long it stays open, and how it comes out of it, on a paused clock.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tower_circuit::{Circuit, CircuitBuilder, Mode, OpenTime, Permit, Reason, State, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn one_failure() -> CircuitBuilder {
    Circuit::builder("test").consecutive(1).half_open(1, 1)
}

fn record(circuit: &Circuit, verdict: Verdict) {
    circuit.admit().unwrap().record(verdict);
}

fn wait(circuit: &Circuit) -> Duration {
    circuit.admit().unwrap_err().wait().unwrap()
}

/// Fails, waits, fails the trial, and so on: the open times.
async fn openings(circuit: &Circuit, times: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..times {
        record(circuit, Verdict::Failure);
        waits.push(wait(circuit));
        advance(wait(circuit)).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn each_failed_trial_lengthens_the_open_time_up_to_the_cap() {
    let time = OpenTime::constant(10 * SECOND).growing(2.0, 60 * SECOND);
    let circuit = one_failure().open_for(time).build().unwrap();
    let expected = [10, 20, 40, 60, 60].map(Duration::from_secs);
    assert_eq!(openings(&circuit, 5).await, expected);
    assert_eq!(circuit.status().openings, 5);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_flaps_is_asked_less_and_less_and_one_that_stays_well_starts_over() {
    let time = OpenTime::constant(10 * SECOND).growing(2.0, 60 * SECOND);
    let circuit = one_failure().open_for(time).build().unwrap();
    openings(&circuit, 1).await;
    record(&circuit, Verdict::Success);
    advance(9 * SECOND).await;
    record(&circuit, Verdict::Failure);
    assert_eq!(wait(&circuit), 20 * SECOND, "it was well for less than 10 s");
    advance(20 * SECOND).await;
    record(&circuit, Verdict::Success);
    advance(20 * SECOND).await;
    record(&circuit, Verdict::Failure);
    assert_eq!(wait(&circuit), 10 * SECOND);
    circuit.reset();
    record(&circuit, Verdict::Failure);
    assert_eq!(wait(&circuit), 10 * SECOND, "a reset forgets the row");
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_open_times_of_many_circuits() {
    let time = OpenTime::constant(10 * SECOND).jitter(0.5);
    let mut waits = Vec::new();
    for _ in 0..200 {
        let circuit = one_failure().open_for(time).build().unwrap();
        record(&circuit, Verdict::Failure);
        waits.push(wait(&circuit));
    }
    assert!(waits.iter().all(|wait| (5 * SECOND..=10 * SECOND).contains(wait)));
    // Each of five seconds has its share; that one is empty happens once in 10^19 runs.
    for second in 5..10 {
        let range = second * SECOND..(second + 1) * SECOND;
        assert!(waits.iter().any(|wait| range.contains(wait)), "nobody in {range:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_opens_it_for_the_time_that_it_names() {
    let circuit = Circuit::builder("test").consecutive(5).build().unwrap();
    record(&circuit, Verdict::Down(300 * SECOND));
    let refused = circuit.admit().unwrap_err();
    assert_eq!(refused.wait(), Some(300 * SECOND));
    assert_eq!(refused.reason(), &Reason::Named { wait: 300 * SECOND });
    assert_eq!(refused.reason().to_string(), "the service asked to be left alone for 300s");
    let last = circuit.status().last;
    assert_eq!((last.figures.consecutive_failures, last.mode), (1, Mode::Automatic));
    advance(300 * SECOND).await;
    record(&circuit, Verdict::Down(20 * SECOND));
    assert_eq!(wait(&circuit), 20 * SECOND, "a trial may name one, too");
}

#[tokio::test(start_paused = true)]
async fn a_named_time_is_bounded_and_zero_is_a_plain_failure() {
    let builder = Circuit::builder("test").consecutive(2).longest_named(600 * SECOND);
    let circuit = builder.build().unwrap();
    record(&circuit, Verdict::Down(Duration::ZERO));
    assert_eq!((circuit.state(), circuit.status().consecutive_failures), (State::Closed, 1));
    record(&circuit, Verdict::Down(Duration::MAX));
    assert_eq!(wait(&circuit), 600 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_may_lengthen_a_named_time_and_never_shortens_it() {
    let circuit = Circuit::builder("test").build().unwrap();
    let [long, short, stale]: [Permit; 3] = std::array::from_fn(|_| circuit.admit().unwrap());
    record(&circuit, Verdict::Down(60 * SECOND));
    short.record(Verdict::Down(30 * SECOND));
    assert_eq!(wait(&circuit), 60 * SECOND);
    long.record(Verdict::Down(90 * SECOND));
    assert_eq!(wait(&circuit), 90 * SECOND);
    circuit.reset();
    stale.record(Verdict::Down(90 * SECOND));
    assert_eq!(circuit.state(), State::Closed, "it began before the reset");
}

#[tokio::test(start_paused = true)]
async fn a_named_time_does_not_overrule_an_operator() {
    let circuit = one_failure().build().unwrap();
    circuit.force_closed();
    record(&circuit, Verdict::Down(60 * SECOND));
    assert_eq!((circuit.state(), circuit.status().consecutive_failures), (State::Closed, 1));
    circuit.reset();
    let late = circuit.admit().unwrap();
    circuit.force_open(Some(SECOND));
    late.record(Verdict::Down(60 * SECOND));
    assert_eq!(wait(&circuit), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_jittered_named_time_is_lengthened_only() {
    let time = OpenTime::constant(10 * SECOND).jitter(0.5);
    let mut sum = Duration::ZERO;
    for _ in 0..100 {
        let circuit = one_failure().open_for(time).build().unwrap();
        record(&circuit, Verdict::Down(60 * SECOND));
        assert!((60 * SECOND..65 * SECOND).contains(&wait(&circuit)));
        sum += wait(&circuit);
    }
    assert!(sum > 6_050 * SECOND, "{sum:?}");
}

#[tokio::test(start_paused = true)]
async fn trials_that_hang_cannot_wedge_it() {
    let builder = Circuit::builder("test").consecutive(1).half_open(2, 1);
    let circuit = builder.open_for(10 * SECOND).trial_time(5 * SECOND).build().unwrap();
    record(&circuit, Verdict::Failure);
    for _ in 0..3 {
        advance(10 * SECOND).await;
        let _hung = [circuit.admit().unwrap(), circuit.admit().unwrap()];
        advance(5 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(circuit.admit().unwrap_err().state(), State::HalfOpen);
        advance(Duration::from_millis(1)).await;
        let refused = circuit.admit().unwrap_err();
        assert_eq!(refused.state(), State::Open);
        assert_eq!(refused.reason(), &Reason::TrialHung { after: 5 * SECOND });
    }
    advance(10 * SECOND).await;
    record(&circuit, Verdict::Success);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn where_a_drop_is_nothing_a_hung_trial_only_loses_its_place() {
    let builder = one_failure().cancelled(Verdict::Ignore).trial_time(5 * SECOND);
    let circuit = builder.open_for(10 * SECOND).build().unwrap();
    record(&circuit, Verdict::Failure);
    advance(10 * SECOND).await;
    let hung = circuit.admit().unwrap();
    assert!(circuit.admit().is_err());
    advance(5 * SECOND).await;
    let second = circuit.admit().unwrap();
    hung.record(Verdict::Success);
    let status = circuit.status();
    assert_eq!((status.state, status.trials_running), (State::HalfOpen, 1), "it came too late");
    assert!(circuit.admit().is_err(), "and freed nobody else's place");
    second.record(Verdict::Success);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn half_open_needs_as_many_successes_as_configured_however_few_the_places() {
    let builder = Circuit::builder("test").consecutive(1).half_open(2, 5);
    let circuit = builder.open_for(10 * SECOND).build().unwrap();
    record(&circuit, Verdict::Failure);
    advance(10 * SECOND).await;
    for successes in 0..5 {
        assert_eq!(circuit.status().trial_successes, successes);
        record(&circuit, Verdict::Success);
    }
    assert_eq!(circuit.state(), State::Closed);
    assert_eq!(circuit.status().last.at, Instant::now());
}
