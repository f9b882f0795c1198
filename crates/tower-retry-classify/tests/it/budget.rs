//! Who pays for retries.

use std::time::Duration;

use crate::support::*;
use tower_retry_classify::{Backoff, Jitter, Quota, Reason, RetryBudget, RetryPolicy, Share};

fn policy(budget: &RetryBudget) -> RetryPolicy<Request, Response> {
    let backoff = Backoff::constant(Duration::from_millis(10)).jitter(Jitter::None);
    RetryPolicy::http().backoff(backoff).budget(budget.clone()).local(is_local).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_share_gives_its_reserve_and_a_part_of_the_requests() {
    let budget = RetryBudget::share(Share::FINAGLE.ratio(0.5).per_second(1).window(seconds(2)));
    let policy = policy(&budget);
    for left in [2, 3, 3, 4] {
        Script::new([status(200)]).run(&policy, get()).await.unwrap();
        assert_eq!(budget.available(), left);
    }
    let script = Script::new([status(500), status(500), status(200)]);
    script.run(&policy, get()).await.unwrap();
    // Five requests brought two and a half, the reserve two; two are spent.
    assert_eq!(budget.available(), 2);
    for _ in 0..2 {
        Script::new([status(200)]).run(&policy, get()).await.unwrap();
    }
    assert_eq!(budget.available(), 3);
    tokio::time::advance(seconds(2)).await;
    assert_eq!(budget.available(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_budget_serves_several_stacks() {
    for budget in [
        RetryBudget::new(Quota::AWS.capacity(10)),
        RetryBudget::share(Share::FINAGLE.ratio(0.0).per_second(2).window(seconds(1))),
    ] {
        let (one, other) = (policy(&budget), policy(&budget));
        let spent = Script::new([status(500), status(404)]);
        spent.run(&one, get()).await.unwrap();
        let script = Script::new([status(500), status(404)]);
        script.run(&other, get()).await.unwrap();
        let empty = Script::new([status(500), status(500), status(500)]);
        let outcome = empty.run(&one, get()).await;
        let why = tower_retry_classify::NotRetried::of(outcome.as_ref().unwrap()).unwrap();
        assert_eq!(why.reason(), Reason::Budget, "{budget:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_bought_before_it_waits() {
    for budget in [
        RetryBudget::new(Quota::AWS.capacity(10)),
        RetryBudget::share(Share::FINAGLE.ratio(0.0).per_second(2).window(seconds(1))),
    ] {
        let full = budget.available();
        let policy = policy(&budget);
        let script = Script::new([status(500)]);
        let mut call = tokio_test::task::spawn(script.run(&policy, get()));
        tokio_test::assert_pending!(call.poll());
        assert_eq!(budget.available(), full / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_gets_back_what_a_refused_retry_cost() {
    let share = Share::FINAGLE.ratio(0.0).per_second(1).window(seconds(30));
    let budget = RetryBudget::share(share);
    let script = Script::new([status(500), Err(Local.into())]);
    script.run(&policy(&budget), get()).await.unwrap();
    assert_eq!(budget.available(), 30);
    let script = Script::new([status(500), status(404)]);
    script.run(&policy(&budget), get()).await.unwrap();
    assert_eq!(budget.available(), 29);
}

#[tokio::test(start_paused = true)]
async fn retries_are_no_requests_to_a_share() {
    let share = Share::FINAGLE.ratio(1.0).per_second(0).window(seconds(60));
    let budget = RetryBudget::share(share);
    let script = Script::new([status(500), status(500)]);
    let outcome = script.run(&policy(&budget), get()).await.unwrap();
    assert_eq!(outcome.status(), 500);
    assert_eq!((script.calls(), budget.available()), (2, 0));
}
