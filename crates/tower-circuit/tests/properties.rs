//! What holds whatever happens in whatever order.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::time::{Instant, advance};
use tower_circuit::{Circuit, Permit, State, Verdict, Window};

#[derive(Clone, Debug)]
enum Step {
    Admit,
    /// Ends one of the calls on their way; `None` drops it.
    End(usize, Option<Verdict>),
    Wait(u64),
    OpenUntil(u64),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Success),
        3 => Just(Verdict::Failure),
        1 => Just(Verdict::Ignore),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<usize>(), proptest::option::weighted(0.8, verdict()))
            .prop_map(|(which, end)| Step::End(which, end)),
        4 => (0_u64..3_000).prop_map(Step::Wait),
        1 => (0_u64..3_000).prop_map(Step::OpenUntil),
    ]
}

async fn hold(
    steps: Vec<Step>,
    trials: u32,
    successes: u32,
    cancelled: Verdict,
) -> Result<(), TestCaseError> {
    let circuit = Circuit::builder("property")
        .consecutive(2)
        .failure_ratio(0.6)
        .window(Window::Time(Duration::from_secs(5)), 5)
        .open_for(Duration::from_secs(1))
        .half_open(trials, successes)
        .cancelled(cancelled)
        .build()
        .unwrap();
    let watch = circuit.watch();
    // Each call with the number of transitions at its start.
    let mut running: Vec<(Permit, u64)> = Vec::new();
    let mut ripe: Option<Instant> = None;
    for step in steps {
        let before = circuit.status();
        match step {
            Step::Admit => match circuit.admit() {
                Ok(permit) => {
                    prop_assert_ne!(before.state, State::Open);
                    prop_assert_eq!(permit.is_trial(), before.state == State::HalfOpen);
                    running.push((permit, before.transitions));
                }
                Err(open) => {
                    prop_assert_ne!(before.state, State::Closed);
                    prop_assert_eq!(open.state(), before.state);
                    prop_assert_eq!(open.retry_at().is_some(), before.state == State::Open);
                    if let Some(at) = open.retry_at() {
                        prop_assert!(at > Instant::now());
                    }
                    ripe = open.retry_at();
                }
            },
            Step::End(..) if running.is_empty() => {}
            Step::End(which, end) => {
                let (permit, began) = running.swap_remove(which % running.len());
                let verdict = end.unwrap_or(cancelled);
                match end {
                    Some(verdict) => permit.record(verdict),
                    None => drop(permit),
                }
                let after = circuit.status();
                if began != before.transitions {
                    // It began before the last change, so it says nothing.
                    prop_assert_eq!(&after, &before);
                } else if before.state == State::HalfOpen {
                    let expected = match verdict {
                        Verdict::Failure => State::Open,
                        Verdict::Success if before.trial_successes + 1 == successes => {
                            State::Closed
                        }
                        _ => State::HalfOpen,
                    };
                    prop_assert_eq!(after.state, expected);
                }
            }
            Step::Wait(millis) => {
                advance(Duration::from_millis(millis)).await;
                if let Some(at) = ripe.take_if(|at| *at <= Instant::now()) {
                    // Nothing but `OpenUntil` makes it later, and that clears `ripe`.
                    prop_assert_ne!(circuit.state(), State::Open, "{:?}", at);
                }
            }
            Step::OpenUntil(millis) => {
                circuit.open_until(Instant::now() + Duration::from_millis(millis), "told");
                ripe = None;
            }
        }
        let status = circuit.status();
        let ours = running
            .iter()
            .filter(|(permit, began)| permit.is_trial() && *began == status.transitions);
        let ours = u32::try_from(ours.count()).unwrap();
        prop_assert!(status.trials_running <= trials);
        prop_assert_eq!(status.trials_running, ours, "places taken are calls on their way");
        prop_assert_eq!(status.last.number, status.transitions);
        prop_assert_eq!(watch.borrow().number, status.transitions);
        prop_assert_eq!(watch.borrow().to, status.state);
        // A change of state needs a new look at when it opens.
        if status.transitions != before.transitions {
            ripe = None;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_circuit_keeps_its_word(
        steps in vec(step(), 1..120),
        trials in 1_u32..4,
        successes in 1_u32..4,
        cancelled in verdict(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(hold(steps, trials, successes, cancelled))?;
    }
}
