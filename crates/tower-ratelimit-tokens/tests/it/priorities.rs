//! Who goes first: urgency, age, reserves, shedding, a full queue.

use std::{task::Poll, time::Duration};

use tokio::time::{Instant, advance};
use tokio_test::{
    assert_pending,
    task::{self, Spawn},
};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, Limiter, LimiterBuilder, Priority, RefusedKind, Terms,
    Ticket, WhenFull,
};

const SECOND: Duration = Duration::from_secs(1);

/// One call per second, at once and then one after the other.
fn one_a_second(limits: LimiterBuilder) -> (Limiter, Charge) {
    let mut limits = limits;
    let calls = limits.budget("calls", Budget::bucket(1, 1, SECOND));
    let limiter = limits.build().unwrap();
    (limiter, Charge::new().with(calls, 1))
}

fn ask(limiter: &Limiter, charge: Charge, terms: impl Into<Terms>) -> Spawn<Acquire> {
    let mut task = task::spawn(limiter.acquire(charge, terms));
    assert_pending!(task.poll());
    task
}

fn level(n: u8) -> Priority {
    Priority::new(n)
}

/// Lets a second pass `times` times; returns who was granted in which.
async fn order(
    waiting: &mut Vec<(&'static str, Spawn<Acquire>)>,
    times: usize,
) -> Vec<&'static str> {
    let mut order = vec![];
    for _ in 0..times {
        advance(SECOND).await;
        while let Some(at) = waiting.iter().position(|(_, task)| task.is_woken()) {
            if let Poll::Ready(result) = waiting[at].1.poll() {
                let mut ticket = result.unwrap();
                ticket.sent(Instant::now());
                order.push(waiting.remove(at).0);
            }
        }
    }
    order
}

