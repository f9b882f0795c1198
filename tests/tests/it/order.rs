//! The order of the layers: what pays, what is counted, and by whom.

use std::{collections::BTreeMap, time::Duration};

use pipedrive_service::{Entity, ErrorKind, ListQuery};
use saas_sim::pipedrive::{Drip, FaultKind, Faults, Rule, SimConfig};
use stack_tests::{World, pass};
use tokio::time::Instant;
use tower_circuit::State;
use tower_retry_classify::Class;

/// The first request that matches goes wrong.
fn first(fault: FaultKind) -> Rule {
    Rule { nth: Some(1), fault: Some(fault), ..Rule::default() }
}

/// The first so many requests go wrong.
fn firsts(count: u64, fault: FaultKind) -> Rule {
    Rule { to: Some(count), fault: Some(fault), ..Rule::default() }
}

fn page() -> ListQuery {
    ListQuery::new().limit(10)
}

#[tokio::test(start_paused = true)]
async fn every_attempt_pays_and_is_counted_as_the_simulator_counts_it() {
    use FaultKind::{Error500, Error503, Html, NullData, ResetInBody, TruncatedJson};
    let rates =
        [Error500, Error503, TruncatedJson, Html, NullData, ResetInBody].map(|kind| (kind, 0.05));
    let faults = Faults { rates: BTreeMap::from(rates), ..Faults::none() };
    // Without these headers the limiter has nothing but its own count.
    let config = SimConfig { records: 500, faults, token_headers: false, ..SimConfig::default() };
    let world =
        World::new(config, &[("robustness.error_handling.circuit_breaker_threshold", "100")]);
    for number in 0..200 {
        let entity =
            [Entity::Deals, Entity::ArchivedDeals, Entity::Stages, Entity::Notes][number % 4];
        let _ = world.client.list(entity, page()).await;
    }
    let truth = world.sim.truth();
    let attempts = world.client.retry_stats().snapshot().attempts();
    assert!(truth.failed > 40, "too few faults to prove anything: {}", truth.failed);
    assert_eq!(attempts, truth.asked, "retry sees every attempt");
    assert_eq!(world.wire.sent(), truth.asked, "every attempt is sent once");
    assert_eq!(truth.charged, truth.asked);
    assert_eq!(world.budget("day").used, truth.day.used, "every attempt pays its price");
    let calls: u64 = world.limiter().endpoints.iter().map(|endpoint| endpoint.calls).sum();
    assert_eq!(calls, truth.charged);
    assert_eq!(world.budget("burst").foreign, 0, "nobody else was here");
}

#[tokio::test(start_paused = true)]
async fn a_call_refused_by_an_open_circuit_costs_no_token_and_takes_no_slot() {
    let world = World::small(&[]);
    world.client.circuit().force_open(Some(Duration::from_secs(60)));
    let error = world.client.list(Entity::Deals, page()).await.expect_err("the circuit is open");
    assert_eq!(*error.kind(), ErrorKind::CircuitOpen);
    assert!(error.is_local());
    let wait = error.retry_after().expect("says when to come back");
    assert!(wait <= Duration::from_secs(60) && wait > Duration::from_secs(55), "{wait:?}");
    assert_eq!(world.wire.sent(), 0);
    assert_eq!(world.budget("day").used, 0);
    assert_eq!(world.budget("burst").used, 0);
    assert_eq!(world.health().calls, 0);
    assert_eq!(world.client.retry_stats().snapshot().retries, 0);
}

