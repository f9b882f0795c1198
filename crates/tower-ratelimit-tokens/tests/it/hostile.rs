//! What servers and callers say that no sane one would.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    Acquire, AnchoredClock, BoxError, Budget, BudgetId, Charge, Dialect, Limiter, Observation,
    Observations, Outcome, RefusedKind, Settle, TokenLimitLayer, WallClock,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// One limiter with a budget of each kind that counts, ten units each.
fn every_kind() -> (Limiter, Vec<BudgetId>) {
    let mut limits = Limiter::builder();
    let ids = vec![
        limits.budget("rolling", Budget::rolling(10, SECOND)),
        limits.budget("even", Budget::rolling(10, SECOND).freed_by_answer(SECOND).even()),
        limits.budget("fixed", Budget::fixed(10, SECOND)),
        limits.budget("bucket", Budget::bucket(10, 10, SECOND)),
        limits.budget("day", Budget::calendar_day(10, TimeZone::UTC, Time::midnight())),
        limits.budget("learning", Budget::fixed(10, SECOND).learns_limit()),
    ];
    let start = "2026-11-23T12:00:00Z".parse().unwrap();
    (limits.wall_clock(AnchoredClock::new(start)).build().unwrap(), ids)
}

#[tokio::test(start_paused = true)]
async fn no_number_that_a_server_says_overflows_or_opens_a_budget() {
    for (limit, remaining) in
        [(Some(u64::MAX), 0), (Some(u64::MAX), u64::MAX), (Some(u64::MAX - 1), 1), (None, u64::MAX)]
    {
        let (limiter, ids) = every_kind();
        for budget in ids {
            let one = Charge::new().with(budget, 1);
            for _ in 0..3 {
                let reset = Some(Duration::MAX);
                let said = Observation::Level { budget, limit, remaining, reset };
                limiter.observe(&said);
                if let Ok(ticket) = limiter.try_acquire(one, None) {
                    ticket.observed_one(Instant::now(), said, Settle::Keep);
                }
            }
            if limit.is_some() && remaining == 0 {
                limiter.try_acquire(one, None).expect_err("everything is spent");
            }
            let _ = (limiter.status(), limiter.would_admit(&one, None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_number_that_a_caller_sets_overflows() {
    let (limiter, ids) = every_kind();
    for budget in ids {
        let one = Charge::new().with(budget, 1);
        let many = Charge::new().with(budget, u32::MAX);
        for used in [u64::MAX, u64::MAX - 1, 0] {
            limiter.set_used(budget, used);
            limiter.set_used(budget, used);
            let _ = limiter.try_acquire(one, None);
        }
        for limit in [u64::MAX, 0, 1, u64::MAX] {
            limiter.set_limit(budget, limit);
            for charge in [one, many] {
                if let Ok(ticket) = limiter.try_acquire(charge, None) {
                    ticket.answered(Instant::now(), Settle::Actual(many));
                }
                let _ = (limiter.status(), limiter.would_admit(&charge, None));
            }
        }
        limiter.observe(&Observation::Exhausted { budget, retry_after: Some(Duration::MAX) });
        limiter.observe(&Observation::Burst { budget, retry_after: Some(Duration::MAX) });
        let _ = (limiter.status(), limiter.would_admit(&one, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_low_water_mark_without_measure_asks_for_the_whole_day() {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(100, TimeZone::UTC, Time::midnight()).leased();
    let day = limits.budget("day", day.low_water(u64::MAX));
    let limiter = limits.build().unwrap();
    assert_eq!(limiter.lease(day).unwrap().wanted().await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_in_an_answer_is_no_limit_at_all() {
    let mut limits = Limiter::builder();
    let fixed = limits.budget("fixed", Budget::fixed(10, SECOND).learns_limit());
    let limiter = limits.build().unwrap();
    let said = Observation::Level { budget: fixed, limit: Some(0), remaining: 0, reset: None };
    limiter.observe(&said);
    let status = limiter.status();
    // Nothing is left, and the calls to come fit some day.
    assert_eq!((status.budgets[0].limit, status.budgets[0].remaining), (10, 0));
    advance(SECOND).await;
    limiter
        .try_acquire(Charge::new().with(fixed, 1), None)
        .unwrap()
        .answered(Instant::now(), Settle::Keep);
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_gone_for_no_time_is_gone_until_its_reset() {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let day = limits.budget("day", day);
    let start: Timestamp = "2026-11-23T23:00:00Z".parse().unwrap();
    let limiter = limits.wall_clock(AnchoredClock::new(start)).build().unwrap();
    let one = Charge::new().with(day, 1);
    limiter.try_acquire(one, None).unwrap().answered(Instant::now(), Settle::Keep);
    advance(MS).await;
    limiter.observe(&Observation::Exhausted { budget: day, retry_after: Some(Duration::ZERO) });
    advance(MS).await;
    let refused = limiter.try_acquire(one, None).expect_err("the server has said that it is gone");
    assert_eq!(refused.kind(), RefusedKind::BudgetExhausted);
    assert!(refused.retry_after() > Some(3_500 * SECOND));
}

/// Calls whose answer costs `n` less than they paid, without a dialect.
#[tokio::test(start_paused = true)]
async fn a_refund_of_yesterdays_call_frees_nothing_today() {
    for kind in ["fixed", "day"] {
        let mut limits = Limiter::builder();
        let budget = match kind {
            "fixed" => Budget::fixed(10, 3_600 * SECOND),
            _ => Budget::calendar_day(10, TimeZone::UTC, Time::midnight()),
        };
        let budget = limits.budget(kind, budget);
        let start: Timestamp = "2026-11-23T23:00:00Z".parse().unwrap();
        let limiter = limits.wall_clock(AnchoredClock::new(start)).build().unwrap();
        let cost = Charge::new().with(budget, 5);
        let settle = |_: Outcome<'_, ()>| Settle::Refund;
        let layer = TokenLimitLayer::new(limiter.clone(), cost).settle(settle);
        let mut slow = layer.layer(service_fn(|wait: Duration| async move {
            tokio::time::sleep(wait).await;
            Ok::<_, BoxError>(())
        }));
        let mut yesterday = task::spawn(slow.ready().await.unwrap().call(7_000 * SECOND));
        assert_pending!(yesterday.poll());
        advance(3_700 * SECOND).await;
        limiter.try_acquire(cost, None).unwrap().answered(Instant::now(), Settle::Keep);
        assert_eq!(limiter.status().budgets[0].used, 5, "{kind}");
        advance(3_400 * SECOND).await;
        assert_ready_ok!(yesterday.poll());
        assert_eq!(limiter.status().budgets[0].used, 5, "{kind}: today's call is still paid for");
    }
}

/// A task as a plain executor has it: its wakers own it.
struct Task(#[allow(dead_code, reason = "only dropped")] Told);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

struct Told(Limiter, Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.status();
        self.1.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_own_what_uses_the_limiter() {
    // A worker thread, as the lock would never be given back.
    let run = tokio::runtime::Handle::current();
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _inside = run.enter();
        let mut limits = Limiter::builder();
        let places = limits.budget("places", Budget::concurrency(1));
        let limiter = limits.build().unwrap();
        let one = Charge::new().with(places, 1);
        let _held = limiter.try_acquire(one, None).unwrap();
        let dropped = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let owner = |n: usize| {
            let told = Told(limiter.clone(), Arc::clone(&dropped[n]));
            Waker::from(Arc::new(Task(told)))
        };
        let mut first = Box::pin(limiter.acquire(one, None));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut moved = Box::pin(limiter.acquire(one, None));
        let poll = |future: &mut Pin<Box<Acquire>>, waker: Waker| {
            future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        };
        assert!(poll(&mut moved, owner(0)));
        // Polled by another task: the first task's waker is let go.
        assert!(poll(&mut moved, owner(1)));
        assert!(dropped[0].load(Ordering::SeqCst));
        drop(moved);
        assert!(dropped[1].load(Ordering::SeqCst));
        done.send(()).unwrap();
    });
    let waited = finished.recv_timeout(Duration::from_secs(10));
    assert!(waited.is_ok(), "a waker was dropped under the lock");
}

/// Where something panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Cost,
    Call,
    Settle,
    Dialect,
    Nowhere,
}

#[derive(Clone, Copy)]
struct Trap;

impl Dialect<At> for Trap {
    fn observe(&self, said: &At, _: &dyn WallClock) -> Observations {
        assert_ne!(*said, At::Dialect);
        Observations::none()
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_leaves_the_limiter_whole() {
    for (place, used_after) in [(At::Cost, 0), (At::Call, 1), (At::Settle, 1), (At::Dialect, 1)] {
        for wait in [false, true] {
            let mut limits = Limiter::builder();
            let burst = limits.budget("burst", Budget::rolling(2, SECOND).freed_by_answer(SECOND));
            let places = limits.budget("places", Budget::concurrency(1));
            let limiter = limits.build().unwrap();
            let both = Charge::new().with(burst, 1).with(places, 1);
            let cost = move |request: &At| {
                assert_ne!(*request, At::Cost);
                both
            };
            let settle = |outcome: Outcome<'_, At>| {
                assert!(!matches!(outcome, Ok(At::Settle)));
                Settle::Keep
            };
            let layer = TokenLimitLayer::new(limiter.clone(), cost).dialect(Trap).settle(settle);
            let service = layer.layer(service_fn(|request: At| {
                assert_ne!(request, At::Call);
                async move { Ok::<_, BoxError>(request) }
            }));
            let held =
                wait.then(|| limiter.try_acquire(Charge::new().with(places, 1), None).unwrap());
            let mut call = service.clone();
            let attempt = tokio::spawn(async move { call.call(place).await });
            tokio::task::yield_now().await;
            drop(held);
            assert!(attempt.await.unwrap_err().is_panic(), "{place:?}");
            let status = limiter.status();
            let used = |name| status.budget(name).unwrap().used;
            assert_eq!((used("burst"), used("places")), (used_after, 0), "{place:?}");
            assert_eq!(status.waiting, 0);
            assert_eq!(service.oneshot(At::Nowhere).await.unwrap(), At::Nowhere);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_set_to_nothing_refuses_all_and_one_raised_again_lets_them_through() {
    let (limiter, ids) = every_kind();
    for budget in ids {
        let one = Charge::new().with(budget, 1);
        let all = Charge::new().with(budget, 10);
        limiter.set_limit(budget, 10);
        limiter.set_used(budget, 10);
        let mut waiting: Vec<_> = (0..3).map(|_| task::spawn(limiter.acquire(one, None))).collect();
        let day = matches!(limiter.status().budgets[budget.index()].resets_in, Some(r) if r > 60 * SECOND);
        for waiter in &mut waiting {
            if day {
                assert_ready_err!(waiter.poll());
            } else {
                assert_pending!(waiter.poll());
            }
        }
        limiter.set_limit(budget, 0);
        if !day {
            for waiter in &mut waiting {
                assert!(waiter.is_woken(), "budget {budget:?}");
                let refused = assert_ready_err!(waiter.poll());
                assert_eq!(refused.kind(), RefusedKind::NeverFits);
            }
        }
        limiter.set_limit(budget, 30);
        assert_eq!(limiter.status().waiting, 0);
        advance(3 * SECOND).await;
        if !day {
            limiter.try_acquire(all, None).unwrap().answered(Instant::now(), Settle::Keep);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_refuses_a_wait_and_no_call_that_need_not_wait() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(places, 1);
    advance(SECOND).await;
    let past = Some(Instant::now() - SECOND);
    let held = assert_ready_ok!(task::spawn(limiter.acquire(one, past)).poll());
    let refused = assert_ready_err!(task::spawn(limiter.acquire(one, past)).poll());
    assert_eq!(refused.kind(), RefusedKind::DeadlineTooNear);
    assert_eq!(limiter.status().waiting, 0);
    drop(held);
}
