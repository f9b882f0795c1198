//! What must hold when many threads use one circuit at once.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use tower_circuit::{Circuit, Mode, State, Verdict, Window};

#[test]
fn the_watch_ends_at_the_newest_change() {
    for _ in 0..60 {
        let circuit = Circuit::builder("threads").build().unwrap();
        let watch = circuit.watch();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        circuit.force_open(None);
                        circuit.reset();
                    }
                });
            }
        });
        let status = circuit.status();
        assert_eq!(status.transitions, 160);
        assert_eq!(*watch.borrow(), status.last);
    }
}

#[test]
fn no_success_is_lost_or_counted_twice_beside_failures_and_looks() {
    for window in [Window::Calls(1_000_000), Window::Time(Duration::from_secs(3_600))] {
        let circuit =
            Circuit::builder("threads").failure_ratio(0.9).window(window, 10).build().unwrap();
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let circuit = &circuit;
                scope.spawn(move || {
                    for n in 0..20_000_u64 {
                        let permit = circuit.admit().unwrap();
                        match (n + thread) % 100 {
                            0 => permit.record(Verdict::Failure),
                            1 => {
                                permit.record(Verdict::Success);
                                assert!(circuit.status().window.unwrap().calls > n);
                            }
                            _ => permit.record(Verdict::Success),
                        }
                    }
                });
            }
        });
        let counts = circuit.status().window.unwrap();
        assert_eq!((counts.calls, counts.failures), (80_000, 800), "{window}");
    }
}

#[test]
fn no_place_is_lost_or_given_twice() {
    let circuit = Circuit::builder("threads")
        .consecutive(1)
        .half_open(3, 50)
        .open_for(Duration::from_millis(1))
        .build()
        .unwrap();
    let trials = AtomicU32::new(0);
    thread::scope(|scope| {
        for thread in 0..6_u32 {
            let (circuit, trials) = (&circuit, &trials);
            scope.spawn(move || {
                for n in 0..5_000_u32 {
                    let Ok(permit) = circuit.admit() else {
                        thread::yield_now();
                        continue;
                    };
                    if permit.is_trial() {
                        trials.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                    }
                    match (n + thread) % 1_000 {
                        0 => permit.record(Verdict::Failure),
                        1 => drop(permit),
                        2..500 => permit.record(Verdict::Ignore),
                        _ => permit.record(Verdict::Success),
                    }
                }
            });
        }
    });
    assert!(trials.load(Ordering::Relaxed) > 0, "the test must reach what it tests");
    let status = circuit.status();
    assert_eq!((status.trials_running, status.mode), (0, Mode::Automatic));
    circuit.force_open(Some(Duration::ZERO));
    let places = [circuit.admit().unwrap(), circuit.admit().unwrap(), circuit.admit().unwrap()];
    assert_eq!(circuit.admit().unwrap_err().state(), State::HalfOpen);
    drop(places);
}
