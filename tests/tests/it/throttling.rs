//! The limits: used to the full, never overstepped, and obeyed when the server says stop.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use pipedrive_service::{Entity, ErrorKind, ListQuery, WalkOptions};
use saas_sim::pipedrive::{
    AuthKind, DEFAULT_API_TOKEN, FaultKind, Faults, Plan, Rule, SimConfig, Sizes,
};
use stack_tests::{Walked, Weather, Wire, World, pass, say, walk_all};
use tokio::time::Instant;
use tower_service::Service as _;

const WALKS: [Entity; 6] = [
    Entity::Deals,
    Entity::Persons,
    Entity::Organizations,
    Entity::Activities,
    Entity::Products,
    Entity::Notes,
];

/// What share of the allowed requests was used while at least four walks had pages left.
async fn share_used(plan: Plan, name: &str, faults: Faults) -> f64 {
    let burst = u64::from(plan.burst(AuthKind::ApiToken));
    // Two rows on a page; enough of them for 76 seconds.
    let sizes = Sizes::each(2 * 76 * burst / 2 / WALKS.len() as u64);
    let config = SimConfig { sizes: Some(sizes), plan, seats: 100, faults, ..SimConfig::default() };
    let world = World::new(config, &[("account.plan", name), ("account.seats", "100")]);
    let from = Instant::now();
    let options = WalkOptions::new().limit(2).prefetch(2);
    let walks =
        WALKS.map(|entity| tokio::spawn(walk_all(world.client.clone(), entity, options.clone())));
    let mut ends: Vec<Instant> = join_all(walks)
        .await
        .into_iter()
        .map(|walked| {
            let Walked { failures, ended, .. } = walked.expect("no panic");
            assert!(failures.is_empty(), "{failures:?}");
            ended
        })
        .collect();
    ends.sort_unstable();
    let to = ends[WALKS.len() - 4];
    assert!(to - from >= Duration::from_secs(70), "over in {:?}", to - from);

    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "429s: {:?}", truth.refusals);
    assert!(truth.window.peak as u64 <= burst, "{}", truth.window.peak);
    let allowed = burst as f64 / 2.0 * (to - from).as_secs_f64();
    let share = world.sim.charged_between(from, to) as f64 / allowed;
    say(format_args!(
        "{name}: {:.1} s, peak {} of {burst}, share used {share:.4}",
        (to - from).as_secs_f64(),
        truth.window.peak
    ));
    share
}

