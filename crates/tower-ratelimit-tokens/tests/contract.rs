//! The laws that every layer keeps.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tower::Layer;
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Outcome, Settle, TokenLimitLayer};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn with_room_in_every_budget() {
    tower_contract::check(
        || (),
        || (),
        |probe| {
            let mut limits = Limiter::builder();
            let rolling = Budget::rolling(1_000_000, SECOND).freed_by_answer(SECOND);
            let day = Budget::calendar_day(1_000_000, TimeZone::UTC, Time::midnight());
            let charge = Charge::new()
                .with(limits.budget("rolling", rolling), 1)
                .with(limits.budget("day", day), 10)
                .with(limits.budget("places", Budget::concurrency(100_000)), 1);
            let limiter = limits.build().unwrap();
            TokenLimitLayer::new(limiter, charge)
                .settle(|outcome: Outcome<'_, ()>| match outcome {
                    Ok(()) => Settle::Keep,
                    Err(_) => Settle::Refund,
                })
                .layer(probe)
        },
    )
    .await;
}

/// Nearly every call waits in the queue, so that the path through it keeps the
/// laws as well. A paused clock ends the waits at once.
#[tokio::test(start_paused = true)]
async fn with_a_queue_that_nearly_all_wait_in() {
    tower_contract::check(
        || (),
        || (),
        |probe| {
            let mut limits = Limiter::builder();
            let pace = limits.budget("pace", Budget::bucket(25, 25, SECOND));
            let limiter = limits.max_waiting(10_000).build().unwrap();
            TokenLimitLayer::new(limiter, Charge::new().with(pace, 1)).layer(probe)
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn switched_off() {
    tower_contract::check(
        || (),
        || (),
        |probe| {
            let mut limits = Limiter::builder();
            let none = limits.budget("places", Budget::concurrency(1));
            let charge = Charge::new().with(none, 2);
            let limiter = limits.build().unwrap();
            TokenLimitLayer::new(limiter, charge).enabled(false).layer(probe)
        },
    )
    .await;
}
