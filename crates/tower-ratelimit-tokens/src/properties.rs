//! The pure types against naive models.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    Budget, BudgetId, Charge, Limiter, Observation, Observations, Settle,
    budget::{Fit, Sight, Slot},
    moment::{Nanos, nanos},
    rolling::Rolling,
    tally::Tally,
};

const MS: Nanos = 1_000_000;
const WINDOW: Duration = Duration::from_millis(200);
const TRANSIT: Duration = Duration::from_millis(50);

/// What happens next; numbers pick among what is possible.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Reserve(u64),
    Unreserve(usize),
    Send(usize),
    Answer(usize, Ending),
    /// The server counts a request, or others spend.
    Count(usize),
    Foreign(u64),
    Drop(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Keep,
    Refund,
    Less,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending =
        prop_oneof![3 => Just(Ending::Keep), 1 => Just(Ending::Refund), 1 => Just(Ending::Less)];
    let step = prop_oneof![
        4 => (0..60 * MS).prop_map(Step::Wait),
        6 => (1..4_u64).prop_map(Step::Reserve),
        1 => any::<usize>().prop_map(Step::Unreserve),
        6 => any::<usize>().prop_map(Step::Send),
        4 => (any::<usize>(), ending).prop_map(|(at, ending)| Step::Answer(at, ending)),
        4 => any::<usize>().prop_map(Step::Count),
        1 => (1..20_u64).prop_map(Step::Foreign),
        1 => any::<usize>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..200)
}

fn pick<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(at % list.len()))
}

