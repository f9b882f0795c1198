//! The detector against a slow machine that keeps every event, under random beats, outcomes and silences.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use tokio::time::{Instant, advance};
use tower_health::TargetState::{Degraded, Healthy, Recovering, Unhealthy, Unknown};
use tower_health::{FailureDetector, FailureKind, TargetChange, TargetState};

const INTERVAL: u64 = 30_000;
const MISSES: u64 = 3;
const FAILURES: usize = 3;
const RECOVER_AFTER: u32 = 3;
const MIN_CALLS: usize = 5;
const RATE: f64 = 0.4;
const WINDOW: u64 = 100_000;

/// Times are milliseconds.
struct Model {
    state: TargetState,
    /// Degraded for its error rate, so it takes a fifth less to be well again.
    rate_held: bool,
    heard: u64,
    /// The first step.
    first: u64,
    signs: u32,
    outcomes: Vec<(u64, bool)>,
    changes: u64,
}

impl Model {
    fn enter(&mut self, state: TargetState) {
        if state != self.state {
            self.state = state;
            self.changes += 1;
        }
    }

    fn settle(&mut self, now: u64) {
        let silent = now - self.heard;
        if silent >= MISSES * INTERVAL {
            if self.state != Unhealthy {
                self.signs = 0;
                self.rate_held = false;
            }
            self.enter(Unhealthy);
        } else if silent >= MISSES * INTERVAL * 2 / 3 && self.state == Healthy {
            self.enter(Degraded);
        }
    }

    fn by_operations(&mut self, now: u64) -> TargetState {
        // Ten slots; whoever looks or counts first starts the first.
        let slot = WINDOW / 10;
        let first = self.first;
        let age = |at: u64| (now - first) / slot - (at - first) / slot;
        let within: Vec<bool> =
            self.outcomes.iter().filter(|(at, _)| age(*at) < 10).map(|(_, bad)| *bad).collect();
        let bad = within.iter().filter(|bad| **bad).count() as f64;
        let limit = if self.rate_held { 0.8 * RATE } else { RATE };
        let over = within.len() >= MIN_CALLS && bad >= limit * within.len() as f64 - 1e-9;
        if over { Degraded } else { Healthy }
    }

    fn conclude(&mut self, now: u64) {
        let state = self.by_operations(now);
        // One that is degraded for its silence keeps that reason while it stays degraded.
        if state != self.state {
            self.rate_held = state == Degraded;
        }
        self.enter(state);
    }

    fn sign(&mut self, now: u64, operation: bool) {
        self.heard = now;
        match self.state {
            Unhealthy | Recovering => {
                self.signs += 1;
                if self.signs >= RECOVER_AFTER {
                    self.conclude(now)
                } else {
                    self.enter(Recovering)
                }
            }
            // A beat says nothing of operations, so it makes nobody worse.
            Healthy if !operation => {}
            Unknown | Healthy | Degraded => self.conclude(now),
        }
    }

    fn failure(&mut self, now: u64) {
        let row = self.outcomes.iter().rev().take_while(|(_, bad)| *bad).count();
        match self.state {
            Recovering => self.fail(),
            Healthy | Degraded | Unknown if row >= FAILURES => self.fail(),
            Healthy => self.conclude(now),
            Unknown | Unhealthy | Degraded => {}
        }
    }

    fn fail(&mut self) {
        self.signs = 0;
        self.rate_held = false;
        self.enter(Unhealthy);
    }
}

async fn follow(steps: Vec<(u64, u8)>) -> Result<(), TestCaseError> {
    let told: Arc<Mutex<Vec<TargetChange>>> = Arc::default();
    let listener = Arc::clone(&told);
    let detector = FailureDetector::builder("model")
        .degraded_at(RATE, None)
        .min_calls(MIN_CALLS as u64)
        .window(Duration::from_millis(WINDOW))
        .on_change(move |change| listener.lock().unwrap().push(change.clone()))
        .build()
        .unwrap();
    detector.register("a", ()).unwrap();
    let start = Instant::now();
    let mut model = Model {
        state: Unknown,
        rate_held: false,
        heard: 0,
        first: steps.first().map_or(0, |(wait, _)| *wait),
        signs: 0,
        outcomes: Vec::new(),
        changes: 0,
    };
    for (wait, what) in steps {
        advance(Duration::from_millis(wait)).await;
        let now = u64::try_from(start.elapsed().as_millis()).unwrap();
        model.settle(now);
        let took = Duration::from_millis(5);
        let state = match what {
            0 | 1 => {
                model.sign(now, false);
                detector.heartbeat("a").unwrap()
            }
            2 | 3 => {
                model.outcomes.push((now, false));
                model.sign(now, true);
                detector.record_success("a", "job", took).unwrap()
            }
            4 | 5 => {
                model.outcomes.push((now, true));
                model.failure(now);
                detector.record_failure("a", "job", FailureKind::Other, took).unwrap()
            }
            _ => detector.health("a").unwrap().state,
        };
        prop_assert_eq!(state, model.state, "at {} ms", now);
        let status = detector.health("a").unwrap();
        prop_assert_eq!(status.changes, model.changes);
        prop_assert_eq!(u64::from(status.missed), (now - model.heard) / INTERVAL);
    }
    // Every change was told, once, in order, and each goes on where the one before ended.
    let told = told.lock().unwrap();
    prop_assert_eq!(told.len() as u64, model.changes);
    let mut state = Unknown;
    for (n, change) in told.iter().enumerate() {
        prop_assert_eq!((change.number, change.from), (n as u64 + 1, state));
        prop_assert!(change.to != change.from);
        state = change.to;
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_detector_does_what_the_slow_machine_does(
        steps in vec((prop_oneof![4 => 0_u64..20_000, 1 => 20_000_u64..150_000], 0_u8..7), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(follow(steps))?;
    }
}
