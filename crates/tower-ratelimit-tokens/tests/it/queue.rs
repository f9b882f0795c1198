//! Waiting: order, deadlines, dropping, the gate.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower_ratelimit_tokens::{
    Admission, AnchoredClock, Budget, BudgetId, Charge, GateReason, Limiter, LimiterBuilder,
    Observation, RefusedKind, Settle, Ticket,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// One unit at once, one more each 100 ms.
fn pace() -> (LimiterBuilder, Charge) {
    let mut limits = Limiter::builder();
    let pace = limits.budget("pace", Budget::bucket(1, 10, SECOND));
    (limits, Charge::new().with(pace, 1))
}

fn places(n: u64) -> (Limiter, Charge, BudgetId) {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(n));
    (limits.build().unwrap(), Charge::new().with(places, 1), places)
}

#[tokio::test(start_paused = true)]
async fn waiters_go_in_the_order_in_which_they_came() {
    let (limits, one) = pace();
    let limiter = limits.build().unwrap();
    limiter.try_acquire(one, None).unwrap().answered(Instant::now(), Settle::Keep);
    let mut first = task::spawn(limiter.acquire(one, None));
    let mut second = task::spawn(limiter.acquire(one, None));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    advance(101 * MS).await;
    assert!(first.is_woken());
    assert!(!second.is_woken(), "only the first has a timer");
    assert_pending!(second.poll(), "not even if it is polled first");
    assert_ready_ok!(first.poll()).answered(Instant::now(), Settle::Keep);
    // It keeps the time since it was polled.
    assert!(!second.is_woken());
    advance(101 * MS).await;
    assert_ready_ok!(second.poll()).answered(Instant::now(), Settle::Keep);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait() {
    let (limiter, one, places) = places(2);
    let both = Charge::new().with(places, 2);
    let held = limiter.try_acquire(one, None).unwrap();
    let mut heavy = task::spawn(limiter.acquire(both, None));
    assert_pending!(heavy.poll());
    // One place is free, but it is not the newcomer's turn.
    limiter.try_acquire(one, None).unwrap_err();
    let mut light = task::spawn(limiter.acquire(one, None));
    assert_pending!(light.poll());
    drop(held);
    assert_pending!(light.poll());
    let ticket = assert_ready_ok!(heavy.poll());
    drop(ticket);
    assert!(light.is_woken());
    drop(assert_ready_ok!(light.poll()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_gives_its_place_to_the_next() {
    let (limiter, one, _) = places(1);
    let held = limiter.try_acquire(one, None).unwrap();
    let mut waiters: Vec<_> = (0..5).map(|_| task::spawn(limiter.acquire(one, None))).collect();
    for waiter in &mut waiters {
        assert_pending!(waiter.poll());
    }
    drop(waiters.remove(2)); // in the middle
    drop(waiters.remove(3)); // the last
    drop(waiters.remove(0)); // the first, before there is room
    drop(held);
    assert!(waiters[0].is_woken());
    drop(waiters.remove(0)); // the first, after it was woken
    assert!(waiters[0].is_woken(), "the wake went on to the next");
    let ticket = assert_ready_ok!(waiters[0].poll());
    assert_eq!(limiter.status().waiting, 0);
    drop(ticket);
    drop(limiter.try_acquire(one, None).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let (limits, one) = pace();
    let limiter = limits.max_waiting(2).build().unwrap();
    limiter.try_acquire(one, None).unwrap().answered(Instant::now(), Settle::Keep);
    let mut waiting: Vec<_> = (0..2).map(|_| task::spawn(limiter.acquire(one, None))).collect();
    waiting.iter_mut().for_each(|waiter| assert_pending!(waiter.poll()));
    let refused = assert_ready_err!(task::spawn(limiter.acquire(one, None)).poll());
    assert_eq!(refused.kind(), RefusedKind::QueueFull);
    assert_eq!(refused.retry_after(), Some(300 * MS));
    waiting.pop();
    assert_pending!(task::spawn(limiter.acquire(one, None)).poll(), "a place is free again");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_in_time_is_refused_at_once() {
    let (limits, one) = pace();
    let limiter = limits.build().unwrap();
    limiter.try_acquire(one, None).unwrap().answered(Instant::now(), Settle::Keep);
    let mut waiting: Vec<_> = (0..4).map(|_| task::spawn(limiter.acquire(one, None))).collect();
    waiting.iter_mut().for_each(|waiter| assert_pending!(waiter.poll()));
    // Four stand before it: 500 ms at least.
    let start = Instant::now();
    let refused =
        assert_ready_err!(task::spawn(limiter.acquire(one, Some(start + 499 * MS))).poll());
    assert_eq!(refused.kind(), RefusedKind::DeadlineTooNear);
    assert_eq!(refused.budget(), Some("pace"));
    assert_eq!(refused.retry_at(), Some(start + 500 * MS));
    assert_eq!(
        refused.to_string(),
        "budget `pace` has no room before the call's deadline; refused here, nothing was sent; \
         try again in 500 ms"
    );
    assert_pending!(task::spawn(limiter.acquire(one, Some(start + 501 * MS))).poll());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_is_told_on_time() {
    let (limiter, one, _) = places(1);
    let _held = limiter.try_acquire(one, None).unwrap();
    let start = Instant::now();
    let mut first = task::spawn(limiter.acquire(one, None));
    assert_pending!(first.poll());
    let mut second = task::spawn(limiter.acquire(one, Some(start + 50 * MS)));
    assert_pending!(second.poll());
    // The timer is the first waiter's, and serves the deadlines of all.
    assert!(first.is_woken());
    assert_pending!(first.poll());
    advance(51 * MS).await;
    assert!(first.is_woken());
    assert_pending!(first.poll());
    assert!(second.is_woken());
    let refused = assert_ready_err!(second.poll());
    assert_eq!(refused.kind(), RefusedKind::DeadlineTooNear);
    assert_eq!(limiter.status().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_bounds_every_call() {
    let (limiter, one, _) = {
        let mut limits = Limiter::builder();
        let places = limits.budget("places", Budget::concurrency(1));
        (limits.max_wait(SECOND).build().unwrap(), Charge::new().with(places, 1), places)
    };
    let _held = limiter.try_acquire(one, None).unwrap();
    let start = Instant::now();
    let refused = limiter.acquire(one, Some(start + 60 * SECOND)).await.unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::DeadlineTooNear);
    assert!((SECOND..SECOND + 3 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_refused_and_blocks_nobody() {
    let (limiter, one, places) = places(3);
    let four = Charge::new().with(places, 4);
    let refused = limiter.acquire(four, None).await.unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::NeverFits);
    assert_eq!(refused.retry_at(), None);
    assert_eq!(limiter.would_admit(&four, None), Admission::Never { budget: Some(places) });
    drop(limiter.try_acquire(one, None).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_raised_limit_wakes_the_first() {
    let (limiter, one, places) = places(1);
    let held = limiter.try_acquire(one, None).unwrap();
    let mut waiter = task::spawn(limiter.acquire(one, None));
    assert_pending!(waiter.poll());
    limiter.set_limit(places, 2);
    assert!(waiter.is_woken());
    let second: Ticket = assert_ready_ok!(waiter.poll());
    limiter.set_limit(places, 1);
    drop(held);
    limiter.try_acquire(one, None).unwrap_err();
    drop(second);
    drop(limiter.try_acquire(one, None).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_everybody_and_is_never_shortened() {
    let (limiter, one, _) = places(10);
    let start = Instant::now();
    limiter.close_until(start + 5 * SECOND, GateReason::RetryAfter);
    limiter.close_until(start + SECOND, GateReason::Manual);
    let gate = limiter.status().gate.unwrap();
    assert_eq!((gate.reason, gate.opens_in), (GateReason::RetryAfter, 5 * SECOND));
    let refused = limiter.try_acquire(one, None).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::GateClosed);
    assert_eq!(refused.retry_after(), Some(5 * SECOND));
    // A call that costs nothing is held as well.
    drop(limiter.try_acquire(Charge::new(), None).unwrap_err());
    drop(limiter.acquire(one, None).await.unwrap());
    assert!((5 * SECOND..5 * SECOND + 3 * MS).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn those_who_cannot_wait_for_the_gate_hear_it_at_once() {
    let (limiter, one, _) = places(1);
    let held = limiter.try_acquire(one, None).unwrap();
    let start = Instant::now();
    let mut hurried = task::spawn(limiter.acquire(one, Some(start + 2 * SECOND)));
    let mut patient = task::spawn(limiter.acquire(one, Some(start + 20 * SECOND)));
    assert_pending!(hurried.poll());
    assert_pending!(patient.poll());
    limiter.close_until(start + 10 * SECOND, GateReason::Banned);
    assert!(hurried.is_woken());
    let refused = assert_ready_err!(hurried.poll());
    assert_eq!(refused.kind(), RefusedKind::GateClosed);
    assert_eq!(refused.retry_at(), Some(start + 10 * SECOND));
    // The one behind is the first now, and was told to set its timer.
    assert!(patient.is_woken());
    assert_pending!(patient.poll());
    drop(held);
    assert_pending!(patient.poll());
    advance(10 * SECOND + MS).await;
    assert!(patient.is_woken());
    drop(assert_ready_ok!(patient.poll()));
}

#[tokio::test(start_paused = true)]
async fn an_opened_gate_lets_no_herd_through() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(100, 2 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(burst, 1);
    let start = Instant::now();
    limiter.close_until(start + 10 * SECOND, GateReason::Burst);
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let acquire = limiter.acquire(one, None);
            tokio::spawn(async move {
                acquire.await.unwrap().answered(Instant::now(), Settle::Keep);
                Instant::now()
            })
        })
        .collect();
    let mut times = vec![];
    for call in calls {
        times.push(call.await.unwrap() - start);
    }
    assert!(times.is_sorted());
    assert!(times[0] >= 10 * SECOND);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= 18 * MS, "{pair:?}");
    }
    assert!(times[59] < 10 * SECOND + 59 * 22 * MS, "and none waits for long: {:?}", times[59]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_refusal_closes_the_gate_and_fills_the_window() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(100, 2 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(burst, 1);
    let mut ticket = limiter.try_acquire(one, None).unwrap();
    ticket.sent(Instant::now());
    let refused = Observation::Burst { budget: burst, retry_after: None };
    ticket.observed_one(Instant::now(), refused, Settle::Keep);
    let status = limiter.status();
    assert_eq!(status.gate.unwrap().opens_in, 2 * SECOND);
    assert_eq!(status.budgets[0].remaining, 0);
    assert_eq!(status.refusals.burst, 1);
    let start = Instant::now();
    drop(limiter.acquire(one, None).await.unwrap());
    assert!((2 * SECOND..2 * SECOND + 20 * MS).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_day_refuses_at_once_and_says_when() {
    let mut limits = Limiter::builder();
    let midnight = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let day = limits.budget("day", midnight);
    let clock = AnchoredClock::new("2026-11-23T20:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).build().unwrap();
    let list = Charge::new().with(day, 60);
    let start = Instant::now();
    limiter.try_acquire(list, None).unwrap().answered(start, Settle::Keep);
    let refused = limiter.acquire(list, None).await.unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::BudgetExhausted);
    assert_eq!(refused.retry_at(), Some(start + 4 * 3_600 * SECOND));
    assert_eq!(
        refused.to_string(),
        "budget `day` is exhausted; refused here, nothing was sent; try again in 14400 s"
    );
    // Cheaper calls still fit.
    limiter.try_acquire(Charge::new().with(day, 40), None).unwrap().answered(start, Settle::Keep);
    // Near the reset it is worth waiting.
    advance(4 * 3_600 * SECOND - 10 * SECOND).await;
    let waiting = Instant::now();
    drop(limiter.acquire(list, None).await.unwrap());
    assert!((10 * SECOND..10 * SECOND + 3 * MS).contains(&waiting.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_day_that_ends_are_refused_in_turn() {
    let mut limits = Limiter::builder();
    let day = limits.budget("day", Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()));
    let places = limits.budget("places", Budget::concurrency(1));
    let clock = AnchoredClock::new("2026-11-23T08:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).build().unwrap();
    let one = Charge::new().with(day, 1).with(places, 1);
    let mut held = limiter.try_acquire(one, None).unwrap();
    held.sent(Instant::now());
    let mut waiters: Vec<_> = (0..3).map(|_| task::spawn(limiter.acquire(one, None))).collect();
    waiters.iter_mut().for_each(|waiter| assert_pending!(waiter.poll()));
    // Free of the day: behind them, and not refused.
    let mut free = task::spawn(limiter.acquire(Charge::new().with(places, 1), None));
    assert_pending!(free.poll());
    let gone = Observation::Exhausted { budget: day, retry_after: Some(3_939 * SECOND) };
    held.observed_one(Instant::now(), gone, Settle::Keep);
    let reset = Instant::now() + 3_939 * SECOND;
    for waiter in &mut waiters {
        assert!(waiter.is_woken());
        let refused = assert_ready_err!(waiter.poll());
        assert_eq!(refused.kind(), RefusedKind::BudgetExhausted);
        assert_eq!(refused.retry_at(), Some(reset));
    }
    assert!(free.is_woken());
    drop(assert_ready_ok!(free.poll()));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_waiters_are_no_trouble() {
    const MANY: usize = 100_000;
    let (limiter, one, places) = {
        let mut limits = Limiter::builder();
        let places = limits.budget("places", Budget::concurrency(1));
        (limits.max_waiting(MANY).build().unwrap(), Charge::new().with(places, 1), places)
    };
    let held = limiter.try_acquire(one, None).unwrap();
    let mut waiters: Vec<_> =
        (0..MANY).map(|_| Some(task::spawn(limiter.acquire(one, None)))).collect();
    for waiter in waiters.iter_mut().flatten() {
        assert_pending!(waiter.poll());
    }
    assert_eq!(limiter.status().waiting, MANY);
    // Half of them leave, from all over the queue.
    for n in (0..MANY).step_by(2) {
        waiters[n] = None;
    }
    limiter.set_limit(places, MANY as u64);
    drop(held);
    let mut tickets = vec![];
    for waiter in waiters.iter_mut().flatten() {
        assert!(waiter.is_woken());
        tickets.push(assert_ready_ok!(waiter.poll()));
    }
    assert_eq!(tickets.len(), MANY / 2);
    assert_eq!(limiter.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn would_admit_says_when_and_what_binds_and_spends_nothing() {
    let mut limits = Limiter::builder();
    let slow = limits.budget("slow", Budget::bucket(10, 1, SECOND));
    let fast = limits.budget("fast", Budget::rolling(5, SECOND));
    let limiter = limits.build().unwrap();
    let charge = Charge::new().with(slow, 8).with(fast, 5);
    assert_eq!(limiter.would_admit(&charge, None), Admission::Now);
    assert_eq!(limiter.would_admit(&charge, None), Admission::Now, "nothing was spent");
    let start = Instant::now();
    limiter.try_acquire(charge, None).unwrap().answered(start, Settle::Keep);
    let when = Some(start + 6 * SECOND);
    assert_eq!(limiter.would_admit(&charge, None), Admission::At { when, budget: Some(slow) });
    let Admission::At { when: Some(when), budget } =
        limiter.would_admit(&Charge::new().with(fast, 1), None)
    else {
        panic!("the window is full")
    };
    assert_eq!(budget, Some(fast));
    assert!((SECOND..SECOND + 10 * MS).contains(&(when - start)));
}

#[tokio::test(start_paused = true)]
async fn even_lets_a_twentieth_out_at_once_and_then_one_at_a_time() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(100, 2 * SECOND).even());
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(burst, 1);
    let at_once = || {
        std::iter::from_fn(|| limiter.try_acquire(one, None).ok())
            .map(|ticket| ticket.answered(Instant::now(), Settle::Keep))
            .count()
    };
    assert_eq!(at_once(), 6);
    advance(20 * MS).await;
    assert_eq!(at_once(), 1);
    // A timer that is late loses nothing.
    advance(70 * MS).await;
    assert_eq!(at_once(), 3);
    advance(10 * MS).await;
    assert_eq!(at_once(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_dropped_after_sending_keeps_its_charge_and_not_its_place() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::bucket(100, 1, 60 * SECOND));
    let places = limits.budget("places", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    let charge = Charge::new().with(tokens, 10).with(places, 1);
    let used = || {
        let status = limiter.status();
        (status.budgets[0].used, status.budgets[1].used)
    };
    drop(limiter.try_acquire(charge, None).unwrap());
    assert_eq!(used(), (0, 0), "never sent");
    let mut ticket = limiter.try_acquire(charge, None).unwrap();
    ticket.sent(Instant::now());
    assert_eq!(used(), (10, 1));
    drop(ticket);
    assert_eq!(used(), (10, 0));
}
