//! Calendar days, daylight saving, and the two ways in which a server says when to come back.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use pipedrive_service::{Entity, ErrorKind, ListQuery};
use saas_sim::pipedrive::{SimConfig, real_now};
use stack_tests::{Weather, World, pass};
use tokio::time::Instant;

const ZONE: &str = "Europe/Tallinn";

fn page() -> ListQuery {
    ListQuery::new().limit(10)
}

/// An account whose day of a hundred tokens ends at midnight in Tallinn; its clock starts at this local time.
fn in_tallinn(local: &str) -> World {
    let zone = TimeZone::get(ZONE).expect("a time zone");
    let local: jiff::civil::DateTime = local.parse().expect("a local time");
    let start = zone.to_timestamp(local).expect("a time that exists");
    let config = SimConfig {
        records: 500,
        day_tokens: Some(100),
        start,
        reset_zone: ZONE.to_owned(),
        ..SimConfig::default()
    };
    World::new(config, &[("account.reset_time_zone", ZONE)])
}

/// Spends the day's hundred tokens; returns how long it is to wait for the next.
async fn spend_the_day(world: &World) -> Duration {
    for _ in 0..10 {
        world.client.list(Entity::Deals, page()).await.expect("there are tokens");
    }
    let error = world.client.list(Entity::Deals, page()).await.expect_err("the day is spent");
    assert_eq!(*error.kind(), ErrorKind::BudgetExhausted { budget: "day".to_owned() });
    error.retry_after().expect("says when")
}

fn hours(hours: f64) -> Duration {
    Duration::from_secs_f64(hours * 3600.0)
}

async fn a_day_has(local: &str, left: Duration) {
    let world = in_tallinn(local);
    let before = Instant::now();
    let wait = spend_the_day(&world).await;
    let ends_in = wait + before.elapsed();
    assert!(ends_in.abs_diff(left) < Duration::from_secs(2), "{local}: {ends_in:?}, not {left:?}");
    pass(wait - Duration::from_secs(301)).await;
    world.client.list(Entity::Deals, page()).await.expect_err("the day has not ended yet");
    pass(Duration::from_secs(302)).await;
    let wait = spend_the_day(&world).await;
    assert!(
        wait.abs_diff(hours(24.0)) < Duration::from_secs(5),
        "the next day is an ordinary one: {wait:?}"
    );
    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert_eq!(truth.day.resets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_day_ends_at_midnight_where_the_account_is_at_home() {
    a_day_has("2026-06-10T15:30:00", hours(8.5)).await;
}

#[tokio::test(start_paused = true)]
async fn the_day_on_which_the_clocks_go_forward_has_23_hours() {
    a_day_has("2026-03-29T00:00:00", hours(23.0)).await;
}

#[tokio::test(start_paused = true)]
async fn the_day_on_which_the_clocks_go_back_has_25_hours() {
    a_day_has("2026-10-25T00:00:00", hours(25.0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_week_of_days_is_spent_to_the_last_token_without_a_429() {
    let world = in_tallinn("2026-03-26T12:00:00");
    for _ in 0..7 {
        let wait = spend_the_day(&world).await;
        pass(wait).await;
    }
    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert_eq!(truth.day.resets, 7);
    assert_eq!(truth.day.used_ever, 700);
}

fn answer(status: u16, retry_after: &str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("retry-after", retry_after)
        .body(Bytes::from_static(br#"{"success":false,"error":"later"}"#))
        .expect("a response")
}

/// A time on the wire, so long from now. Dates have whole seconds, so this one may be up to one second earlier.
fn date_in(time: Duration) -> String {
    let at: Timestamp = real_now() + SignedDuration::try_from(time).expect("a short time");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// How long the call takes after one such answer.
async fn delay_after(response: Response<Bytes>) -> Duration {
    // A date is held against the wall clock, so the account lives now.
    let world =
        World::new(SimConfig { records: 500, start: real_now(), ..SimConfig::default() }, &[]);
    world.client.list(Entity::Deals, page()).await.expect("a page");
    world.wire.set(Weather::answer_once(response));
    let before = Instant::now();
    world.client.list(Entity::Deals, page()).await.expect("later it works");
    assert_eq!(world.wire.sent(), 3, "asked twice, and not before its time");
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn retry_after_in_seconds_is_never_shortened() {
    for status in [503, 429] {
        let took = delay_after(answer(status, "20")).await;
        assert!(took >= Duration::from_secs(20), "{status}: {took:?}");
        assert!(took < Duration::from_secs(25), "{status}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_as_a_date_is_never_shortened() {
    for status in [503, 429] {
        let took = delay_after(answer(status, &date_in(Duration::from_secs(20)))).await;
        // The date has lost up to a second of ours; reading it in a busy test takes real time too.
        assert!(took >= Duration::from_secs(15), "{status}: {took:?}");
        assert!(took < Duration::from_secs(25), "{status}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_longer_than_we_wait_is_told_to_the_caller() {
    let world = World::small(&[]);
    world.wire.set(Weather::answer_once(answer(502, "1000")));
    let before = Instant::now();
    let error =
        world.client.list(Entity::Deals, page()).await.expect_err("not within five minutes");
    assert!(matches!(error.kind(), ErrorKind::Server { .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1000)));
    assert!(error.refusal().is_some(), "says why it was not tried again");
    assert_eq!((world.wire.sent(), before.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_parks_all_callers() {
    let world = World::small(&[]);
    world.wire.set(Weather::answer_once(answer(429, "20")));
    let client = world.client.clone();
    let first = tokio::spawn(async move { client.list(Entity::Deals, page()).await.map(drop) });
    pass(Duration::from_secs(1)).await;
    let before = Instant::now();
    world.client.list(Entity::Persons, page()).await.expect("a page");
    assert!(before.elapsed() >= Duration::from_secs(19), "{:?}", before.elapsed());
    first.await.expect("no panic").expect("a page");
    assert_eq!(world.wire.sent(), 3);
}
