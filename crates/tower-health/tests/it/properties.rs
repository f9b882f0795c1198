//! What holds whatever happens in whatever order.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::time::{Instant, advance};
use tower_health::{Health, State, Verdict};

const WINDOW: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(20);
const BETTER_CALLS: u32 = 4;
const BETTER_FOR: Duration = Duration::from_secs(2);
const MIN_CALLS: usize = 5;

fn rank(state: State) -> u8 {
    match state {
        State::Unknown | State::Healthy => 0,
        State::Degraded => 1,
        State::Critical => 2,
        State::Unavailable => 3,
    }
}

async fn hold(steps: Vec<(u64, bool, u64)>) -> Result<(), TestCaseError> {
    let health = Health::builder("property")
        .window(WINDOW)
        .idle_after(IDLE)
        .min_calls(MIN_CALLS as u64)
        .hysteresis(BETTER_CALLS, BETTER_FOR)
        .build()
        .unwrap();
    let start = Instant::now();
    let mut outcomes: Vec<(Instant, bool)> = Vec::new();
    let mut calls_in_state = 0;
    for (wait, bad, took) in steps {
        advance(Duration::from_millis(wait)).await;
        let now = Instant::now();
        let before = health.report();
        let idle = outcomes.last().is_some_and(|(at, _)| *at + IDLE <= now);
        if idle {
            prop_assert_eq!(before.state, State::Unknown);
            calls_in_state = 0;
        }
        health.record(if bad { Verdict::Bad } else { Verdict::Good }, Duration::from_millis(took));
        outcomes.push((now, bad));
        calls_in_state += 1;
        let after = health.report();

        // The window holds at least nine tenths of its length, and at most all of it.
        let within =
            |length: Duration| outcomes.iter().filter(|(at, _)| now - *at < length).count() as u64;
        prop_assert!(
            after.calls >= within(WINDOW * 9 / 10) && after.calls <= within(WINDOW),
            "{:?}",
            now - start
        );
        prop_assert!(after.bad <= after.calls);
        prop_assert!(after.p50 <= after.p95 && after.p95 <= after.p99);

        let changed = after.changes != before.changes;
        prop_assert_eq!(changed, after.state != before.state);
        if changed && before.state != State::Unknown && rank(after.state) < rank(before.state) {
            // Better only after calls and time.
            prop_assert!(now - before.since >= BETTER_FOR);
            prop_assert!(calls_in_state >= BETTER_CALLS);
        }
        if rank(after.state) > 1 && changed && rank(after.state) > rank(before.state) {
            // Much worse only after enough calls.
            prop_assert!(after.calls >= MIN_CALLS as u64);
            prop_assert!(after.error_rate >= 0.5 || after.average > Duration::from_secs(10));
        }
        // What the figures say is never worse than what the state says.
        if after.calls >= MIN_CALLS as u64 {
            let seen = match after.error_rate {
                rate if rate >= 0.9 => 3,
                rate if rate >= 0.5 => 2,
                rate if rate >= 0.1 => 1,
                _ => 0,
            };
            prop_assert!(rank(after.state) >= seen, "{:?}", after);
        }
        if changed {
            calls_in_state = 0;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_score_keeps_its_word(
        steps in vec((0_u64..3_000, any::<bool>(), 0_u64..20_000), 1..80),
        lucky in 0_u32..4,
    ) {
        // From half of the calls bad to a sixteenth.
        let mut seen = 0_u32;
        let steps = steps.into_iter().map(|(wait, bad, took)| {
            seen = seen.wrapping_add(u32::from(bad));
            (wait * if wait % 97 == 0 { 10 } else { 1 }, bad && seen % (1 << lucky) == 0, took)
        });
        let steps: Vec<_> = steps.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(hold(steps))?;
    }
}
