//! What `build` refuses.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Problem, RefusedKind};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn everything_that_is_wrong_is_listed_at_once() {
    let mut limits = Limiter::builder();
    limits.budget("zero", Budget::rolling(0, SECOND));
    limits.budget("zero", Budget::fixed(1, Duration::ZERO));
    limits.budget("even", Budget::concurrency(1).even());
    limits.budget("leased", Budget::bucket(1, 1, SECOND).leased());
    limits.budget("refill", Budget::bucket(1, 0, SECOND));
    limits.budget("fine", Budget::rolling(1, SECOND).resolution(Duration::from_nanos(10)));
    let year = Duration::from_secs(400 * 86_400);
    let error = limits.max_wait(year).build().unwrap_err();
    let wrong = |budget: &str, setting| Problem::NotForThisKind { budget: budget.into(), setting };
    let expected = [
        Problem::MaxWait(year),
        Problem::Limit("zero".into()),
        Problem::DuplicateName("zero".into()),
        Problem::Window("zero".into()),
        wrong("even", "even"),
        wrong("leased", "leased"),
        Problem::Limit("refill".into()),
        Problem::Window("fine".into()),
    ];
    assert_eq!(error.problems(), expected);
    assert!(error.to_string().contains("two budgets are named `zero`; "));
}

#[test]
fn eight_budgets_are_the_most() {
    let budgets = |n: usize| {
        let mut limits = Limiter::builder();
        for name in 0..n {
            limits.budget(&name.to_string(), Budget::concurrency(1));
        }
        limits.build()
    };
    assert!(budgets(8).is_ok());
    assert_eq!(budgets(9).unwrap_err().problems(), [Problem::TooManyBudgets(9)]);
}

#[tokio::test(start_paused = true)]
async fn a_charge_on_a_budget_of_another_limiter_never_fits() {
    let mut big = Limiter::builder();
    big.budget("a", Budget::concurrency(1));
    let second = big.budget("b", Budget::concurrency(1));
    let mut small = Limiter::builder();
    small.budget("a", Budget::concurrency(1));
    let limiter = small.build().unwrap();
    let refused = limiter.try_acquire(Charge::new().with(second, 1), None).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::NeverFits);
}

#[test]
fn names_and_endpoints_are_found_again() {
    let mut limits = Limiter::builder();
    let midnight = Budget::calendar_day(1, TimeZone::UTC, Time::midnight());
    let day = limits.budget("day", midnight);
    let limiter = limits.build().unwrap();
    assert_eq!(limiter.budget_id("day"), Some(day));
    assert_eq!(limiter.budget_id("night"), None);
    assert!(limiter.lease(day).is_none(), "it is not leased");
    assert_eq!(limiter.endpoint("one"), limiter.endpoint("one"));
    assert_ne!(limiter.endpoint("one"), limiter.endpoint("two"));
    for n in 0..2_000 {
        let _ = limiter.endpoint(&n.to_string());
    }
    assert_eq!(limiter.status().endpoints.len(), 1_024);
}
