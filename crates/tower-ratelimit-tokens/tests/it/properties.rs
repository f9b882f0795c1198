//! The queue under random arrivals, drops and releases: in order, and nobody is
//! forgotten.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;
use tokio_test::task::{self, Spawn};
use tower_ratelimit_tokens::{Acquire, Budget, Charge, Limiter, Ticket};

#[derive(Clone, Debug)]
enum Step {
    /// Somebody comes and wants so much.
    Come(u32),
    /// Somebody in the queue goes away.
    Leave(usize),
    /// A ticket is given back.
    Release(usize),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// All who were woken are polled; or only some of them.
    Poll(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..4_u32).prop_map(Step::Come),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::Release),
        2 => (0..400_u64).prop_map(Step::Wait),
        4 => any::<usize>().prop_map(Step::Poll),
    ];
    prop::collection::vec(step, 1..120)
}

type Waiting = VecDeque<(usize, Spawn<Acquire>)>;

/// Polls those who were woken, at most `most`; in any order, as an executor may.
fn poll_woken(waiting: &mut Waiting, most: usize, held: &mut Vec<Ticket>) {
    let mut polled = 0;
    while polled < most {
        let Some(at) = waiting.iter().rposition(|(_, task)| task.is_woken()) else { return };
        polled += 1;
        if let std::task::Poll::Ready(result) = waiting[at].1.poll() {
            let (name, _) = waiting.remove(at).unwrap();
            // Who stands before it has been granted too, and has yet to hear of it.
            let before = waiting.iter().take_while(|(other, _)| *other < name);
            assert!(before.clone().all(|(_, task)| task.is_woken()), "{name} overtook");
            held.push(result.expect("nobody is in a hurry"));
        }
    }
}

async fn story(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(5));
    let pace = limits.budget("pace", Budget::rolling(10, Duration::from_secs(1)).even());
    let limiter = limits.max_wait(Duration::from_secs(86_400)).build().unwrap();
    let (mut waiting, mut held) = (Waiting::new(), vec![]);
    let mut came = 0;
    for step in steps {
        match step {
            Step::Come(n) => {
                let charge = Charge::new().with(places, n).with(pace, n);
                let mut task = task::spawn(limiter.acquire(charge, None));
                match task.poll() {
                    std::task::Poll::Ready(result) => {
                        prop_assert_eq!(limiter.status().waiting, 0, "overtook those who wait");
                        held.push(result.unwrap());
                    }
                    std::task::Poll::Pending => waiting.push_back((came, task)),
                }
                came += 1;
            }
            Step::Leave(at) if !waiting.is_empty() => {
                waiting.remove(at % waiting.len());
            }
            Step::Release(at) if !held.is_empty() => {
                drop(held.swap_remove(at % held.len()));
            }
            Step::Wait(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
            Step::Poll(at) => poll_woken(&mut waiting, at % 4, &mut held),
            Step::Leave(_) | Step::Release(_) => {}
        }
    }
    // With everything given back and time to go, nobody is left behind.
    for _ in 0..2_000 {
        held.clear();
        poll_woken(&mut waiting, usize::MAX, &mut held);
        if waiting.is_empty() {
            break;
        }
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    prop_assert!(waiting.is_empty(), "{} were forgotten", waiting.len());
    held.clear();
    prop_assert_eq!(limiter.status().waiting, 0);
    prop_assert_eq!(limiter.status().budgets[0].used, 0);
    prop_assert_eq!(limiter.status().budgets[1].used, 0, "all were given back unsent");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nobody_overtakes_and_nobody_is_forgotten(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(story(steps))?;
    }
}