#[tokio::test(start_paused = true)]
async fn the_more_urgent_go_first_and_equals_in_the_order_in_which_they_came() {
    let (limiter, one) = one_a_second(Limiter::builder());
    let _spent = limiter.try_acquire(one, None).unwrap();
    let mut waiting = vec![
        ("low", ask(&limiter, one, Priority::LOW)),
        ("first", ask(&limiter, one, Priority::NORMAL)),
        ("second", ask(&limiter, one, Priority::NORMAL)),
        ("critical", ask(&limiter, one, Priority::CRITICAL)),
    ];
    assert_eq!(limiter.status().waiting_by_priority[5], 2);
    let order = order(&mut waiting, 4).await;
    assert_eq!(order, ["critical", "first", "second", "low"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_waited_long_stands_before_a_more_urgent_one() {
    let (limiter, one) = one_a_second(Limiter::builder().level_every(2 * SECOND));
    let _spent = limiter.try_acquire(one, None).unwrap();
    // Three levels apart: six seconds.
    let mut waiting = vec![("old", ask(&limiter, one, level(2)))];
    for n in 0..20 {
        waiting.push(("new", ask(&limiter, one, level(5))));
        let granted = order(&mut waiting, 1).await;
        let expected = if n == 6 { "old" } else { "new" };
        assert_eq!(granted, [expected], "in second {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_ageing_the_urgent_always_go_first() {
    let limits = Limiter::builder().level_every(Duration::MAX).max_wait(1_000 * SECOND);
    let (limiter, one) = one_a_second(limits);
    let _spent = limiter.try_acquire(one, None).unwrap();
    let mut waiting = vec![("old", ask(&limiter, one, level(2)))];
    for _ in 0..200 {
        waiting.push(("new", ask(&limiter, one, level(3))));
        assert_eq!(order(&mut waiting, 1).await, ["new"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_names_its_first_arrival_keeps_its_place() {
    let (limiter, one) = one_a_second(Limiter::builder());
    let first = Instant::now();
    let _spent = limiter.try_acquire(one, None).unwrap();
    advance(SECOND / 2).await;
    let mut waiting = vec![("newcomer", ask(&limiter, one, None))];
    waiting.push(("retry", ask(&limiter, one, Terms::new().arrived(Some(first)))));
    assert_eq!(order(&mut waiting, 2).await, ["retry", "newcomer"]);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_call_goes_at_once_where_less_urgent_ones_wait_for_a_heavier_share() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(10));
    let limiter = limits.build().unwrap();
    let n = |n| Charge::new().with(places, n);
    let _held = limiter.try_acquire(n(5), None).unwrap();
    let heavy = ask(&limiter, n(8), Priority::NORMAL);
    // The same urgency, light: it would delay the heavy one.
    assert!(limiter.try_acquire(n(1), Priority::NORMAL).is_err());
    assert!(limiter.try_acquire(n(1), Priority::HIGH).is_ok());
    drop(heavy);
    assert!(limiter.try_acquire(n(1), Priority::NORMAL).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_light_call_that_shares_nothing_with_those_who_wait_passes() {
    let mut limits = Limiter::builder();
    let lists = limits.budget("lists", Budget::concurrency(1));
    let searches = limits.budget("searches", Budget::concurrency(1));
    let all = limits.budget("all", Budget::concurrency(10));
    let limiter = limits.build().unwrap();
    let charge = |of: BudgetId| Charge::new().with(of, 1).with(all, 1);
    let _held = limiter.try_acquire(charge(lists), None).unwrap();
    let _waits = ask(&limiter, charge(lists), None);
    assert!(limiter.try_acquire(charge(searches), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_first_is_not_delayed_in_any_of_its_budgets() {
    let mut limits = Limiter::builder();
    let lists = limits.budget("lists", Budget::concurrency(1));
    let all = limits.budget("all", Budget::concurrency(4));
    let limiter = limits.build().unwrap();
    let held = limiter.try_acquire(Charge::new().with(lists, 1), None).unwrap();
    // It waits for a list, and will need all places.
    let mut first = ask(&limiter, Charge::new().with(lists, 1).with(all, 4), None);
    assert!(limiter.try_acquire(Charge::new().with(all, 1), None).is_err(), "would delay it");
    drop(held);
    assert!(matches!(first.poll(), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn who_yielded_to_the_first_goes_when_that_is_gone() {
    let mut limits = Limiter::builder();
    let lists = limits.budget("lists", Budget::concurrency(1));
    let all = limits.budget("all", Budget::concurrency(4));
    let limiter = limits.build().unwrap();
    let _held = limiter.try_acquire(Charge::new().with(lists, 1), None).unwrap();
    let first = ask(&limiter, Charge::new().with(lists, 1).with(all, 4), None);
    let mut yields = ask(&limiter, Charge::new().with(all, 1), None);
    drop(first);
    assert!(yields.is_woken());
    assert!(matches!(yields.poll(), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_reserve_is_for_the_urgent_alone_and_they_do_not_wait_behind_others() {
    let mut limits = Limiter::builder();
    let hour = Budget::fixed(10, 3_600 * SECOND).keep(0.2, Priority::HIGH);
    let hour = limits.budget("hour", hour);
    let limiter = limits.max_wait(7_200 * SECOND).build().unwrap();
    let one = Charge::new().with(hour, 1);
    let taken: Vec<Ticket> =
        (0..8).map(|_| limiter.try_acquire(one, Priority::NORMAL).unwrap()).collect();
    let mut batch = ask(&limiter, one, Priority::NORMAL);
    assert!(limiter.try_acquire(one, Priority::HIGH).is_ok());
    // One that waited first, and for long, does not bar the way to the reserve.
    advance(600 * SECOND).await;
    assert_pending!(batch.poll());
    assert!(limiter.try_acquire(one, Priority::HIGH).is_ok());
    drop(taken);
    assert!(matches!(batch.poll(), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn what_only_fits_with_the_reserve_is_refused_to_the_less_urgent() {
    let mut limits = Limiter::builder();
    let hour = Budget::fixed(10, 3_600 * SECOND).keep(0.5, Priority::HIGH);
    let hour = limits.budget("hour", hour);
    let limiter = limits.build().unwrap();
    let six = Charge::new().with(hour, 6);
    let refused = limiter.try_acquire(six, Priority::NORMAL).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::NeverFits);
    assert!(limiter.try_acquire(six, Priority::HIGH).is_ok());
}

#[tokio::test(start_paused = true)]
async fn shedding_refuses_the_less_urgent_and_those_of_them_who_wait() {
    let (limiter, one) = one_a_second(Limiter::builder());
    let _spent = limiter.try_acquire(one, None).unwrap();
    let mut low = ask(&limiter, one, Priority::LOW);
    let mut high = ask(&limiter, one, Priority::HIGH);
    limiter.shed(Priority::NORMAL, "the API is slow");
    let refused =
        tokio_test::assert_ready_err!(task::spawn(limiter.acquire(one, Priority::LOW)).poll());
    assert_eq!((refused.kind(), refused.reason()), (RefusedKind::Shed, Some("the API is slow")));
    assert!(refused.to_string().contains(": the API is slow; refused here"), "{refused}");
    assert_pending!(high.poll());
    let status = limiter.status().shedding.unwrap();
    assert_eq!((status.below, &*status.reason), (Priority::NORMAL, "the API is slow"));
    limiter.shed(Priority::LOWEST, "");
    assert_eq!(limiter.status().shedding, None);
    // It hears why it was refused, though that is over.
    let refused = tokio_test::assert_ready_err!(low.poll());
    assert_eq!((refused.kind(), refused.reason()), (RefusedKind::Shed, Some("the API is slow")));
    let _low = ask(&limiter, one, Priority::LOW);
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_watches_raises_and_lowers_the_level() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(4));
    let limiter = limits.build().unwrap();
    let crowded = limiter.clone();
    let watch = tokio::spawn(async move {
        crowded
            .shed_while(SECOND, |status| {
                (status.budgets[0].used >= 3).then(|| (Priority::HIGH, "crowded".into()))
            })
            .await;
    });
    let held = limiter.try_acquire(Charge::new().with(places, 3), None).unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(limiter.status().shedding.unwrap().below, Priority::HIGH);
    drop(held);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(limiter.status().shedding, None);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_the_newcomer_or_evicts_the_least_urgent() {
    for (when_full, evicts) in [(WhenFull::RefuseNewcomer, false), (WhenFull::EvictLowest, true)] {
        let (limiter, one) = one_a_second(Limiter::builder().max_waiting(2).when_full(when_full));
        let _spent = limiter.try_acquire(one, None).unwrap();
        let mut high = ask(&limiter, one, Priority::HIGH);
        let mut low = ask(&limiter, one, Priority::LOW);
        let mut same = task::spawn(limiter.acquire(one, Priority::LOW));
        assert!(same.poll().is_ready(), "nobody makes room for an equal");
        let mut urgent = task::spawn(limiter.acquire(one, Priority::CRITICAL));
        assert_eq!(urgent.poll().is_pending(), evicts);
        assert_eq!(low.is_woken(), evicts);
        if evicts {
            let Poll::Ready(Err(refused)) = low.poll() else { panic!("still waits") };
            assert_eq!(refused.kind(), RefusedKind::QueueFull);
            assert!(refused.retry_after().is_some());
        }
        assert_pending!(high.poll());
        assert_eq!(limiter.status().waiting, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_wait_is_refused_with_when_it_could_go() {
    let (limiter, one) = one_a_second(Limiter::builder());
    let _spent = limiter.try_acquire(one, None).unwrap();
    let mut task = task::spawn(limiter.acquire(one, Terms::new().no_wait()));
    let Poll::Ready(Err(refused)) = task.poll() else { panic!("waits") };
    assert_eq!(refused.retry_after(), Some(SECOND));
    assert_eq!(limiter.status().waiting, 0);
}

/// The heavy one beside twenty light loops, of which governor served none.
#[tokio::test(start_paused = true)]
async fn a_heavy_call_is_not_starved_by_twenty_light_loops() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::bucket(40, 100, SECOND));
    let limiter = limits.build().unwrap();
    limiter.set_used(calls, 40);
    let mut loops = tokio::task::JoinSet::new();
    let end = Instant::now() + 8 * SECOND;
    for cost in std::iter::once(40).chain([1; 20]) {
        let limiter = limiter.clone();
        loops.spawn(async move {
            let mut served = 0_u32;
            while Instant::now() < end {
                let charge = Charge::new().with(calls, cost);
                let mut ticket = limiter.acquire(charge, None).await.unwrap();
                ticket.sent(Instant::now());
                served += 1;
            }
            (cost, served)
        });
    }
    let served = loops.join_all().await;
    let heavy: u32 = served.iter().filter(|(cost, _)| *cost == 40).map(|(_, n)| n).sum();
    let light: u32 = served.iter().filter(|(cost, _)| *cost == 1).map(|(_, n)| n).sum();
    assert!(heavy >= 11, "the heavy one was served {heavy} times");
    assert!(heavy * 40 + light <= 40 + 802 + 60, "{heavy} x 40 + {light} is too much");
    assert!(heavy * 40 + light >= 780, "{heavy} x 40 + {light} left something unused");
}