/// Moments and amounts that the server counted, against every window.
fn most_in_any_window(mut counted: Vec<(Nanos, u64)>, window: Nanos) -> u64 {
    counted.sort_unstable();
    let ends = counted.iter().map(|&(end, _)| {
        // The window is closed at both ends: the strictest server.
        let inside = |&&(at, _): &&(Nanos, u64)| at <= end && end - at <= window;
        counted.iter().filter(inside).map(|&(_, n)| n).sum()
    });
    ends.max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the order of reserving, sending, answers and drops, and whenever
    /// the server counts between sending and answer, no window holds too much.
    #[test]
    fn no_window_ever_holds_more_than_the_limit(
        steps in steps(), even: bool, by_answer: bool, limit in 4..20_u64, late: bool, sparse: bool,
    ) {
        let transit = by_answer.then_some(TRANSIT);
        let mut rolling = Rolling::new(limit, WINDOW, transit, even, WINDOW / 64, sparse);
        let (mut now, mut reserved, mut sent, mut counted) = (0, vec![], vec![], vec![]);
        for step in steps {
            match step {
                Step::Wait(time) => now += time,
                Step::Reserve(n) if rolling.room(now, n) => {
                    rolling.reserve(now, n);
                    reserved.push(n);
                }
                Step::Unreserve(at) => {
                    if let Some(n) = pick(&mut reserved, at) {
                        rolling.unreserve(n);
                    }
                }
                Step::Send(at) => {
                    if let Some(n) = pick(&mut reserved, at) {
                        let mark = rolling.sent(now, n);
                        sent.push(Slot { n, sent_at: now, seq: 1, mark, taking: 0, tracked: true });
                    }
                }
                Step::Answer(at, ending) => {
                    let Some(slot) = pick(&mut sent, at) else { continue };
                    let actual = match ending {
                        Ending::Keep => slot.n,
                        Ending::Refund => 0,
                        Ending::Less => slot.n / 2,
                    };
                    rolling.answered(now, &slot, actual);
                    // Counted as early or as late as it can have been.
                    let latest = now.min(slot.sent_at + nanos(TRANSIT));
                    let at = if late && by_answer { latest } else { slot.sent_at };
                    counted.push((at, actual));
                }
                Step::Drop(at) => {
                    let Some(slot) = pick(&mut sent, at) else { continue };
                    let latest = slot.sent_at + nanos(TRANSIT);
                    counted.push((if late && by_answer { latest } else { slot.sent_at }, slot.n));
                }
                Step::Reserve(_) | Step::Count(_) | Step::Foreign(_) => {}
            }
        }
        prop_assert!(most_in_any_window(counted, nanos(WINDOW)) <= limit);
    }

    /// What was never sent or is refunded leaves no trace.
    #[test]
    fn a_rolling_refund_is_exact(sparse: bool, amounts in prop::collection::vec((1..5_u64, any::<bool>()), 1..50)) {
        let mut rolling = Rolling::new(1_000, WINDOW, Some(TRANSIT), false, WINDOW / 64, sparse);
        let mut slots = vec![];
        for &(n, send) in &amounts {
            rolling.reserve(0, n);
            if send {
                let mark = rolling.sent(0, n);
                slots.push(Slot { n, sent_at: 0, seq: 1, mark, taking: 0, tracked: true });
            }
        }
        prop_assert_eq!(rolling.seen(MS), amounts.iter().map(|&(n, _)| n).sum::<u64>());
        for slot in &slots {
            rolling.answered(MS, slot, 0);
        }
        for &(n, _) in amounts.iter().filter(|&&(_, send)| !send) {
            rolling.unreserve(n);
        }
        prop_assert_eq!(rolling.seen(MS), 0);
    }

    /// Nobody sleeps past the moment at which there is room beside what others have spent and
    /// are expected to.
    #[test]
    fn room_beside_others_is_told_no_later_than_it_is_there(
        spent in prop::collection::vec((0..90 * MS, 1..4_u64, 0..25_u64), 1..40), limit in 4..20_u64, wanted in 1..20_u64,
        sparse: bool,
    ) {
        let mut rolling = Rolling::new(limit, WINDOW, None, false, WINDOW / 64, sparse);
        let mut now = 0;
        for (wait, ours, others) in spent {
            now += wait;
            if rolling.room(now, ours) {
                rolling.spend(now, ours);
            }
            let counted = (rolling.seen(now) + others).min(limit);
            rolling.level(now, None, counted);
        }
        let wanted = wanted.min(limit);
        let fit = rolling.when(now, wanted, 0, Sight::Likely);
        let step = nanos(WINDOW / 64).next_power_of_two() / 2;
        let mut moments = (0..).map(|ticks| if ticks == 0 { now } else { ((now / step) + ticks) * step });
        let first = moments.find(|&at| rolling.room(at, wanted)).expect("nothing is spent for ever");
        match fit {
            Fit::Now => prop_assert_eq!(first, now),
            Fit::At(at) => prop_assert!(now < at && at <= first, "told {at}, there at {first}, now {now}"),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// Against a server that counts exactly, in any order: never below the truth
    /// while nobody else spends, and the server's own number when all is answered.
    #[test]
    fn a_days_count_is_never_too_low_and_exact_when_quiet(steps in steps(), others: bool, drops: bool) {
        const LIMIT: u64 = 1_000_000;
        let mut tally = Tally::new(LIMIT);
        let (mut now, mut seq, mut server) = (10_000 * MS, 0, 0);
        // Sent and not counted; counted and not answered, with the server's count.
        let (mut sent, mut counted): (Vec<Slot>, Vec<(Slot, u64)>) = (vec![], vec![]);
        // Dropped by us and still on the way, until then at the latest.
        let mut late: Vec<(u64, Nanos)> = vec![];
        let answer = |tally: &mut Tally, (slot, count): (Slot, u64)| {
            let settled = tally.level(Some(&slot), count);
            tally.answered(&slot, slot.n, settled);
        };
        for step in steps {
            match step {
                Step::Wait(time) => {
                    now += time;
                    late.retain(|&(n, until)| {
                        let arrived = until <= now;
                        server += if arrived { n } else { 0 };
                        !arrived
                    });
                }
                Step::Reserve(n) if sent.len() + counted.len() < 12 => {
                    seq += 1;
                    tally.reserve(n);
                    let mark = tally.sent(now, n, seq, true);
                    sent.push(Slot { n, sent_at: now, seq, mark, taking: 0, tracked: true });
                }
                Step::Count(at) => {
                    if let Some(slot) = pick(&mut sent, at) {
                        server += slot.n;
                        counted.push((slot, server));
                    } else if let Some((n, _)) = pick(&mut late, at) {
                        server += n;
                    }
                }
                Step::Answer(at, Ending::Refund) => {
                    // Refused somewhere inside: it never reached the server.
                    if let Some(slot) = pick(&mut sent, at) {
                        tally.answered(&slot, 0, false);
                    }
                }
                Step::Answer(at, _) => {
                    if let Some(answered) = pick(&mut counted, at) {
                        answer(&mut tally, answered);
                    }
                }
                Step::Drop(at) if drops => {
                    if let Some(slot) = pick(&mut sent, at) {
                        tally.lose(now, &slot);
                        let until = slot.sent_at + 1_000 * MS;
                        if until > now {
                            late.push((slot.n, until));
                        } else {
                            server += slot.n;
                        }
                    } else if let Some((slot, _)) = pick(&mut counted, at) {
                        tally.lose(now, &slot);
                    }
                }
                Step::Foreign(n) if others => server += n,
                _ => {}
            }
            let on_the_way = sent.iter().map(|slot| slot.n).chain(late.iter().map(|&(n, _)| n));
            let truth = server + on_the_way.sum::<u64>();
            if !others {
                prop_assert!(tally.committed() >= truth, "{} below {truth}", tally.committed());
            }
        }
        while let Some(slot) = sent.pop() {
            server += slot.n;
            counted.push((slot, server));
        }
        while let Some(answered) = counted.pop() {
            answer(&mut tally, answered);
        }
        server += late.drain(..).map(|(n, _)| n).sum::<u64>();
        if !drops && !others && seq > 0 {
            prop_assert_eq!(tally.committed(), server);
        }
        // One more request alone, long after, tells the truth in any case.
        now += 3_000 * MS;
        let mark = tally.sent(now, 7, seq + 1, true);
        server += 7;
        let slot = Slot { n: 7, sent_at: now, seq: seq + 1, mark, taking: 0, tracked: true };
        answer(&mut tally, (slot, server));
        prop_assert_eq!(tally.committed(), server);
        prop_assert!(others || tally.foreign() == 0, "nobody else was there");
    }

    /// A charge that one budget refuses leaves every budget as it was.
    #[test]
    fn charges_are_paid_from_all_budgets_or_from_none(
        limits in prop::collection::vec(1..12_u64, 5),
        charges in prop::collection::vec((prop::collection::vec(0..6_u32, 5), 0..4_u8), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _context = runtime.enter();
        let mut builder = Limiter::builder();
        let second = Duration::from_secs(1);
        let ids: Vec<BudgetId> = limits.iter().enumerate().map(|(n, &limit)| {
            let budget = match n {
                0 => Budget::rolling(limit, second),
                1 => Budget::fixed(limit, second),
                2 => Budget::bucket(limit, 1, second),
                3 => Budget::concurrency(limit),
                _ => Budget::calendar_day(limit, jiff::tz::TimeZone::UTC, jiff::civil::Time::midnight()),
            };
            builder.budget(&n.to_string(), budget)
        }).collect();
        let limiter = builder.build().unwrap();
        let used = || limiter.status().budgets.iter().map(|budget| budget.used).collect::<Vec<_>>();
        let mut tickets = vec![];
        for (amounts, then) in charges {
            let before = used();
            let charge = ids.iter().zip(&amounts).fold(Charge::new(), |c, (&id, &n)| c.with(id, n));
            let fits = ids.iter().all(|id| {
                let n = u64::from(charge.of(*id));
                n == 0 || before[id.index()] + n <= limits[id.index()]
            });
            let ticket = limiter.try_acquire(charge, None);
            prop_assert_eq!(ticket.is_ok(), fits);
            let Ok(mut ticket) = ticket else {
                prop_assert_eq!(used(), before);
                continue;
            };
            let after: Vec<u64> = before.iter().zip(&amounts).map(|(b, &n)| b + u64::from(n)).collect();
            prop_assert_eq!(used(), after);
            match then {
                0 => drop(ticket),
                1 => {
                    ticket.sent(Instant::now());
                    ticket.answered(Instant::now(), Settle::Refund);
                }
                2 => {
                    ticket.sent(Instant::now());
                    tickets.push(ticket);
                    continue;
                }
                _ => {
                    tickets.push(ticket);
                    continue;
                }
            }
            prop_assert_eq!(used(), before, "a refund is exact");
        }
    }
}

#[test]
fn eight_observations_fit_and_a_ninth_is_ignored() {
    let level =
        |remaining| Observation::Level { budget: BudgetId(0), limit: None, remaining, reset: None };
    let mut said = Observations::none();
    (0..9).for_each(|n| said.push(level(n)));
    assert_eq!(said.iter().copied().collect::<Vec<_>>(), (0..8).map(level).collect::<Vec<_>>());
}
