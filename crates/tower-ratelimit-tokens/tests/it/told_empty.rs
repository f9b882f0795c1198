//! What the server says is left: believed at once, in whatever form, and not for
//! longer or shorter than it says.

use std::time::Duration;

use http::Response;
use tokio::time::{Instant, advance};
use tower_ratelimit_tokens::{
    Budget, BudgetId, Charge, Dialect, GenericDialect, Limiter, Observation, Settle, SystemClock,
};

const SECOND: Duration = Duration::from_secs(1);

/// How many of `n` calls are let through now.
fn admitted(limiter: &Limiter, one: Charge, n: usize) -> usize {
    let sent = (0..n).filter_map(|_| limiter.try_acquire(one, None).ok()).map(|mut ticket| {
        ticket.sent(Instant::now());
        ticket
    });
    sent.collect::<Vec<_>>().len()
}

/// One call that is answered with `remaining` and `reset`, in seconds from now.
fn told(limiter: &Limiter, budget: BudgetId, one: Charge, remaining: &str, reset: &str) {
    let mut ticket = limiter.try_acquire(one, None).unwrap();
    ticket.sent(Instant::now());
    let answer = Response::builder()
        .header("x-ratelimit-limit", "1000")
        .header("x-ratelimit-remaining", remaining)
        .header("x-ratelimit-reset", reset)
        .body(())
        .unwrap();
    let said = GenericDialect::x_ratelimit(budget).observe(&answer, &SystemClock);
    ticket.observed(Instant::now(), &said, Settle::Keep);
}

/// A budget of another kind admitted 89 more calls here.
#[tokio::test(start_paused = true)]
async fn after_empty_not_one_call_is_admitted_until_the_reset() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::fixed(1_000, 60 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(calls, 1);
    assert_eq!(admitted(&limiter, one, 10), 10);
    told(&limiter, calls, one, "0", "30");
    for _ in 0..29 {
        advance(SECOND).await;
        assert_eq!(admitted(&limiter, one, 100), 0);
    }
    advance(2 * SECOND).await;
    assert!(admitted(&limiter, one, 100) > 0);
}

/// One that took the seconds for an epoch admitted 1,000 of 1,000 here.
#[tokio::test(start_paused = true)]
async fn a_reset_in_seconds_from_now_is_not_one_of_1970() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::fixed(1_000, 60 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(calls, 1);
    told(&limiter, calls, one, "0", "45");
    assert_eq!(admitted(&limiter, one, 1_000), 0);
    let resets_in = limiter.status().budgets[0].resets_in.unwrap();
    assert!((44 * SECOND..=46 * SECOND).contains(&resets_in), "{resets_in:?}");
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_shut_until_the_time_that_the_server_names() {
    for budget in [
        Budget::rolling(10, SECOND),
        Budget::fixed(10, SECOND),
        Budget::bucket(10, 10, SECOND),
        Budget::concurrency(10),
    ] {
        let mut limits = Limiter::builder();
        let calls = limits.budget("calls", budget);
        let limiter = limits.build().unwrap();
        let one = Charge::new().with(calls, 1);
        let gone = |s| Observation::Exhausted { budget: calls, retry_after: Some(s * SECOND) };
        limiter.observe(&gone(20));
        limiter.observe(&gone(5));
        advance(19 * SECOND).await;
        let refused = limiter.try_acquire(one, None).unwrap_err();
        let left = refused.retry_after().unwrap();
        assert!(left <= SECOND, "never shortened, never lengthened: {left:?}");
        advance(2 * SECOND).await;
        assert!(limiter.try_acquire(one, None).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_fill_a_bucket_again() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::bucket(100, 1, 3_600 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(calls, 1);
    let mut tickets: Vec<_> = (0..2).map(|_| limiter.try_acquire(one, None).unwrap()).collect();
    tickets.iter_mut().for_each(|ticket| ticket.sent(Instant::now()));
    let left =
        |remaining| Observation::Level { budget: calls, limit: None, remaining, reset: None };
    let second = tickets.pop().unwrap();
    second.observed_one(Instant::now(), left(40), Settle::Keep);
    // The first was under way then, and may not be in that count.
    assert_eq!(limiter.status().budgets[0].remaining, 39);
    let first = tickets.pop().unwrap();
    first.observed_one(Instant::now(), left(90), Settle::Keep);
    assert_eq!(limiter.status().budgets[0].remaining, 39);
}
