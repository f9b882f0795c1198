//! Looking ahead: plans, forecasts, paces, warnings, costs that answers show.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tower_ratelimit_tokens::{
    Admission, AnchoredClock, Budget, BudgetId, Charge, Limiter, Observation, Pace, Priority,
    Settle, Ticket,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn day_of(limit: u64, change: impl FnOnce(Budget) -> Budget) -> (Limiter, BudgetId) {
    let mut limits = Limiter::builder();
    let day = change(Budget::calendar_day(limit, TimeZone::UTC, Time::midnight()));
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new("2026-11-25T00:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).max_wait(200 * HOUR).build().unwrap();
    (limiter, day)
}

async fn spend(limiter: &Limiter, charge: Charge) -> Ticket {
    let mut ticket = limiter.acquire(charge, None).await.unwrap();
    ticket.sent(Instant::now());
    ticket
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_it_costs_and_when_it_could_end() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(10, SECOND));
    let hour = limits.budget("hour", Budget::fixed(1_000, HOUR));
    let places = limits.budget("places", Budget::concurrency(4));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(burst, 1).with(hour, 10).with(places, 1);
    let plan = limiter.plan([(one, 50), (one, 0)]);
    assert_eq!((plan.calls, plan.fits_now()), (50, false));
    let hour = plan.budget("hour").unwrap();
    assert_eq!((hour.needed, hour.left, hour.never), (500, 1_000, false));
    assert_eq!(plan.budget("places").unwrap().ends, None);
    let ends = plan.ends.unwrap() - Instant::now();
    assert!((4 * SECOND..5 * SECOND).contains(&ends), "fifty at ten a second: {ends:?}");
    // And it is so.
    let start = Instant::now();
    for _ in 0..50 {
        drop(spend(&limiter, Charge::new().with(burst, 1)).await);
    }
    assert!(start.elapsed().abs_diff(ends) < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_plan_over_days_ends_days_later_and_one_that_never_fits_never() {
    let (limiter, day) = day_of(1_000, |day| day);
    let plan = limiter.plan([(Charge::new().with(day, 10), 250)]);
    let ends = plan.ends.unwrap() - Instant::now();
    assert!((48 * HOUR..48 * HOUR + SECOND).contains(&ends), "{ends:?}");
    let never = limiter.plan([(Charge::new().with(day, 1_001), 1)]);
    assert_eq!((never.ends, never.budget("day").unwrap().never), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_forecast_carries_the_last_hour_on() {
    let (limiter, day) = day_of(2_400, |day| day);
    let one = Charge::new().with(day, 1);
    assert_eq!(limiter.forecast(day), None);
    for _ in 0..360 {
        drop(spend(&limiter, one).await);
        advance(10 * SECOND).await;
    }
    // 360 an hour: 2,040 more last five hours and forty minutes.
    let forecast = limiter.forecast(day).unwrap();
    let gone = forecast.gone_at - Instant::now();
    let expected = Duration::from_secs(5 * 3_600 + 40 * 60);
    assert!(gone.abs_diff(expected) < 600 * SECOND, "{gone:?}");
    assert!(forecast.is_short() && forecast.over <= HOUR && forecast.spent > 300);
    advance(2 * HOUR).await;
    assert_eq!(limiter.forecast(day), None, "nothing is spent any more");
}

/// How long the whole of a small budget takes.
async fn time_for(limiter: &Limiter, day: BudgetId, n: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        drop(spend(limiter, Charge::new().with(day, 1)).await);
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_even_pace_spreads_a_day_over_the_day() {
    let (limiter, day) = day_of(240, |day| day.pace(Pace::Even));
    let took = time_for(&limiter, day, 120).await;
    assert!((11 * HOUR..13 * HOUR).contains(&took), "half of it takes {took:?}");
    let took = time_for(&limiter, day, 119).await;
    assert!((10 * HOUR..13 * HOUR).contains(&took), "the other half takes {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_predictive_pace_slows_down_only_what_would_not_last() {
    let (limiter, day) = day_of(2_400, |day| day.pace(Pace::Predictive));
    let one = Charge::new().with(day, 1);
    // Fifty an hour last two days: nobody is held up.
    for _ in 0..50 {
        assert_eq!(limiter.would_admit(&one, None), Admission::Now);
        drop(spend(&limiter, one).await);
        advance(72 * SECOND).await;
    }
    let took = time_for(&limiter, day, 1_000).await;
    assert!(took > 6 * HOUR, "a thousand at once would not last: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn steps_hold_each_call_back_by_what_has_been_used() {
    let mut limits = Limiter::builder();
    let hour = Budget::rolling(100, HOUR).pace(Pace::autotask());
    let hour = limits.budget("hour", hour);
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(hour, 1);
    let ms = |n| Duration::from_millis(n);
    for (used, expected) in [(0, 0), (49, 0), (50, 500), (74, 500), (75, 1_000), (99, 1_000)] {
        limiter.set_used(hour, used);
        let start = Instant::now();
        drop(limiter.acquire(one, None).await.unwrap());
        let took = start.elapsed();
        assert!((ms(expected)..=ms(expected + 2)).contains(&took), "at {used}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn costs_that_the_levels_show_are_proposed() {
    let (limiter, day) = day_of(10_000, |day| day);
    let list = limiter.endpoint("GET /deals");
    let charge = Charge::new().with(day, 10).at(list);
    let mut left = 10_000;
    for n in 0..20 {
        // The server takes twenty; now and then somebody else spends too.
        left -= 20 + if n % 6 == 5 { 7 } else { 0 };
        let said = Observation::Level { budget: day, limit: None, remaining: left, reset: None };
        spend(&limiter, charge).await.observed_one(Instant::now(), said, Settle::Keep);
    }
    let proposals = limiter.cost_proposals();
    let [proposal] = &proposals[..] else { panic!("{proposals:?}") };
    assert_eq!((&*proposal.endpoint, &*proposal.budget), ("GET /deals", "day"));
    assert_eq!((proposal.charged, proposal.actual), (10, 20));
    let report = limiter.quota_report(day);
    assert_eq!((&*report[0].name, report[0].calls), ("GET /deals", 20));
}

#[tokio::test(start_paused = true)]
async fn refusals_teach_a_limit_that_nobody_told_and_successes_unlearn_it() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::rolling(100, SECOND));
    let known = limits.budget("known", Budget::rolling(100, SECOND).learns_from_refusals(false));
    let limiter = limits.after_gate(Duration::ZERO, Duration::ZERO).build().unwrap();
    let limit = |n: usize| limiter.status().budgets[n].limit;
    let one = Charge::new().with(calls, 1).with(known, 1);
    // A server that takes sixty in a second.
    let (mut refused, mut passed) = (0, 0);
    for _ in 0..300 {
        for n in 0..100 {
            let Ok(mut ticket) = limiter.try_acquire(one, None) else { break };
            ticket.sent(Instant::now());
            if n < 60 {
                passed += 1;
                ticket.answered(Instant::now(), Settle::Keep);
            } else {
                refused += 1;
                let full = Observation::Burst { budget: calls, retry_after: None };
                ticket.observed_one(Instant::now(), full, Settle::Refund);
            }
        }
        advance(Duration::from_millis(1_010)).await;
    }
    assert!((50..=61).contains(&limit(0)), "{}", limit(0));
    assert_eq!(limit(1), 100, "switched off");
    assert!(refused < 15, "{refused} refusals");
    assert!(passed > 300 * 60 * 85 / 100, "{passed} passed");
}

#[tokio::test(start_paused = true)]
async fn an_outlook_reckons_with_urgency() {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::bucket(1, 1, SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(calls, 1);
    let _spent = limiter.try_acquire(one, None).unwrap();
    let mut waits: Vec<_> =
        (0..5).map(|_| tokio_test::task::spawn(limiter.acquire(one, Priority::NORMAL))).collect();
    for task in &mut waits {
        tokio_test::assert_pending!(task.poll());
    }
    let when = |priority: Priority| match limiter.would_admit(&one, priority) {
        Admission::At { when: Some(when), .. } => when - Instant::now(),
        other => panic!("{other:?}"),
    };
    assert_eq!(when(Priority::NORMAL), 6 * SECOND);
    assert_eq!(when(Priority::HIGH), SECOND);
}
