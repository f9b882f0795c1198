//! Nobody waits who could go, nobody is served out of turn, nobody is woken for
//! nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_test::{
    assert_pending, assert_ready_err, assert_ready_ok,
    task::{self, Spawn},
};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, GateReason, Limiter, Pace, Priority, RefusedKind, Settle,
    Terms,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn ask(limiter: &Limiter, charge: Charge, terms: impl Into<Terms>) -> Spawn<Acquire> {
    let mut task = task::spawn(limiter.acquire(charge, terms));
    assert_pending!(task.poll());
    task
}

/// Polls all that were woken until nobody is; returns who was let through.
fn settle(waiting: &mut [(&'static str, Spawn<Acquire>)]) -> Vec<&'static str> {
    let mut through = vec![];
    while let Some((name, task)) = waiting.iter_mut().find(|(_, task)| task.is_woken()) {
        if let Poll::Ready(Ok(ticket)) = task.poll() {
            through.push(*name);
            std::mem::forget(ticket);
        }
    }
    through
}

#[tokio::test(start_paused = true)]
async fn a_line_whose_new_head_waits_elsewhere_makes_way_for_those_behind() {
    let mut limits = Limiter::builder();
    let a = limits.budget("a", Budget::concurrency(6));
    let b = limits.budget("b", Budget::bucket(10, 1, SECOND));
    let limiter = limits.build().unwrap();
    limiter.set_used(b, 9);
    let came = Instant::now();
    advance(MS).await;
    let _held = limiter.try_acquire(Charge::new().with(a, 4), None).unwrap();
    let _heavy = ask(&limiter, Charge::new().with(a, 6).with(b, 1), None);
    let mut light = ask(&limiter, Charge::new().with(a, 1), None);
    // It came first, goes before the heavy one in its line, and waits for the other budget.
    let retry = Terms::default().arrived(Some(came));
    let _retry = ask(&limiter, Charge::new().with(a, 1).with(b, 10), retry);
    assert!(light.is_woken(), "nobody stands before it any more");
    drop(assert_ready_ok!(light.poll()));
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_room_for_the_first_goes_when_there_is_room_for_both() {
    let mut limits = Limiter::builder();
    let list = limits.budget("list", Budget::concurrency(1));
    let tokens = limits.budget("tokens", Budget::bucket(10, 10, SECOND));
    let limiter = limits.build().unwrap();
    let _held = limiter.try_acquire(Charge::new().with(list, 1), None).unwrap();
    limiter.set_used(tokens, 6);
    // The first waits for an answer; when that comes is not known.
    let first = ask(&limiter, Charge::new().with(list, 1).with(tokens, 4), None);
    let second = ask(&limiter, Charge::new().with(tokens, 1), None);
    let mut waiting = [("first", first), ("second", second)];
    assert_eq!(settle(&mut waiting), [""; 0]);
    advance(101 * MS).await;
    assert_eq!(settle(&mut waiting), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_room_for_the_first_goes_when_the_first_must_wait_for_long() {
    let mut limits = Limiter::builder();
    let list = limits.budget("list", Budget::concurrency(1));
    let hour = limits.budget("hour", Budget::bucket(1, 1, 3_600 * SECOND));
    let tokens = limits.budget("tokens", Budget::bucket(10, 1, 60 * SECOND));
    let limiter = limits.max_wait(7_200 * SECOND).build().unwrap();
    let held = limiter.try_acquire(Charge::new().with(list, 1), None).unwrap();
    limiter.set_used(tokens, 6);
    let all = Charge::new().with(list, 1).with(hour, 1).with(tokens, 4);
    let first = ask(&limiter, all, None);
    let second = ask(&limiter, Charge::new().with(tokens, 1), None);
    let mut waiting = [("first", first), ("second", second)];
    assert_eq!(settle(&mut waiting), [""; 0], "the answer may come at any moment");
    limiter.set_used(hour, 1);
    drop(held);
    assert_eq!(settle(&mut waiting), ["second"], "an hour is enough for another token");
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_in_several_budgets_goes_to_all_in_order() {
    let mut limits = Limiter::builder();
    let a = limits.budget("a", Budget::concurrency(9));
    let b = limits.budget("b", Budget::concurrency(6));
    let c = limits.budget("c", Budget::concurrency(2));
    let limiter = limits.build().unwrap();
    let charge = |n: [u32; 3]| Charge::new().with(a, n[0]).with(b, n[1]).with(c, n[2]);
    let held = limiter.try_acquire(charge([9, 0, 2]), None).unwrap();
    let first = ask(&limiter, charge([0, 1, 1]), level(3));
    let second = ask(&limiter, charge([0, 2, 1]), level(2));
    let third = ask(&limiter, charge([1, 4, 0]), level(1));
    let mut waiting = [("first", first), ("second", second), ("third", third)];
    settle(&mut waiting);
    // The third would leave the second too little of b.
    drop(held);
    assert_eq!(settle(&mut waiting), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn two_windows_that_turn_together_go_to_all_in_order() {
    let mut limits = Limiter::builder();
    let a = limits.budget("a", Budget::bucket(1, 1, SECOND));
    let b = limits.budget("b", Budget::bucket(1, 1, SECOND));
    let places = limits.budget("places", Budget::concurrency(1));
    let busy = limits.budget("busy", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    limiter.set_used(a, 1);
    limiter.set_used(b, 1);
    let of = |budget: BudgetId| Charge::new().with(budget, 1).with(places, 1);
    // Somebody else is the first of all, so that nobody leaves room for the second.
    let _held = limiter.try_acquire(Charge::new().with(busy, 1), None).unwrap();
    let mut waiting = [
        ("first", ask(&limiter, Charge::new().with(busy, 1), Priority::CRITICAL)),
        ("later", ask(&limiter, of(a), None)),
        ("sooner", ask(&limiter, of(b), Priority::HIGH)),
    ];
    assert_eq!(settle(&mut waiting), [""; 0]);
    advance(SECOND + MS).await;
    assert_eq!(settle(&mut waiting), ["sooner"]);
}

const fn level(n: u8) -> Priority {
    Priority::new(n)
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait_at_the_gate() {
    let mut limits = Limiter::builder();
    let a = limits.budget("a", Budget::concurrency(10));
    let b = limits.budget("b", Budget::concurrency(10));
    let limiter = limits.after_gate(SECOND, 60 * SECOND).build().unwrap();
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    let mut waits = ask(&limiter, Charge::new().with(a, 1), None);
    for _ in 0..5 {
        // The gate is open, and the timer of the one who waits has yet to be heard.
        advance(SECOND).await;
        let newcomer = Charge::new().with(b, 1);
        assert!(limiter.try_acquire(newcomer, None).is_err(), "overtaken");
    }
    drop(assert_ready_ok!(waits.poll()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_at_the_gate_for_longer_than_it_is_paced() {
    let mut limits = Limiter::builder();
    let a = limits.budget("a", Budget::concurrency(10));
    let limiter = limits.after_gate(100 * SECOND, 2 * SECOND).build().unwrap();
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    let start = Instant::now();
    let one = Charge::new().with(a, 1);
    let (first, second) = tokio::join!(limiter.acquire(one, None), limiter.acquire(one, None));
    drop((first.unwrap(), second.unwrap()));
    assert!(start.elapsed() < 4 * SECOND, "waited {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_held_back_for_longer_than_the_gate_is_closed_holds_nobody_up_there() {
    let mut limits = Limiter::builder();
    let steps = Pace::Steps([(0.0, 100 * SECOND)].into());
    let slow = limits.budget("slow", Budget::fixed(10, 3_600 * SECOND).pace(steps));
    let fast = limits.budget("fast", Budget::concurrency(10));
    let limiter = limits.after_gate(MS, SECOND).build().unwrap();
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    let start = Instant::now();
    let held_back = limiter.acquire(Charge::new().with(slow, 1), None);
    let behind = limiter.acquire(Charge::new().with(fast, 1), None);
    let held_back = async { (held_back.await.unwrap(), start.elapsed()) };
    let behind = async { (behind.await.unwrap(), start.elapsed()) };
    let ((_one, late), (_other, soon)) = tokio::join!(held_back, behind);
    assert!((100 * SECOND..101 * SECOND).contains(&late), "{late:?}");
    assert!(soon < 2 * SECOND, "{soon:?}");
}

#[tokio::test(start_paused = true)]
async fn shedding_lets_nobody_through_whom_it_turns_away() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::bucket(10, 1, SECOND));
    let limiter = limits.build().unwrap();
    let n = |n| Charge::new().with(tokens, n);
    limiter.set_used(tokens, 5);
    let mut heavy = ask(&limiter, n(8), Priority::LOW);
    let mut light = ask(&limiter, n(1), Priority::LOW);
    // There is room for the light one as soon as the heavy one is gone.
    limiter.shed(Priority::NORMAL, "enough");
    for task in [&mut heavy, &mut light] {
        assert!(task.is_woken());
        assert_eq!(assert_ready_err!(task.poll()).kind(), RefusedKind::Shed);
    }
    let status = limiter.status();
    assert_eq!((status.waiting, status.budgets[0].used, status.budgets[0].waiting), (0, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_shortens_another_budgets_period_wakes_those_who_wait_for_that() {
    use tower_ratelimit_tokens::Observation;
    let mut limits = Limiter::builder();
    let other = limits.budget("other", Budget::fixed(1, 100 * SECOND));
    let places = limits.budget("places", Budget::concurrency(5));
    let limiter = limits.after_gate(MS, MS).build().unwrap();
    limiter.set_used(other, 1);
    let first = ask(&limiter, Charge::new().with(other, 1), None);
    let mut waiting = [("first", first)];
    settle(&mut waiting);
    let asks = limiter.try_acquire(Charge::new().with(places, 1), None).unwrap();
    let said = Observation::Burst { budget: other, retry_after: Some(SECOND) };
    asks.observed_one(Instant::now(), said, Settle::Keep);
    settle(&mut waiting);
    for _ in 0..20 {
        advance(SECOND / 10).await;
        if settle(&mut waiting) == ["first"] {
            return;
        }
    }
    panic!("it waits for the end of the old period");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_keeps_the_time_is_not_woken_by_its_own_polls() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::bucket(1, 1, SECOND));
    let limiter = limits.build().unwrap();
    limiter.set_used(tokens, 1);
    let one = Charge::new().with(tokens, 1);
    let woken = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut alone: Pin<Box<Acquire>> = Box::pin(limiter.acquire(one, None));
    let mut poll = || alone.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "by itself");
    advance(SECOND + MS).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "by its timer");
    assert!(poll().is_ready());
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "after its end");
}

#[tokio::test(start_paused = true)]
async fn when_the_timekeeper_is_let_through_another_keeps_the_time_at_once() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(places, 1);
    let held = limiter.try_acquire(one, None).unwrap();
    let start = Instant::now();
    // The first keeps the time. It is let through and not polled.
    let mut first = ask(&limiter, one, None);
    let mut second = ask(&limiter, one, Some(start + SECOND));
    assert!(first.is_woken());
    assert_pending!(first.poll());
    drop(held);
    assert!(first.is_woken());
    assert!(second.is_woken(), "told to keep the time");
    assert_pending!(second.poll());
    advance(SECOND + MS).await;
    assert!(second.is_woken());
    assert_eq!(assert_ready_err!(second.poll()).kind(), RefusedKind::DeadlineTooNear);
}

#[tokio::test(start_paused = true)]
async fn a_timekeeper_that_sleeps_is_replaced_as_soon_as_anybody_acts() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::bucket(1, 1, SECOND));
    let other = limits.budget("other", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    limiter.set_used(tokens, 1);
    let one = Charge::new().with(tokens, 1);
    // Polled once and then forgotten, against what its documentation asks for.
    let sleeper = ask(&limiter, one, None);
    let mut second = ask(&limiter, one, None);
    assert!(!second.is_woken());
    advance(3 * SECOND).await;
    assert!(sleeper.is_woken() && !second.is_woken());
    // Any other call: it lets the sleeper through, and the second keeps the time.
    drop(limiter.acquire(Charge::new().with(other, 1), None).await.unwrap());
    assert!(second.is_woken());
    assert_pending!(second.poll());
    advance(SECOND).await;
    assert!(second.is_woken());
    drop(assert_ready_ok!(second.poll()));
}

/// Wakes by panicking.
struct Grenade;

impl Wake for Grenade {
    fn wake(self: Arc<Self>) {
        panic!("no executor any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_leaves_nobody_asleep() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(places, 1);
    let held = limiter.try_acquire(one.with(places, 2), None).unwrap();
    let grenade = Waker::from(Arc::new(Grenade));
    let mut bad = Box::pin(limiter.acquire(one, Priority::HIGH));
    assert!(bad.as_mut().poll(&mut Context::from_waker(&grenade)).is_pending());
    let mut good = ask(&limiter, one, None);
    let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(held)));
    assert!(thrown.is_err());
    assert!(good.is_woken());
    drop(assert_ready_ok!(good.poll()));
    drop(bad);
    assert_eq!(limiter.status().budgets[0].used, 0);
}