/// One request in two seconds, at once or not at all.
const ONE_AT_A_TIME: [(&str, &str); 2] =
    [("robustness.rate_limiting.burst_limit", "1"), ("robustness.rate_limiting.pacing", "none")];

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_at_once_and_not_at_the_end_of_the_queue() {
    let world = World::small(&ONE_AT_A_TIME);
    world.client.list(Entity::Deals, page()).await.expect("the first goes at once");
    world.client.circuit().force_open(None);
    let before = Instant::now();
    for _ in 0..10 {
        let error =
            world.client.list(Entity::Deals, page()).await.expect_err("the circuit is open");
        assert_eq!(*error.kind(), ErrorKind::CircuitOpen);
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_the_guard_refuses_after_the_queue_is_given_back() {
    let world = World::small(&ONE_AT_A_TIME);
    world.client.list(Entity::Deals, page()).await.expect("the first goes at once");
    let spent = world.budget("day").used;
    let client = world.client.clone();
    let second = tokio::spawn(async move { client.list(Entity::Deals, page()).await });
    pass(Duration::from_millis(500)).await;
    assert_eq!(world.limiter().waiting, 1, "the second is past the gate and waits");
    world.client.circuit().force_open(None);
    let error = second.await.expect("no panic").expect_err("the circuit opened meanwhile");
    assert_eq!(*error.kind(), ErrorKind::CircuitOpen);
    assert_eq!(world.wire.sent(), 1);
    assert_eq!(world.budget("day").used, spent, "the tokens came back");
    world.client.circuit().reset();
    let before = Instant::now();
    world.client.list(Entity::Deals, page()).await.expect("the slot came back");
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
    assert_eq!(world.sim.truth().refusals.caused(), 0);
}

#[tokio::test(start_paused = true)]
async fn health_sees_real_attempts_only_and_not_the_wait_in_the_queue() {
    let world = World::new(
        SimConfig {
            records: 500,
            faults: Faults {
                latency_after_ms: [40, 40],
                rules: vec![first(FaultKind::Error503)],
                ..Faults::none()
            },
            ..SimConfig::default()
        },
        &ONE_AT_A_TIME,
    );
    let calls = (0..5).map(|_| {
        let client = world.client.clone();
        tokio::spawn(async move { client.list(Entity::Deals, page()).await.map(drop) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("a page");
    }
    world.client.circuit().force_open(None);
    world.client.list(Entity::Deals, page()).await.expect_err("refused here");
    let report = world.health();
    assert_eq!(report.calls, 6, "five calls, one of them twice, and not the refused one");
    assert_eq!(report.calls, world.wire.sent());
    assert_eq!(report.bad, 1);
    let p99 = report.p99.expect("there were calls");
    assert!(p99 < Duration::from_millis(60), "seconds in the queue are nobody's latency: {p99:?}");
}

#[tokio::test(start_paused = true)]
async fn a_local_refusal_ends_the_retries_and_the_caller_gets_the_last_real_answer_with_it() {
    let settings = [("robustness.error_handling.circuit_breaker_threshold", "2")];
    let world = World::with_rules(vec![firsts(100, FaultKind::Error503)], &settings);
    let before = Instant::now();
    let error = world.client.list(Entity::Deals, page()).await.expect_err("the API is down");
    assert!(
        matches!(error.kind(), ErrorKind::Server { status } if status.as_u16() == 503),
        "{error:?}"
    );
    let refusal = error.refusal().expect("says why it went no further");
    assert!(refusal.contains("circuit") && refusal.contains("open"), "{refusal}");
    assert_eq!(world.wire.sent(), 2, "the third attempt was refused here, and there was no fourth");
    assert_eq!(world.client.circuit().state(), State::Open);
    assert_eq!(world.client.circuit().status().refused, 1);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(world.budget("day").used, 20);
}

#[tokio::test(start_paused = true)]
async fn a_local_refusal_after_a_broken_connection_leaves_the_broken_connection_as_the_cause() {
    let settings = [("robustness.error_handling.circuit_breaker_threshold", "1")];
    let world = World::with_rules(vec![firsts(100, FaultKind::Reset)], &settings);
    let error = world.client.list(Entity::Deals, page()).await.expect_err("the connection breaks");
    assert!(matches!(error.kind(), ErrorKind::Connection(_)), "{error:?}");
    assert!(error.refusal().is_some_and(|refusal| refusal.contains("circuit")), "{error:?}");
    assert!(!error.is_local(), "one attempt was real");
    assert_eq!(world.wire.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_out_of_an_attempt_covers_its_body() {
    let faults = Faults {
        drip: Drip { pieces: 20, pause_ms: 5_000 },
        rules: vec![first(FaultKind::SlowDrip)],
        ..Faults::none()
    };
    let world = World::new(SimConfig { records: 500, faults, ..SimConfig::default() }, &[]);
    let before = Instant::now();
    world.client.list(Entity::Deals, page()).await.expect("the second attempt is quick");
    let took = before.elapsed();
    assert!(took > Duration::from_secs(30) && took < Duration::from_secs(35), "{took:?}");
    assert_eq!(world.wire.sent(), 2);
    assert_eq!(world.wire.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_ends_with_its_time_out() {
    let world = World::with_rules(vec![first(FaultKind::Hang)], &[]);
    let before = Instant::now();
    world.client.list(Entity::Deals, page()).await.expect("the second attempt is answered");
    let took = before.elapsed();
    assert!(took > Duration::from_secs(30) && took < Duration::from_secs(35), "{took:?}");
    assert_eq!(world.wire.sent(), 2);
}

#[tokio::test(start_paused = true)]
async fn faults_inside_the_body_are_tried_again() {
    for (fault, class) in [
        (FaultKind::TruncatedJson, Class::Body),
        (FaultKind::ResetInBody, Class::Connection),
        (FaultKind::Html, Class::Body),
        (FaultKind::NullData, Class::Body),
        (FaultKind::Reset, Class::Connection),
    ] {
        for entity in [Entity::Deals, Entity::Notes] {
            let world = World::with_rules(vec![first(fault)], &[]);
            let page = world.client.list(entity, page()).await;
            let page = page.unwrap_or_else(|error| panic!("{entity}, {}: {error}", fault.name()));
            assert!(!page.rows.is_empty(), "{entity}, {}", fault.name());
            assert_eq!(world.wire.sent(), 2, "{entity}, {}", fault.name());
            assert_eq!(world.sim.truth().fault(fault), 1);
            let retries = world.client.retry_stats().snapshot();
            assert_eq!(retries.failed, [(class, 1)], "{entity}, {}", fault.name());
            assert_eq!(
                world.client.circuit().status().consecutive_failures,
                0,
                "the second attempt worked"
            );
            assert_eq!(world.health().bad, 1, "{entity}, {}", fault.name());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_data_after_other_failures_is_not_taken_for_the_end_of_the_list() {
    let mut null = first(FaultKind::NullData);
    null.nth = Some(4);
    for entity in [Entity::Notes, Entity::Leads, Entity::Files, Entity::Deals] {
        let world = World::with_rules(vec![firsts(3, FaultKind::Error503), null.clone()], &[]);
        let outcome = world.client.list(entity, page()).await;
        let error = match outcome {
            Ok(page) => {
                panic!("{entity}: {} rows, next {:?}: rows are lost", page.rows.len(), page.next)
            }
            Err(error) => error,
        };
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(world.wire.sent(), 4);
    }
}
