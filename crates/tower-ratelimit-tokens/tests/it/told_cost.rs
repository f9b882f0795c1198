//! The server tells what a request has really cost.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::Instant;
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    AnchoredClock, BoxError, Budget, BudgetId, Charge, Limiter, Observation, Observations,
    OpenAiDialect, Outcome, Settle, ShopifyDialect, TokenLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn every_kind() -> (Limiter, [BudgetId; 4]) {
    let mut limits = Limiter::builder();
    let ids = [
        limits.budget("rolling", Budget::rolling(1_000, HOUR)),
        limits.budget("fixed", Budget::fixed(1_000, HOUR)),
        limits.budget("bucket", Budget::bucket(1_000, 1, HOUR)),
        limits.budget("day", Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight())),
    ];
    let start = "2026-11-23T12:00:00Z".parse().unwrap();
    (limits.wall_clock(AnchoredClock::new(start)).build().unwrap(), ids)
}

fn used(limiter: &Limiter, budget: BudgetId) -> u64 {
    limiter.status().budgets[budget.index()].used
}

/// What 100 units come to if the server says that it was `units`.
fn settled(units: u32, settle: Settle) -> [u64; 4] {
    let (limiter, ids) = every_kind();
    ids.map(|budget| {
        let ticket = limiter.try_acquire(Charge::new().with(budget, 100), None).unwrap();
        ticket.observed_one(Instant::now(), Observation::Cost { budget, units }, settle);
        used(&limiter, budget)
    })
}

#[tokio::test(start_paused = true)]
async fn the_charge_becomes_what_the_server_says() {
    for units in [0, 40, 100, 250] {
        assert_eq!(settled(units, Settle::Keep), [u64::from(units); 4], "{units}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_caller_stands_above_the_server() {
    assert_eq!(settled(40, Settle::Refund), [0; 4]);
    let (limiter, [rolling, fixed, ..]) = every_kind();
    let both = Charge::new().with(rolling, 100).with(fixed, 100);
    let mut said = Observations::none();
    said.push(Observation::Cost { budget: rolling, units: 40 });
    said.push(Observation::Cost { budget: fixed, units: 50 });
    // The caller says nothing of the second.
    let settle = Settle::Actual(Charge::new().with(rolling, 70));
    limiter.try_acquire(both, None).unwrap().observed(Instant::now(), &said, settle);
    assert_eq!((used(&limiter, rolling), used(&limiter, fixed)), (70, 50));
    assert_eq!(limiter.status().endpoints[0].spent[..2], [70, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_was_not_paid_is_not_charged() {
    let (limiter, [rolling, fixed, ..]) = every_kind();
    let ticket = limiter.try_acquire(Charge::new().with(rolling, 100), None).unwrap();
    ticket.observed_one(
        Instant::now(),
        Observation::Cost { budget: fixed, units: 40 },
        Settle::Keep,
    );
    limiter.observe(&Observation::Cost { budget: rolling, units: 7 });
    assert_eq!((used(&limiter, rolling), used(&limiter, fixed)), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_level_told_beside_the_cost_is_not_settled_again() {
    for (units, remaining) in [(40, 960), (250, 750)] {
        let (limiter, ids) = every_kind();
        for budget in &ids[1..] {
            let ticket = limiter.try_acquire(Charge::new().with(*budget, 100), None).unwrap();
            let mut said = Observations::none();
            said.push(Observation::Cost { budget: *budget, units });
            let (limit, reset) = (Some(1_000), None);
            said.push(Observation::Level { budget: *budget, limit, remaining, reset });
            ticket.observed(Instant::now(), &said, Settle::Keep);
            assert_eq!(used(&limiter, *budget), u64::from(units), "{budget:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_query_did_not_cost_is_there_for_the_next() {
    let mut limits = Limiter::builder();
    let points = limits.budget("points", Budget::bucket(1_000, 50, SECOND));
    let limiter = limits.max_wait(Duration::ZERO).build().unwrap();
    let answer = r#"{"data":{},"extensions":{"cost":{"requestedQueryCost":900,"actualQueryCost":46,
        "throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":954,"restoreRate":50.0}}}}"#;
    let mut api = TokenLimitLayer::new(limiter.clone(), Charge::new().with(points, 900))
        .dialect(ShopifyDialect::new().graphql(points))
        .layer(service_fn(|(): ()| async { Ok::<_, BoxError>(http::Response::new(answer)) }));
    for _ in 0..2 {
        api.ready().await.unwrap().call(()).await.unwrap();
        assert_eq!(used(&limiter, points), 46);
    }
}

#[tokio::test(start_paused = true)]
async fn usage_settles_the_estimate_unless_the_settler_knows_better() {
    let mut limits = Limiter::builder();
    let requests = limits.budget("requests", Budget::rolling(60, HOUR));
    let tokens = limits.budget("tokens", Budget::rolling(10_000, HOUR));
    let limiter = limits.build().unwrap();
    let charge = Charge::new().with(requests, 1).with(tokens, 500);
    let answer = r#"{"usage":{"prompt_tokens":13,"completion_tokens":5,"total_tokens":18}}"#;
    let server = service_fn(|(): ()| async { Ok::<_, BoxError>(http::Response::new(answer)) });
    let layer =
        TokenLimitLayer::new(limiter.clone(), charge).dialect(OpenAiDialect::new(requests, tokens));
    layer.clone().layer(server).oneshot(()).await.unwrap();
    assert_eq!((used(&limiter, requests), used(&limiter, tokens)), (1, 18));
    let settle = move |_: Outcome<'_, http::Response<&'static str>>| {
        Settle::Actual(Charge::new().with(tokens, 100))
    };
    layer.settle(settle).layer(server).oneshot(()).await.unwrap();
    assert_eq!((used(&limiter, requests), used(&limiter, tokens)), (2, 118));
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_count_as_a_request_and_cost_no_tokens() {
    let mut limits = Limiter::builder();
    let requests = limits.budget("requests", Budget::fixed(100, Duration::from_secs(60)));
    let tokens = limits.budget("tokens", Budget::fixed(1_000, Duration::from_secs(60)));
    let limiter = limits.build().unwrap();
    let charge = Charge::new().with(requests, 1).with(tokens, 50);
    let ticket = limiter.try_acquire(charge, None).unwrap();
    ticket.answered(Instant::now(), Settle::Exactly(Charge::new().with(requests, 1)));
    let used: Vec<u64> = limiter.status().budgets.iter().map(|budget| budget.used).collect();
    assert_eq!(used, [1, 0]);
}
