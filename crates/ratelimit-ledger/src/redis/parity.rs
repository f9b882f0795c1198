//! The script in Redis against the same in Rust: random exchanges at chosen times,
//! the same answers.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    Ask, CountLevel, Counted, Exchange, HeldUnits, Ledger, RedisLedger, SlotLevel, state::State,
};

#[path = "../../tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;

const START: u64 = 1_795_000_000_000_000;
const WINDOW: u64 = 2_000_000;

#[derive(Clone, Debug)]
struct Step {
    member: u8,
    wait: u64,
    want: u64,
    first: u64,
    held: u64,
    counting: Vec<(u64, u64, u64)>,
    level: Option<(u64, u64)>,
    spent: u64,
    period: bool,
    back: bool,
    even: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let counting = prop::collection::vec((0..400_000_u64, 0..3_000_000_u64, 0..20_u64), 0..6);
    let step = (
        (0..4_u8, 0..400_000_u64, 0..60_u64, 1..20_u64, 0..10_u64, counting),
        prop::option::weighted(0.3, (0..150_u64, 0..2_500_000_u64)),
        (0..200_u64, prop::bool::weighted(0.03), prop::bool::weighted(0.03), any::<bool>()),
    );
    let step = step.prop_map(|((member, wait, want, first, held, counting), level, rest)| {
        let (spent, period, back, even) = rest;
        // Now and then long enough for a member to die.
        let wait = if wait.is_multiple_of(17) { wait * 40 } else { wait };
        Step { member, wait, want, first, held, counting, level, spent, period, back, even }
    });
    prop::collection::vec(step, 1..60)
}

fn exchange(step: &Step, now: u64, seq: u64, period: u32) -> Exchange {
    let ask = |budget: &str, held_units| Ask {
        budget: budget.to_owned(),
        limit: 100,
        want: step.want,
        first: step.first,
        held: step.held,
        life: 500_000,
        ahead: 250_000,
        even: step.even,
        quiet: 1_500_000,
        held_units,
    };
    let counting = step.counting.iter().map(|&(start, ends_in, units)| Counted {
        dated: if start.is_multiple_of(3) { 0 } else { now + start },
        ends_in,
        units,
    });
    let slots = HeldUnits::Slots {
        window: WINDOW,
        transit: 300_000,
        counting: counting.collect(),
        level: step.level.map(|(counted, age)| SlotLevel {
            counted,
            age,
            late_at: [0, now, now + 1][counted as usize % 3],
        }),
    };
    let counts = HeldUnits::Counts {
        period: format!("2026-11-{period:02}"),
        ends_in: 3_600_000_000,
        spent: step.spent,
        settled: step.spent / 2,
        dead_after: 3_000_000,
        returned: step.member.is_multiple_of(2),
        level: step.level.map(|(counted, age)| CountLevel {
            counted,
            since: now - age,
            ours: counted / 3,
        }),
    };
    Exchange {
        member: format!("m{}", step.member),
        seq,
        nonce: "fresh".to_owned(),
        asks: vec![ask("burst", slots), ask("day", counts)],
    }
}

#[test]
fn the_script_in_redis_decides_as_the_state_in_rust() {
    let Some(server) = server::RedisServer::start("the script's comparison") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config::with_cases(150));
    let cases = std::cell::Cell::new(0);
    let url = server.url();
    let ledger = runtime.block_on(async { RedisLedger::new(&url, "-").unwrap() });
    runner
        .run(&steps(), |steps| {
            cases.set(cases.get() + 1);
            let ledger = RedisLedger { prefix: format!("case{}", cases.get()), ..ledger.clone() };
            let (mut now, mut period) = (START, 10);
            let mut state: Option<State> = None;
            for (seq, step) in steps.iter().enumerate() {
                now = if step.back { now - 50_000 } else { now + step.wait };
                period += u32::from(step.period);
                // Some are behind by a day.
                let of = if step.member == 3 && step.want.is_multiple_of(5) {
                    period - 1
                } else {
                    period
                };
                let asked = exchange(step, now, seq as u64 + 1, of);
                let state = state.get_or_insert_with(|| State::new(now, &asked.nonce, true));
                let expected = state.exchange(now, &asked).unwrap();
                let said = runtime.block_on(ledger.clone().at(now).exchange(&asked)).unwrap();
                prop_assert_eq!(&said, &expected, "step {}", seq);
            }
            Ok(())
        })
        .unwrap();
}
