//! The circuit against a reference machine, whatever happens in whatever order.
//!
//! A long run: `PROPTEST_CASES=2000000 cargo test --release -p tower-circuit --test model`;
//! `PROPTEST_RNG_SEED` chooses another one.

mod reference;

use std::time::{Duration, SystemTime};

use proptest::{collection::vec, option, prelude::*};
use tokio::time::{Instant, advance};
use tower_circuit::{Circuit, OpenTime, Permit, Throttled, Verdict, Window};

use self::reference::{Config, FOREVER, Reference, Span, Ticket};

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Look,
    Probe,
    /// Ends one of the calls on their way; `None` drops it.
    End(usize, Option<Verdict>),
    Wait(u64),
    OpenUntil(u64),
    ForceOpen(Option<u64>),
    ForceClosed,
    Disable,
    Reset,
    ObserveOnly(bool),
    Restart,
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        6 => Just(Verdict::Success),
        6 => Just(Verdict::Failure),
        2 => Just(Verdict::Ignore),
        2 => Just(Verdict::Throttled),
        1 => (0_u64..4_000).prop_map(|millis| Verdict::Down(Duration::from_millis(millis))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => Just(Step::Admit),
        4 => Just(Step::Look),
        2 => Just(Step::Probe),
        40 => (any::<usize>(), option::weighted(0.85, verdict()))
            .prop_map(|(which, end)| Step::End(which, end)),
        20 => (0_u64..3_000).prop_map(Step::Wait),
        2 => (0_u64..3_000).prop_map(Step::OpenUntil),
        1 => option::of(0_u64..3_000).prop_map(Step::ForceOpen),
        1 => Just(Step::ForceClosed),
        1 => Just(Step::Disable),
        3 => Just(Step::Reset),
        1 => any::<bool>().prop_map(Step::ObserveOnly),
        1 => Just(Step::Restart),
    ]
}

