//! State that survives a restart, on a paused clock.

use std::time::{Duration, SystemTime};

use tokio::time::advance;
use tower_circuit::{
    Circuit, CircuitBuilder, Circuits, Mode, OpenTime, Reason, RestoreError, Snapshot, State,
    Verdict,
};

const SECOND: Duration = Duration::from_secs(1);

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn builder() -> CircuitBuilder {
    let time = OpenTime::constant(10 * SECOND).growing(2.0, 3_600 * SECOND);
    Circuit::builder("api").consecutive(3).open_for(time).half_open(1, 1)
}

fn record(circuit: &Circuit, verdict: Verdict, times: usize) {
    for _ in 0..times {
        circuit.admit().unwrap().record(verdict);
    }
}

fn restored(snapshot: &Snapshot, seconds: u64) -> Circuit {
    let circuit = builder().build().unwrap();
    circuit.restore(snapshot, wall(seconds)).unwrap();
    circuit
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_open_for_the_rest_of_its_time_and_for_the_same_reason() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    let _ = circuit.admit().unwrap_err();
    advance(4 * SECOND).await;
    let snapshot = circuit.snapshot(wall(0));
    assert_eq!(snapshot.open_left, Some(6 * SECOND));

    let circuit = restored(&snapshot, 5);
    let refused = circuit.admit().unwrap_err();
    assert_eq!(refused.wait(), Some(SECOND));
    assert_eq!(refused.reason(), &Reason::Consecutive { failures: 3 });
    let status = circuit.status();
    assert_eq!((status.last.reason, status.refused), (Reason::Restored, 2));
    assert_eq!((status.transitions, status.last.number), (2, 2));
    advance(SECOND).await;
    record(&circuit, Verdict::Failure, 1);
    assert_eq!(circuit.admit().unwrap_err().wait(), Some(20 * SECOND), "the growth goes on");
}

#[tokio::test(start_paused = true)]
async fn an_open_time_that_ended_meanwhile_leads_to_trials() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    let circuit = restored(&circuit.snapshot(wall(0)), 11);
    assert_eq!(circuit.state(), State::HalfOpen);
    assert!(circuit.admit().unwrap().is_trial());
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_went_back_prolongs_nothing() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    let snapshot = circuit.snapshot(wall(1_000_000));
    assert_eq!(restored(&snapshot, 0).admit().unwrap_err().wait(), Some(10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_row_of_failures_goes_on_and_an_operators_word_holds() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 2);
    let again = restored(&circuit.snapshot(wall(0)), 1);
    record(&again, Verdict::Failure, 1);
    assert_eq!(again.state(), State::Open);

    circuit.force_open(None);
    let again = restored(&circuit.snapshot(wall(0)), 1_000_000);
    assert_eq!((again.state(), again.status().mode), (State::Open, Mode::ForcedOpen));
    circuit.force_closed();
    let again = restored(&circuit.snapshot(wall(0)), 1);
    record(&again, Verdict::Failure, 9);
    assert_eq!((again.state(), again.status().mode), (State::Closed, Mode::ForcedClosed));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_flaps_flaps_over_a_restart() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    advance(10 * SECOND).await;
    record(&circuit, Verdict::Success, 1);
    let again = restored(&circuit.snapshot(wall(0)), 1);
    advance(9 * SECOND).await;
    record(&again, Verdict::Failure, 3);
    assert_eq!(again.admit().unwrap_err().wait(), Some(20 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn half_open_is_restored_with_its_places_free() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    advance(10 * SECOND).await;
    let trial = circuit.admit().unwrap();
    let snapshot = circuit.snapshot(wall(0));
    let again = restored(&snapshot, 1);
    assert_eq!((again.state(), again.status().trials_running), (State::HalfOpen, 0));
    // Restored in place, the trial under way no longer counts.
    circuit.restore(&snapshot, wall(0)).unwrap();
    trial.record(Verdict::Success);
    assert_eq!(circuit.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_opens_nothing_without_end() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    let mut snapshot = circuit.snapshot(wall(0));
    for left in [None, Some(Duration::MAX)] {
        snapshot.open_left = left;
        assert_eq!(restored(&snapshot, 0).state(), State::HalfOpen);
    }
}

#[test]
fn a_snapshot_of_another_version_or_circuit_is_refused_and_changes_nothing() {
    let circuit = builder().build().unwrap();
    let mut snapshot = circuit.snapshot(wall(0));
    snapshot.name = "other".into();
    let error = circuit.restore(&snapshot, wall(0)).unwrap_err();
    assert_eq!(error.to_string(), "snapshot is of circuit `other`, not of `api`");
    snapshot.version = 2;
    let error = circuit.restore(&snapshot, wall(0)).unwrap_err();
    assert_eq!(error, RestoreError::Version(2));
    assert_eq!(error.to_string(), "snapshot has version 2, expected 1");
    assert_eq!(circuit.status().transitions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_registry_keeps_what_would_be_missed() {
    let keyed = || builder().keyed().build::<u32>().unwrap();
    let circuits: Circuits<u32> = keyed();
    record(&circuits.get(&1), Verdict::Success, 5);
    record(&circuits.get(&2), Verdict::Failure, 1);
    record(&circuits.get(&3), Verdict::Failure, 3);
    circuits.get(&4).disable();
    let mut snapshots = circuits.snapshot(wall(0));
    snapshots.sort_by_key(|(key, _)| *key);
    assert_eq!(snapshots.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [2, 3, 4]);

    let again = keyed();
    again.restore(&snapshots, wall(1)).unwrap();
    assert_eq!(again.get(&2).status().consecutive_failures, 1);
    assert_eq!(again.get(&3).admit().unwrap_err().wait(), Some(9 * SECOND));
    assert_eq!(again.get(&4).status().mode, Mode::Disabled);
    snapshots[0].1.version = 9;
    assert_eq!(again.restore(&snapshots, wall(1)), Err(RestoreError::Version(9)));
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_snapshot_goes_through_json_and_its_form_is_kept() {
    let circuit = builder().build().unwrap();
    record(&circuit, Verdict::Failure, 3);
    let snapshot = circuit.snapshot(wall(0));
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(
        text,
        r#"{"version":1,"name":"api","taken_at_ms":1800000000000,"state":"open","mode":"automatic","#
            .to_owned()
            + r#""open_left":{"secs":10,"nanos":0},"opened_by":{"consecutive":{"failures":3}},"#
            + r#""consecutive_failures":3,"openings":1,"open_time":{"secs":10,"nanos":0},"#
            + r#""refused":0,"let_pass":0,"transitions":1}"#
    );
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    circuit.open_until(tokio::time::Instant::now() + 60 * SECOND, "edge ban");
    let told = circuit.snapshot(wall(0));
    let text = serde_json::to_string(&told).unwrap();
    assert!(text.contains(r#""opened_by":{"told":"edge ban"}"#), "{text}");
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), told);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_switched_off_by_its_builder_has_nothing_to_keep() {
    let off: Circuits<u32> = builder().enabled(false).keyed().build().unwrap();
    let on: Circuits<u32> = builder().keyed().build().unwrap();
    for circuits in [&off, &on] {
        record(&circuits.get(&1), Verdict::Success, 1);
    }
    on.get(&2).disable();
    assert!(off.snapshot(wall(0)).is_empty());
    let kept: Vec<_> = on.snapshot(wall(0)).into_iter().map(|(key, _)| key).collect();
    assert_eq!(kept, [2], "an operator's word is kept");
}