fn latency() -> Faults {
    Faults { latency_before_ms: [5, 40], latency_after_ms: [5, 40], ..Faults::none() }
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_walks_uses_the_burst_to_the_full_and_causes_no_429() {
    let share = share_used(Plan::Premium, "premium", Faults::none()).await;
    assert!(share >= 0.95, "{share}");
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_walks_with_latency_on_both_sides_causes_no_429_either() {
    let share = share_used(Plan::Premium, "premium", latency()).await;
    assert!(share >= 0.93, "{share}");
}

#[tokio::test(start_paused = true)]
async fn the_smallest_plan_is_used_to_the_full_too() {
    assert!(share_used(Plan::Lite, "lite", Faults::none()).await >= 0.95);
    assert!(share_used(Plan::Lite, "lite", latency()).await >= 0.93);
}

fn page() -> ListQuery {
    ListQuery::new().limit(10)
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_day_is_refused_here_with_the_time_of_its_end_and_goes_on_after_it() {
    let world =
        World::new(SimConfig { records: 500, day_tokens: Some(100), ..SimConfig::default() }, &[]);
    // The first answer tells the true limit.
    for _ in 0..10 {
        world.client.list(Entity::Deals, page()).await.expect("there are tokens");
    }
    let error = world.client.list(Entity::Deals, page()).await.expect_err("none are left");
    assert_eq!(*error.kind(), ErrorKind::BudgetExhausted { budget: "day".to_owned() });
    assert!(error.is_local() && error.is_retryable());
    let wait = error.retry_after().expect("says when");
    // The account's day began at nine and ends at midnight.
    let until = world.sim.truth().day.resets_at.duration_since(world.sim.now());
    assert!(wait.abs_diff(until.unsigned_abs()) <= Duration::from_secs(1), "{wait:?}, {until:?}");
    assert!(error.to_string().contains("day"), "{error}");
    assert_eq!(world.sim.truth().refusals.day, 0, "the server was never asked");

    pass(wait - Duration::from_secs(600)).await;
    for _ in 0..200 {
        world.client.list(Entity::Deals, page()).await.expect_err("still the same day");
    }
    assert_eq!(world.wire.sent(), 10);
    assert_eq!(world.budget("burst").used, 0, "who cannot pay the day holds no slot of the window");
    pass(Duration::from_secs(600)).await;
    for _ in 0..10 {
        world.client.list(Entity::Deals, page()).await.expect("a new day");
    }
    world.client.list(Entity::Deals, page()).await.expect_err("and its end");
    assert_eq!(world.sim.truth().refusals.day, 0);
    assert_eq!(world.sim.truth().day.resets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_over_midnight_if_that_is_near() {
    let start = "2026-03-02T23:58:00Z".parse().expect("a timestamp");
    let config = SimConfig { records: 500, day_tokens: Some(100), start, ..SimConfig::default() };
    let world = World::new(config, &[]);
    let before = Instant::now();
    for _ in 0..20 {
        world.client.list(Entity::Deals, page()).await.expect("now or after midnight");
    }
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(120) && took < Duration::from_secs(125), "{took:?}");
    assert_eq!(world.sim.truth().refusals.caused(), 0);
}

#[tokio::test(start_paused = true)]
async fn others_who_spend_the_day_are_seen_before_they_hurt() {
    let world = World::new(
        SimConfig { records: 500, day_tokens: Some(1_000), ..SimConfig::default() },
        &[],
    );
    world.client.list(Entity::Deals, page()).await.expect("a page");
    world.sim.spend_elsewhere(900);
    world.client.list(Entity::Deals, page()).await.expect("a page, whose headers tell");
    assert_eq!(world.budget("day").used, world.sim.truth().day.used);
    for _ in 0..8 {
        world.client.list(Entity::Deals, page()).await.expect("eight are left");
    }
    let error = world.client.list(Entity::Deals, page()).await.expect_err("none is left");
    assert_eq!(*error.kind(), ErrorKind::BudgetExhausted { budget: "day".to_owned() });
    assert_eq!(world.sim.truth().refusals.day, 0);
}

#[tokio::test(start_paused = true)]
async fn the_servers_word_that_the_day_is_spent_stops_everybody_after_one_429() {
    // No header tells what is left, so only the refusal itself can.
    let config = SimConfig {
        records: 500,
        day_tokens: Some(100),
        token_headers: false,
        ..SimConfig::default()
    };
    let world = World::new(config, &[]);
    for _ in 0..10 {
        world.client.list(Entity::Deals, page()).await.expect("there are tokens");
    }
    let error = world.client.list(Entity::Deals, page()).await.expect_err("the server refuses");
    assert_eq!(*error.kind(), ErrorKind::RateLimit { daily: true }, "{error:?}");
    assert!(
        error.retry_after().is_some_and(|wait| wait > Duration::from_secs(14 * 3600)),
        "{error:?}"
    );
    for _ in 0..20 {
        let error = world.client.list(Entity::Persons, page()).await.expect_err("refused here");
        assert_eq!(*error.kind(), ErrorKind::BudgetExhausted { budget: "day".to_owned() });
    }
    assert_eq!(world.sim.truth().refusals.day, 1);
    pass(Duration::from_secs(15 * 3600 + 1)).await;
    world.client.list(Entity::Deals, page()).await.expect("a new day");
}

#[tokio::test(start_paused = true)]
async fn a_day_that_the_server_calls_spent_just_before_its_end_is_waited_for() {
    let start = "2026-03-02T23:58:00Z".parse().expect("a timestamp");
    let config = SimConfig {
        records: 500,
        day_tokens: Some(100),
        token_headers: false,
        start,
        ..SimConfig::default()
    };
    let world = World::new(config, &[]);
    let before = Instant::now();
    for _ in 0..20 {
        world.client.list(Entity::Deals, page()).await.expect("now or after midnight");
    }
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(120) && took < Duration::from_secs(140), "{took:?}");
    assert_eq!(world.sim.truth().refusals.day, 1);
}

#[tokio::test(start_paused = true)]
async fn a_429_without_cause_parks_all_callers_and_nobody_is_banned() {
    let rules =
        vec![Rule { nth: Some(20), fault: Some(FaultKind::RateLimited), ..Rule::default() }];
    let config = SimConfig {
        sizes: Some(Sizes::each(600)),
        retry_after_on_burst: true,
        faults: Faults { rules, latency_after_ms: [5, 5], ..Faults::none() },
        log: 10_000,
        ..SimConfig::default()
    };
    let world = World::new(config, &[]);
    let options = WalkOptions::new().limit(10);
    let walks =
        WALKS.map(|entity| tokio::spawn(walk_all(world.client.clone(), entity, options.clone())));
    for walked in join_all(walks).await {
        assert!(walked.expect("no panic").failures.is_empty());
    }
    let truth = world.sim.truth();
    assert_eq!(truth.fault(FaultKind::RateLimited), 1);
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert_eq!(truth.refusals.edge, 0);
    let refused = truth.log.iter().find(|entry| entry.status == Some(429)).expect("one 429");
    let told = refused.answered_us.expect("was answered");
    let early = truth
        .log
        .iter()
        .filter(|entry| entry.arrived_us > told && entry.arrived_us < told + 2_000_000);
    assert_eq!(early.count(), 0, "for two seconds nobody sends");
    assert!(truth.log.iter().any(|entry| entry.arrived_us > told + 2_000_000));
    assert_eq!(world.limiter().refusals.burst, 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429s_without_cause_never_brings_the_ban() {
    let rules = vec![Rule {
        every: Some(3),
        to: Some(300),
        fault: Some(FaultKind::RateLimited),
        ..Rule::default()
    }];
    let config = SimConfig {
        sizes: Some(Sizes::each(600)),
        faults: Faults { rules, ..Faults::none() },
        ..SimConfig::default()
    };
    let world = World::new(config, &[]);
    let options = WalkOptions::new().limit(50);
    let walks =
        WALKS.map(|entity| tokio::spawn(walk_all(world.client.clone(), entity, options.clone())));
    for walked in join_all(walks).await {
        walked.expect("no panic");
    }
    let truth = world.sim.truth();
    assert!(truth.fault(FaultKind::RateLimited) > 20, "{:?}", truth.faults);
    assert_eq!((truth.refusals.edge, truth.refusals.caused()), (0, 0));
    assert_eq!(
        world.client.circuit().status().transitions,
        0,
        "a 429 does not speak against the API"
    );
}

#[tokio::test(start_paused = true)]
async fn many_429s_in_a_row_do_not_open_the_circuit() {
    let fault = Some(FaultKind::RateLimited);
    let rule = Rule { from: Some(2), to: Some(14), fault, ..Rule::default() };
    let world = World::with_rules(vec![rule], &[]);
    let options = WalkOptions::new().limit(10);
    let walked = walk_all(world.client.clone(), Entity::Deals, options).await;
    assert_eq!(world.sim.truth().fault(FaultKind::RateLimited), 13);
    assert_eq!(world.client.circuit().status().transitions, 0);
    assert_eq!(world.health().bad, 0, "the API is well, we are too many");
    assert!(!walked.rows.is_empty());
}

fn edge_page() -> Response<Bytes> {
    Response::builder()
        .status(403)
        .header("content-type", "text/html; charset=UTF-8")
        .body(Bytes::from_static(b"<html><h1>Sorry, you have been blocked</h1></html>"))
        .expect("a response")
}

#[tokio::test(start_paused = true)]
async fn the_ban_of_the_edge_parks_everything_and_is_not_hammered() {
    let world = World::small(&[]);
    world.client.list(Entity::Deals, page()).await.expect("a page");
    world.wire.set(Weather::answer(edge_page));
    let error = world.client.list(Entity::Deals, page()).await.expect_err("banned");
    assert_eq!(*error.kind(), ErrorKind::Banned, "{error:?}");
    assert!(error.retry_after().is_some(), "says when to come back");
    assert_eq!(world.wire.sent(), 2, "not tried again");

    // A hundred callers come; all wait or are told to come back, and none gets to the server.
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let client = world.client.clone();
            tokio::spawn(async move { client.list(Entity::Persons, page()).await.map(drop) })
        })
        .collect();
    pass(Duration::from_secs(120)).await;
    assert_eq!(world.wire.sent(), 2, "two minutes later nobody has asked again");
    assert!(world.limiter().gate.is_some(), "the gate is closed");
    for call in &calls {
        call.abort();
    }
    world.wire.set(Weather::Fair);
    let gate = world.limiter().gate.expect("still closed").opens_in;
    pass(gate).await;
    world.client.list(Entity::Deals, page()).await.expect("over");
    assert_eq!(world.limiter().refusals.banned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_names_its_end_parks_everything_until_then() {
    let world = World::small(&[]);
    let mut banned = edge_page();
    banned.headers_mut().insert("retry-after", 40.into());
    world.wire.set(Weather::answer_once(banned));
    let error = world.client.list(Entity::Deals, page()).await.expect_err("banned");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    let before = Instant::now();
    world.client.list(Entity::Deals, page()).await.expect("over");
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(40) && took < Duration::from_secs(42), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_others_brought_upon_the_token_is_sat_out() {
    let world = World::small(&[]);
    // Another program with the same token runs into the limit until the edge has had enough.
    let mut other = Wire::to(&world.sim);
    for _ in 0..201 {
        let request =
            Request::get("/api/v2/deals?limit=1").header("x-api-token", world.sim.api_token());
        other.call(request.body(Full::default()).expect("a request")).await.expect("an answer");
    }
    let edge = world.sim.truth().refusals.edge;
    assert!(edge > 0, "{:?}", world.sim.truth().refusals);

    let error = world.client.list(Entity::Deals, page()).await.expect_err("banned");
    assert_eq!(*error.kind(), ErrorKind::Banned);
    let walked = walk_all(world.client.clone(), Entity::Deals, WalkOptions::new().limit(50)).await;
    assert!(!walked.rows.is_empty());
    let asked = world.sim.truth().refusals.edge - edge;
    assert!(asked <= 2, "a banned token asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_an_error_of_credentials_after_one_attempt() {
    let rules =
        vec![Rule { nth: Some(3), fault: Some(FaultKind::ExpiredToken), ..Rule::default() }];
    let world = World::with_rules(rules, &[]);
    for _ in 0..2 {
        world.client.list(Entity::Deals, page()).await.expect("a good token");
    }
    let error = world.client.list(Entity::Deals, page()).await.expect_err("it has expired");
    assert!(
        matches!(error.kind(), ErrorKind::Auth { status } if status.as_u16() == 401),
        "{error:?}"
    );
    assert!(!error.is_retryable());
    assert_eq!(error.context().attempts, 1);
    assert_eq!(world.wire.sent(), 3);
    assert!(!format!("{error:?} {error}").contains(DEFAULT_API_TOKEN));
    assert_eq!(world.client.circuit().status().transitions, 0, "the API is well");
}

#[tokio::test(start_paused = true)]
async fn search_has_a_window_of_its_own() {
    let world = World::small(&[]);
    let search = || {
        Request::get("https://acme.pipedrive.com/api/v2/deals/search?term=deal&limit=10")
            .body(Bytes::new())
            .expect("a request")
    };
    // Fifty searches and two hundred lists at once: neither stands in the other's way.
    let started = Instant::now();
    let searches = join_all((0..50).map(|_| {
        let client = world.client.clone();
        async move { client.call(search()).await.map(|_| Instant::now()) }
    }));
    let lists = join_all((0..200).map(|_| {
        let client = world.client.clone();
        async move { client.list(Entity::Deals, page()).await.map(|_| Instant::now()) }
    }));
    let (searches, lists) = tokio::join!(searches, lists);
    let last = |ends: Vec<Result<Instant, pipedrive_service::Error>>| {
        ends.into_iter().map(|end| end.expect("an answer")).max().expect("some") - started
    };
    let (searches, lists) = (last(searches), last(lists));
    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert!(truth.window.search_peak <= 10);
    assert!(
        searches >= Duration::from_secs(8) && searches < Duration::from_secs(11),
        "{searches:?}"
    );
    say(format_args!("searches {searches:?}, lists {lists:?}"));
    assert!(world.budget("search").limit == 10);
}
