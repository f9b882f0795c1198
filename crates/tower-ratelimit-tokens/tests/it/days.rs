//! Calendar days on a paused clock, and leases.

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::{Time, date, time},
    tz::TimeZone,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, BudgetId, Charge, Limiter, Observation, Priority, RefusedKind, Settle,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

fn at(start: &str, budget: Budget) -> (Limiter, BudgetId) {
    let mut limits = Limiter::builder();
    let day = limits.budget("day", budget);
    let clock = AnchoredClock::new(start.parse::<Timestamp>().unwrap());
    (limits.wall_clock(clock).build().unwrap(), day)
}

fn spend(limiter: &Limiter, day: BudgetId, n: u32) {
    let ticket = limiter.try_acquire(Charge::new().with(day, n), None).unwrap();
    ticket.answered(Instant::now(), Settle::Keep);
}

fn used(limiter: &Limiter) -> u64 {
    limiter.status().budgets[0].used
}

fn resets_in(limiter: &Limiter) -> Duration {
    limiter.status().budgets[0].resets_in.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_day_begins_at_the_reset_of_its_zone() {
    let tallinn = TimeZone::get("Europe/Tallinn").unwrap();
    let budget = Budget::calendar_day(100, tallinn, time(6, 30, 0, 0));
    // 03:00 there: yesterday's day still runs, for three and a half hours.
    let (limiter, day) = at("2026-11-23T01:00:00Z", budget);
    spend(&limiter, day, 100);
    assert_eq!(resets_in(&limiter), 3 * HOUR + 30 * MINUTE);
    advance(3 * HOUR + 29 * MINUTE).await;
    assert_eq!(used(&limiter), 100);
    advance(MINUTE).await;
    assert_eq!(used(&limiter), 0);
    assert_eq!(resets_in(&limiter), 24 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn days_are_as_long_as_the_clocks_make_them() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let midnight = |limit| Budget::calendar_day(limit, berlin.clone(), Time::midnight());
    // Midnight of the spring change, and of the autumn change.
    let (spring, _) = at("2026-03-28T23:00:00Z", midnight(1));
    assert_eq!(resets_in(&spring), 23 * HOUR);
    let (autumn, _) = at("2026-10-24T22:00:00Z", midnight(1));
    assert_eq!(resets_in(&autumn), 25 * HOUR);
    // A reset at 02:30, which spring skips and autumn has twice.
    let half_past = Budget::calendar_day(1, berlin, time(2, 30, 0, 0));
    let (spring, _) = at("2026-03-29T00:00:00Z", half_past.clone());
    assert_eq!(resets_in(&spring), HOUR + 30 * MINUTE, "03:30 by the new time");
    let (autumn, _) = at("2026-10-25T00:00:00Z", half_past);
    assert_eq!(resets_in(&autumn), 30 * MINUTE, "the first of the two");
    advance(31 * MINUTE).await;
    assert_eq!(resets_in(&autumn), 25 * HOUR - MINUTE, "and not again at the second");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_at_the_reset_may_belong_to_the_new_day() {
    let budget = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let (limiter, day) = at("2026-11-23T23:59:59Z", budget);
    spend(&limiter, day, 50);
    let mut under_way = limiter.try_acquire(Charge::new().with(day, 7), None).unwrap();
    under_way.sent(Instant::now());
    advance(2 * SECOND).await;
    assert_eq!(used(&limiter), 7);
    // Its answer speaks of the day before: 43 left there.
    let level = Observation::Level { budget: day, limit: None, remaining: 43, reset: None };
    under_way.observed_one(Instant::now(), level, Settle::Keep);
    assert_eq!(used(&limiter), 7);
    // The next one tells the new day's number.
    let mut next = limiter.try_acquire(Charge::new().with(day, 10), None).unwrap();
    next.sent(Instant::now());
    let level = Observation::Level { budget: day, limit: None, remaining: 90, reset: None };
    next.observed_one(Instant::now(), level, Settle::Keep);
    assert_eq!(used(&limiter), 10);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_the_server_names_stands_above_the_calendars() {
    // We believe in midnight UTC; the server resets at 05:00.
    let budget = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let (limiter, day) = at("2026-11-23T03:00:00Z", budget);
    let mut ticket = limiter.try_acquire(Charge::new().with(day, 10), None).unwrap();
    ticket.sent(Instant::now());
    let gone = Observation::Exhausted { budget: day, retry_after: Some(2 * HOUR) };
    ticket.observed_one(Instant::now(), gone, Settle::Refund);
    let status = limiter.status();
    assert!(status.budgets[0].exhausted);
    assert_eq!((status.budgets[0].remaining, status.refusals.exhausted), (0, 1));
    let refused = limiter.try_acquire(Charge::new().with(day, 1), None).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::BudgetExhausted);
    assert_eq!(refused.retry_after(), Some(2 * HOUR));
    advance(2 * HOUR).await;
    spend(&limiter, day, 60);
    assert_eq!(used(&limiter), 60);
    assert!(!limiter.status().budgets[0].exhausted);
}

#[tokio::test(start_paused = true)]
async fn a_calendar_reset_right_after_the_servers_is_the_same_one() {
    let budget = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let (limiter, day) = at("2026-11-23T23:00:00Z", budget);
    let gone = Observation::Exhausted { budget: day, retry_after: Some(HOUR - 10 * SECOND) };
    limiter.observe(&gone);
    advance(HOUR - 10 * SECOND).await;
    spend(&limiter, day, 60);
    advance(20 * SECOND).await;
    assert_eq!(used(&limiter), 60, "no second day at midnight");
    advance(24 * HOUR).await;
    assert_eq!(used(&limiter), 0, "but the next one");
}

#[tokio::test(start_paused = true)]
async fn the_servers_limit_replaces_a_provisional_one() {
    let budget = Budget::calendar_day(100, TimeZone::UTC, Time::midnight());
    let told = |limiter: &Limiter, day| {
        let level =
            Observation::Level { budget: day, limit: Some(30_000), remaining: 29_000, reset: None };
        limiter.observe(&level);
        let status = limiter.status();
        (status.budgets[0].limit, status.budgets[0].used)
    };
    let (ours, day) = at("2026-11-23T00:00:00Z", budget.clone());
    assert_eq!(told(&ours, day), (100, 1_000));
    let (learns, day) = at("2026-11-23T00:00:00Z", budget.learns_limit());
    assert_eq!(told(&learns, day), (30_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn the_server_can_say_that_less_was_spent() {
    let budget = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight());
    let (limiter, day) = at("2026-11-23T00:00:00Z", budget);
    limiter.set_used(day, 900);
    let mut ticket = limiter.try_acquire(Charge::new().with(day, 10), None).unwrap();
    ticket.sent(Instant::now());
    let level = Observation::Level { budget: day, limit: None, remaining: 800, reset: None };
    ticket.observed_one(Instant::now(), level, Settle::Keep);
    let status = limiter.status();
    assert_eq!((status.budgets[0].used, status.budgets[0].drift), (200, -710));
}

fn leased() -> (Limiter, BudgetId) {
    let budget = Budget::calendar_day(100_000, TimeZone::UTC, Time::midnight()).leased();
    at("2026-11-23T12:00:00Z", budget)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_before_it_is_granted() {
    let (limiter, day) = leased();
    let lease = limiter.lease(day).unwrap();
    let mut call = task::spawn(limiter.acquire(Charge::new().with(day, 100), None));
    assert_pending!(call.poll());
    let mut wanted = task::spawn(lease.wanted());
    // Half a per cent of the limit twice, and what waits.
    let total = assert_ready!(wanted.poll());
    assert_eq!(total, 100 + 2 * 500);
    lease.grant(99);
    assert_pending!(call.poll());
    lease.grant(total);
    assert!(call.is_woken());
    let ticket = assert_ready_ok!(call.poll());
    assert_eq!((lease.used(), lease.granted()), (100, 1_100));
    drop(ticket);
}

#[tokio::test(start_paused = true)]
async fn more_is_asked_for_before_the_grant_is_used_up() {
    let (limiter, day) = leased();
    let lease = limiter.lease(day).unwrap();
    lease.grant(1_000);
    let mut wanted = task::spawn(lease.wanted());
    assert_pending!(wanted.poll());
    spend(&limiter, day, 500);
    assert!(!wanted.is_woken());
    spend(&limiter, day, 1);
    assert!(wanted.is_woken());
    assert_eq!(assert_ready!(wanted.poll()), 1_501);
    // The whole limit is the most that is ever asked for.
    lease.grant(100_000);
    spend(&limiter, day, 99_400);
    assert_pending!(task::spawn(lease.wanted()).poll());
}

#[tokio::test(start_paused = true)]
async fn a_new_day_begins_with_nothing_granted() {
    let (limiter, day) = leased();
    let lease = limiter.lease(day).unwrap();
    lease.grant(100_000);
    spend(&limiter, day, 40_000);
    let yesterday = lease.day();
    assert_eq!(yesterday, date(2026, 11, 23));
    let mut wanted = task::spawn(lease.wanted());
    assert_pending!(wanted.poll());
    advance(12 * HOUR).await;
    let mut call = task::spawn(limiter.acquire(Charge::new().with(day, 10), None));
    assert_pending!(call.poll());
    assert!(wanted.is_woken());
    assert_eq!(assert_ready!(wanted.poll()), 1_010);
    // A grant that was meant for the day before does not count.
    assert!(!lease.grant_for(yesterday, 100_000));
    assert_pending!(call.poll());
    assert!(lease.grant_for(date(2026, 11, 24), 1_010));
    assert!(call.is_woken());
    drop(assert_ready_ok!(call.poll()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_lease_over_midnight_is_seen_again() {
    let (limiter, day) = leased();
    let lease = limiter.lease(day).unwrap();
    advance(12 * HOUR - 10 * SECOND).await;
    let mut call = task::spawn(limiter.acquire(Charge::new().with(day, 10), None));
    assert_pending!(call.poll());
    advance(10 * SECOND).await;
    assert!(call.is_woken(), "the day has changed");
    assert_pending!(call.poll());
    lease.grant_for(date(2026, 11, 24), 1_000);
    drop(assert_ready_ok!(call.poll()));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_kept_of_the_day_and_not_of_what_is_granted() {
    let budget = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight());
    let budget = budget.leased().low_water(10).keep(0.5, Priority::HIGH);
    let (limiter, day) = at("2026-11-23T12:00:00Z", budget);
    let lease = limiter.lease(day).unwrap();
    lease.grant(100);
    let charge = |n| Charge::new().with(day, n);
    let take = |n, priority| limiter.try_acquire(charge(n), priority).map(drop);
    // Less than is kept has been granted, and yet there is room for anybody.
    assert!(take(100, Priority::LOW).is_ok());
    lease.grant(1_000);
    spend(&limiter, day, 450);
    assert!(take(50, Priority::LOW).is_ok());
    let refused = take(51, Priority::LOW).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::BudgetExhausted, "no lease would help: {refused}");
    assert!(take(51, Priority::HIGH).is_ok());
    assert_eq!(take(501, Priority::LOW).unwrap_err().kind(), RefusedKind::NeverFits);
}