prop_compose! {
    fn config()(
        consecutive in option::of(1_u32..5),
        failures in option::of(1_u64..=10),
        slow in option::of((1_u64..=10, 1_u64..2_000)),
        span in prop_oneof![
            (1_u64..1_000).prop_map(|tenth| Span::Millis(tenth * 10)),
            (1_usize..70).prop_map(Span::Calls),
        ],
        min_calls in 1_u64..10,
        open in (1_u64..2_000, 1_u64..4, 1_u64..8),
        longest_named in 1_u64..5_000,
        trials in 1_usize..4,
        successes in 1_u32..4,
        trial_time in 1_u64..5_000,
        cancelled in verdict(),
        throttled in prop_oneof![Just(Throttled::Ignore), Just(Throttled::RatioOnly)],
        observe in prop::bool::weighted(0.2),
    ) -> Config {
        let min_calls = match span {
            Span::Calls(size) => min_calls.min(size as u64),
            Span::Millis(_) => min_calls,
        };
        // As the builder has it when nothing is set.
        let consecutive = match (consecutive, failures, slow) {
            (None, None, None) => Some(5),
            (given, ..) => given,
        };
        let (open_first, open_factor, times) = open;
        Config {
            consecutive, failures, slow, span, min_calls, open_first, open_factor,
            open_cap: open_first * times, longest_named, trials, successes, trial_time, cancelled,
            throttled, observe,
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn build(config: &Config) -> Circuit {
    let span = match config.span {
        Span::Millis(length) => Window::Time(millis(length)),
        Span::Calls(size) => Window::Calls(size as u32),
    };
    let open = OpenTime::constant(millis(config.open_first))
        .growing(config.open_factor as f64, millis(config.open_cap));
    let mut builder = Circuit::builder("model")
        .window(span, config.min_calls)
        .open_for(open)
        .longest_named(millis(config.longest_named))
        .half_open(config.trials as u32, config.successes)
        .trial_time(millis(config.trial_time))
        .cancelled(config.cancelled)
        .throttled(config.throttled)
        .observe_only(config.observe);
    if let Some(failures) = config.consecutive {
        builder = builder.consecutive(failures);
    }
    if let Some(tenths) = config.failures {
        builder = builder.failure_ratio(tenths as f64 / 10.0);
    }
    if let Some((tenths, from)) = config.slow {
        builder = builder.slow_ratio(tenths as f64 / 10.0, millis(from));
    }
    builder.build().unwrap()
}

async fn agree(config: Config, steps: Vec<(Step, bool)>) -> Result<(), TestCaseError> {
    let (circuit, mut model) = (build(&config), Reference::new(config.clone()));
    let start = Instant::now();
    let watch = circuit.watch();
    let mut running: Vec<(Permit, Ticket)> = Vec::new();
    for (step, looks) in steps {
        // Successes that nobody looks at in between are counted together.
        let looks = looks || !matches!(step, Step::Admit | Step::End(_, Some(Verdict::Success)));
        match step {
            Step::Admit | Step::Probe => {
                let (ours, theirs) = match step {
                    Step::Probe => (circuit.probe(), model.probe()),
                    _ => (circuit.admit(), model.admit()),
                };
                prop_assert_eq!(ours.is_ok(), theirs.is_some());
                if let (Ok(permit), Some((ticket, trial))) = (ours, theirs) {
                    prop_assert_eq!(permit.is_trial(), trial);
                    running.push((permit, ticket));
                }
            }
            Step::Look => prop_assert_eq!(circuit.look().is_ok(), model.look()),
            Step::End(..) if running.is_empty() => {}
            Step::End(which, end) => {
                let (permit, ticket) = running.swap_remove(which % running.len());
                match end {
                    Some(verdict) => permit.record(verdict),
                    None => drop(permit),
                }
                model.end(ticket, end.unwrap_or(config.cancelled));
            }
            Step::Wait(time) => {
                advance(millis(time)).await;
                model.wait(time);
            }
            Step::OpenUntil(time) => {
                circuit.open_until(Instant::now() + millis(time), "told");
                model.open_until(time);
            }
            Step::ForceOpen(time) => {
                circuit.force_open(time.map(millis));
                model.force_open(time);
            }
            Step::ForceClosed => {
                circuit.force_closed();
                model.force_closed();
            }
            Step::Disable => {
                circuit.disable();
                model.disable();
            }
            Step::Reset => {
                circuit.reset();
                model.reset();
            }
            Step::ObserveOnly(observe) => {
                circuit.observe_only(observe);
                model.observe_only(observe);
            }
            Step::Restart => {
                let snapshot = circuit.snapshot(SystemTime::UNIX_EPOCH);
                circuit.restore(&snapshot, SystemTime::UNIX_EPOCH).unwrap();
                model.restart();
            }
        }
        if !looks {
            continue;
        }
        let status = circuit.status();
        prop_assert_eq!((status.state, status.mode), (model.state, model.mode));
        prop_assert_eq!(status.consecutive_failures, model.streak);
        let window = status.window.map(|window| (window.calls, window.failures, window.slow));
        prop_assert_eq!(window, model.window());
        prop_assert_eq!(status.openings, model.openings);
        prop_assert_eq!(status.trials_running as usize, model.trials.len());
        prop_assert_eq!(status.trial_successes, model.successes);
        prop_assert_eq!((status.refused, status.let_pass), (model.refused, model.let_pass));
        prop_assert_eq!(status.transitions, model.transitions);
        prop_assert_eq!(status.last.number, model.transitions);
        prop_assert_eq!(&*watch.borrow(), &status.last);
        if model.state == tower_circuit::State::Open {
            let until = status.last.until.map_or(FOREVER, |until| {
                u64::try_from(until.duration_since(start).as_millis()).unwrap()
            });
            prop_assert_eq!(until, model.until);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_circuit_does_what_the_reference_does(
        config in config(),
        steps in vec((step(), prop::bool::weighted(0.3)), 1..150),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(agree(config, steps))?;
    }
}
