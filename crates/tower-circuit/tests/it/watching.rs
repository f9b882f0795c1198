//! Dry runs and listeners.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::advance;
use tower_circuit::{Circuit, Figures, Mode, State, Transition, Verdict, Window};

const SECOND: Duration = Duration::from_secs(1);

fn record(circuit: &Circuit, verdict: Verdict, times: usize) {
    for _ in 0..times {
        circuit.admit().unwrap().record(verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_does_all_but_refuse() {
    let circuit = Circuit::builder("dry")
        .consecutive(3)
        .open_for(10 * SECOND)
        .half_open(1, 1)
        .observe_only(true)
        .build()
        .unwrap();
    record(&circuit, Verdict::Failure, 3);
    let status = circuit.status();
    assert_eq!((status.state, status.mode), (State::Open, Mode::Observing));
    assert!(circuit.look().is_ok());
    record(&circuit, Verdict::Success, 5);
    let status = circuit.status();
    assert_eq!((status.let_pass, status.refused, status.state), (5, 0, State::Open));

    advance(10 * SECOND).await;
    let trial = circuit.admit().unwrap();
    let beside = circuit.admit().unwrap();
    assert!(trial.is_trial() && !beside.is_trial());
    beside.record(Verdict::Failure);
    assert_eq!(circuit.state(), State::HalfOpen, "it would not have been sent");
    trial.record(Verdict::Success);
    let status = circuit.status();
    assert_eq!((status.state, status.let_pass), (State::Closed, 6));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_becomes_real_and_the_other_way_round() {
    let circuit = Circuit::builder("dry").consecutive(1).observe_only(true).build().unwrap();
    record(&circuit, Verdict::Failure, 2);
    circuit.reset();
    assert_eq!(circuit.status().mode, Mode::Observing, "a reset does not make it real");
    circuit.observe_only(false);
    record(&circuit, Verdict::Failure, 1);
    assert!(circuit.admit().is_err());
    let before = circuit.status().transitions;
    circuit.observe_only(false);
    assert_eq!(circuit.status().transitions, before, "nothing to change");
    circuit.observe_only(true);
    assert_eq!(circuit.state(), State::Closed);
    circuit.force_open(None);
    assert!(circuit.admit().is_err(), "an operator's word holds in a dry run, too");
}

type Heard = Arc<Mutex<Vec<Transition>>>;

#[tokio::test(start_paused = true)]
async fn listeners_hear_every_change_with_reason_and_figures() {
    let heard = Heard::default();
    let listener = {
        let heard = Arc::clone(&heard);
        move |circuit: &Circuit, change: &Transition| {
            assert_eq!(circuit.name(), "told");
            heard.lock().unwrap().push(change.clone());
        }
    };
    let circuit = Circuit::builder("told")
        .failure_ratio(0.5)
        .window(Window::Calls(10), 4)
        .open_for(10 * SECOND)
        .on_transition(listener)
        .build()
        .unwrap();
    record(&circuit, Verdict::Success, 2);
    record(&circuit, Verdict::Failure, 2);
    assert!(circuit.admit().is_err());
    advance(10 * SECOND).await;
    record(&circuit, Verdict::Success, 1);

    let heard = heard.lock().unwrap();
    let told: Vec<_> = heard.iter().map(|change| (change.number, change.to)).collect();
    assert_eq!(told, [(1, State::Open), (2, State::HalfOpen), (3, State::Closed)]);
    let Figures { consecutive_failures, window, openings, refused, .. } = heard[2].figures;
    let window = window.unwrap();
    assert_eq!((window.calls, window.failures), (4, 2), "as they were before it forgot them");
    assert_eq!((consecutive_failures, openings, refused), (2, 1, 1));
    assert_eq!(circuit.status().window.unwrap().calls, 0);
}

#[test]
fn a_listener_may_use_the_circuit_and_its_panic_stops_nothing() {
    let heard = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&heard);
    let circuit = Circuit::builder("told")
        .consecutive(1)
        .on_transition(|_, _| panic!("on purpose"))
        .on_transition(move |circuit, change| {
            *counter.lock().unwrap() += 1;
            if change.to == State::Open {
                assert_eq!(circuit.status().last.number, change.number);
                circuit.reset();
            }
        })
        .build()
        .unwrap();
    record(&circuit, Verdict::Failure, 1);
    assert_eq!((circuit.state(), *heard.lock().unwrap()), (State::Closed, 2));
}
