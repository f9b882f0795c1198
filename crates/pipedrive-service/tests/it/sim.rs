//! The whole client against a simulated account, in one process, on a paused clock.

use crate::support;

use std::time::Duration;

use crate::support::{client, digest, sim, small, theirs, whole};
use futures_util::future::join_all;
use http::{Request, StatusCode};
use pipedrive_service::{Entity, ErrorKind, ListQuery, Priority};
use saas_sim::pipedrive::{Edge, Expire, FaultKind, Faults, Rule, SimConfig};
use serde_json::json;
use tokio::time::Instant;
use tower_circuit::State;
use tower_retry_classify::Class;

/// One fault at every request.
fn always(fault: FaultKind) -> Faults {
    Faults { rules: vec![Rule { fault: Some(fault), ..Rule::default() }], ..Faults::none() }
}

#[tokio::test(start_paused = true)]
async fn every_list_arrives_whole() {
    let sim = sim(small());
    let client = client(&sim, &[("PIPEDRIVE_MAX_BATCH_SIZE", "100")]);
    for entity in Entity::ALL {
        let (rows, errors) = whole(&client, entity).await;
        assert!(errors.is_empty(), "{entity}: {errors:?}");
        let truth = sim.digest(theirs(entity));
        assert_eq!(digest(&rows), (truth.rows, truth.sha256), "{entity}");
    }
    let truth = sim.truth();
    assert_eq!(truth.refusals.caused(), 0);
    let day = client.limiter().status().budget("day").unwrap().used;
    assert_eq!(day, truth.day.used, "our count of tokens is the server's");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_in_a_storm() {
    let sim = sim(SimConfig { faults: Faults::storm(), ..small() });
    let client = client(
        &sim,
        &[("PIPEDRIVE_MAX_BATCH_SIZE", "20"), ("PIPEDRIVE_CIRCUIT_BREAKER_TIMEOUT", "5")],
    );
    let walks = Entity::ALL.map(|entity| {
        let client = client.clone();
        async move { (entity, whole(&client, entity).await) }
    });
    for (entity, (rows, _)) in join_all(walks).await {
        let truth = sim.digest(theirs(entity));
        assert_eq!(digest(&rows), (truth.rows, truth.sha256), "{entity}");
    }
    let truth = sim.truth();
    assert!(truth.share_failed() > 0.08, "{}", truth.share_failed());
    assert!(client.retry_stats().snapshot().recovered() > 10);
}

#[tokio::test(start_paused = true)]
async fn many_walks_at_once_cause_no_429() {
    let sim = sim(SimConfig { records: 20_000, sizes: None, ..small() });
    let client = client(&sim, &[("PIPEDRIVE_MAX_BATCH_SIZE", "10")]);
    let kinds = [Entity::Deals, Entity::Persons, Entity::Organizations, Entity::Activities];
    join_all(kinds.map(|entity| {
        let client = client.clone();
        async move { whole(&client, entity).await.1.len() }
    }))
    .await;
    let truth = sim.truth();
    assert_eq!(truth.refusals.caused(), 0);
    assert!(truth.window.peak <= 100, "{}", truth.window.peak);
    let (from, to) = (sim.started(), Instant::now());
    let share = sim.charged_between(from, to) as f64 * 2.0 / (100.0 * (to - from).as_secs_f64());
    assert!(share > 0.9, "{share}");
}

#[tokio::test(start_paused = true)]
async fn records_are_created_read_changed_and_removed() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    for (entity, record, change) in [
        (Entity::Persons, json!({ "name": "Otto Lind" }), json!({ "name": "Otto Lund" })),
        (Entity::Organizations, json!({ "name": "Lind AB" }), json!({ "name": "Lund AB" })),
        (Entity::Deals, json!({ "title": "rollout" }), json!({ "title": "roll-out" })),
        (
            Entity::Activities,
            json!({ "subject": "call", "type": "call" }),
            json!({ "subject": "call again" }),
        ),
        (Entity::Products, json!({ "name": "hammer" }), json!({ "name": "mallet" })),
        (Entity::Notes, json!({ "content": "a", "deal_id": 1 }), json!({ "content": "b" })),
    ] {
        let made = client
            .create(entity, &record)
            .await
            .unwrap_or_else(|error| panic!("{entity}: {error:?}"));
        let changed = client.update(entity, made.id.clone(), &change).await;
        let changed = changed.unwrap_or_else(|error| panic!("{entity}: {error:?}"));
        assert_eq!(changed.id, made.id);
        let read = client.get(entity, made.id.clone()).await.unwrap();
        for (key, value) in change.as_object().unwrap() {
            assert_eq!(&read.value()[key], value, "{entity}");
        }
        client.delete(entity, made.id.clone()).await.unwrap();
    }
    let error = client.get(Entity::Deals, 999_999).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error:?}");
    assert!(!error.is_retryable() && error.is_api() && error.class() == Class::NotFound);
    assert_eq!(error.context().template, "/api/v2/deals/{id}");
    let error = client.get(Entity::Currencies, 1).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn me_teaches_the_day_s_limit() {
    let sim = sim(SimConfig { seats: 3, ..small() });
    let config = support::config(&[("PIPEDRIVE_SEATS", "")]);
    let client = pipedrive_service::Client::with_transport(config, sim.service()).unwrap();
    assert_eq!(client.limiter().status().budget("day").unwrap().limit, 10_000);
    let me = client.me().await.unwrap();
    assert!(me.id > 0 && !me.name.is_empty());
    let status = client.limiter().status();
    let day = status.budget("day").unwrap();
    assert_eq!((day.limit, day.used), (450_000, 2));
}

#[tokio::test(start_paused = true)]
async fn a_page_changed_since_a_time_is_the_newer_part() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    let all = client.list(Entity::Deals, ListQuery::new()).await.unwrap();
    let mut times: Vec<_> = all.rows.iter().map(|row| row.update_time.clone().unwrap()).collect();
    times.sort();
    let middle: jiff::Timestamp = times[times.len() / 2].parse().unwrap();
    let newer = client.list(Entity::Deals, ListQuery::new().updated_since(middle)).await.unwrap();
    assert!(!newer.rows.is_empty() && newer.rows.len() < all.rows.len());
    assert!(
        newer
            .rows
            .iter()
            .all(|row| row.update_time.as_deref().unwrap() >= times[times.len() / 2].as_str())
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_said_once_and_not_tried_again() {
    let sim = sim(SimConfig {
        faults: Faults {
            expire: Some(Expire { after_requests: Some(1), after_ms: None }),
            ..Faults::none()
        },
        ..small()
    });
    let client = client(&sim, &[]);
    client.me().await.unwrap();
    let error = client.me().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Auth { status: StatusCode::UNAUTHORIZED });
    assert_eq!(error.context().attempts, 1);
    assert!(!error.is_retryable() && error.advice().contains("PIPEDRIVE_API_TOKEN"));
    assert_eq!(client.circuit().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn html_instead_of_json_is_an_error_that_says_so() {
    let sim = sim(SimConfig { faults: always(FaultKind::Html), ..small() });
    let client = client(&sim, &[]);
    let error = client.list(Entity::Deals, ListQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Garbled);
    assert!(error.to_string().contains("HTML"), "{error}");
    assert_eq!(error.context().attempts, 4, "three retries");
    assert!(error.is_retryable() && !error.is_local() && error.class() == Class::Body);
}

#[tokio::test(start_paused = true)]
async fn null_again_and_again_is_an_empty_list_only_where_version_one_may_say_so() {
    let sim = sim(SimConfig { faults: always(FaultKind::NullData), ..small() });
    let client = client(&sim, &[("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED", "false")]);
    assert_eq!(client.list(Entity::Filters, ListQuery::new()).await.unwrap().rows.len(), 0);
    let error = client.list(Entity::Deals, ListQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Garbled);
    // Once is a fault.
    let settings = [("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0")];
    let error =
        support::client(&sim, &settings).list(Entity::Filters, ListQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Garbled);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_server_is_left_after_the_request_time_out() {
    let sim = sim(SimConfig { faults: always(FaultKind::Hang), ..small() });
    let client = client(&sim, &[("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "1")]);
    let since = Instant::now();
    let error = client.me().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    let took = since.elapsed();
    assert!((60..63).contains(&took.as_secs()), "two attempts of 30 s: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_however_many_retries_are_left() {
    let sim = sim(SimConfig { faults: always(FaultKind::Error503), ..small() });
    let client = client(&sim, &[("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "50")]);
    let query = ListQuery::new().within(Duration::from_secs(5));
    let since = Instant::now();
    let error = client.list(Entity::Deals, query).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Server { .. }), "{error:?}");
    assert!(error.refusal().unwrap().contains("deadline"), "{error}");
    assert!(since.elapsed() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_the_circuit_and_it_refuses_locally() {
    let sim = sim(SimConfig { faults: always(FaultKind::Error500), ..small() });
    let client = client(&sim, &[]);
    let _ = client.me().await.unwrap_err();
    let error = client.me().await.unwrap_err();
    // The last real outcome, with the refusal attached.
    assert!(matches!(error.kind(), ErrorKind::Server { .. }), "{error:?}");
    assert!(error.refusal().unwrap().contains("open"), "{error}");
    assert_eq!(client.circuit().state(), State::Open);
    let before = sim.truth().requests;
    let error = client.me().await.unwrap_err();
    assert_eq!((error.kind(), error.is_local()), (&ErrorKind::CircuitOpen, true));
    // The first of a row of openings: ten seconds, less a tenth at most.
    let wait = error.retry_after().unwrap();
    assert!((Duration::from_secs(8)..=Duration::from_secs(10)).contains(&wait), "{wait:?}");
    assert_eq!(sim.truth().requests, before, "nothing was sent");
    assert_eq!(client.health().unwrap().state().as_str(), "degraded");
}

#[tokio::test(start_paused = true)]
async fn a_spent_day_is_told_with_the_time_to_go_on() {
    let sim = sim(SimConfig { day_tokens: Some(100), ..small() });
    let client = client(&sim, &[]);
    let mut spent = None;
    for _ in 0..20 {
        if let Err(error) = client.list(Entity::Deals, ListQuery::new().limit(10)).await {
            spent = Some(error);
            break;
        }
    }
    let error = spent.expect("100 tokens are ten lists");
    let daily = matches!(error.kind(), ErrorKind::RateLimit { daily: true })
        || matches!(error.kind(), ErrorKind::BudgetExhausted { budget } if budget == "day");
    assert!(daily, "{error:?}");
    assert!(error.retry_after().unwrap() > Duration::from_secs(3600), "{error}");
    // From now on it is refused here.
    let before = sim.truth().requests;
    let error = client.me().await.unwrap_err();
    assert!(error.is_local(), "{error:?}");
    assert_eq!(sim.truth().requests, before);
    // The next day goes on.
    tokio::time::sleep(Duration::from_secs(15 * 3600 + 60)).await;
    client.me().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ban_parks_everybody_and_is_no_failure_of_the_api() {
    let sim = sim(SimConfig {
        burst: Some(1),
        edge: Edge { refusals: 1, within_s: 60, block_s: 30, enabled: true },
        ..small()
    });
    // A plan that is not the account's makes us too fast.
    let client = client(
        &sim,
        &[("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"), ("PIPEDRIVE_RATE_LIMIT_QUEUE_TIMEOUT", "10")],
    );
    let errors: Vec<_> =
        join_all((0..6).map(|_| client.me())).await.into_iter().filter_map(Result::err).collect();
    let banned = errors
        .iter()
        .find(|error| *error.kind() == ErrorKind::Banned)
        .expect("the edge has had enough");
    assert!(banned.is_retryable() && !banned.is_local() && banned.class() == Class::Banned);
    let before = sim.truth().requests;
    let parked = client.me().await.unwrap_err();
    assert!(
        parked.is_local() && parked.retry_after().unwrap() > Duration::from_secs(200),
        "{parked:?}"
    );
    assert_eq!(sim.truth().requests, before, "nothing is sent while we are banned");
    assert_eq!(client.circuit().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_done_twice_is_sent_once() {
    let record = json!({ "name": "Otto Lind" });
    for (fault, sent) in
        [(FaultKind::Error500, 1), (FaultKind::TruncatedJson, 1), (FaultKind::RateLimited, 2)]
    {
        let rule = Rule { fault: Some(fault), nth: Some(1), ..Rule::default() };
        let sim =
            sim(SimConfig { faults: Faults { rules: vec![rule], ..Faults::none() }, ..small() });
        let client = client(&sim, &[]);
        let made = client.create(Entity::Persons, &record).await;
        assert_eq!(sim.truth().requests, sent, "{fault:?}");
        assert_eq!(made.is_ok(), sent == 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leased_budget_waits_for_its_grant() {
    let sim = sim(small());
    let client = pipedrive_service::Client::builder(support::config(&[]))
        .leased(true)
        .build_over(sim.service());
    let client = client.unwrap();
    let lease = client.lease().unwrap();
    let asker = client.clone();
    let me = tokio::spawn(async move { asker.me().await });
    let wanted = lease.wanted().await;
    assert!(wanted >= 2);
    assert_eq!(sim.truth().requests, 0, "nothing is sent before the grant");
    lease.grant(wanted);
    me.await.unwrap().unwrap();
    assert_eq!(lease.used(), 2);
}

#[tokio::test(start_paused = true)]
async fn switches_turn_layers_into_pass_throughs() {
    let sim = sim(SimConfig { limits: false, ..small() });
    let client = client(
        &sim,
        &[
            ("PIPEDRIVE_RATE_LIMITING_ENABLED", "false"),
            ("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED", "false"),
            ("PIPEDRIVE_HEALTH_MONITORING_ENABLED", "false"),
            ("PIPEDRIVE_ADAPTIVE_PAGINATION", "false"),
            ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
        ],
    );
    let since = Instant::now();
    join_all((0..200).map(|_| client.me())).await.into_iter().for_each(|me| drop(me.unwrap()));
    assert_eq!(since.elapsed(), Duration::ZERO, "nothing waits");
    assert!(client.health().is_none());
    assert_eq!(client.pages().status().pages, 0);
    sim.set_faults(always(FaultKind::Error500)).unwrap();
    for _ in 0..20 {
        let error = client.me().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Server { .. }), "{error}");
        assert_eq!(error.context().attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_probe_is_cached_and_shared() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    let checks = join_all((0..10).map(|_| client.check_health())).await;
    assert!(checks.iter().all(|check| check.outcome.is_good()), "{checks:?}");
    assert_eq!(sim.truth().requests, 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    client.check_health().await;
    assert_eq!(sim.truth().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn any_other_request_goes_through_the_same_stack() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    let request = Request::get("/api/v2/deals/1").body(bytes::Bytes::new()).unwrap();
    assert_eq!(client.call(request).await.unwrap().status(), 200);
    let used = client.limiter().status().budget("day").unwrap().used;
    assert_eq!(used, 1);
    let elsewhere =
        Request::get("https://evil.test/api/v2/deals/1").body(bytes::Bytes::new()).unwrap();
    let error = client.call(elsewhere).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongHost);
    assert!(error.is_local());
    assert_eq!(sim.truth().requests, 1);
    assert_eq!(client.limiter().status().budget("day").unwrap().used, 1, "and it costs nothing");
}

#[tokio::test(start_paused = true)]
async fn searches_have_a_window_of_their_own() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    let search = || {
        let request =
            Request::get("/api/v2/deals/search?term=deal").body(bytes::Bytes::new()).unwrap();
        client.call(request)
    };
    join_all((0..25).map(|_| search())).await.into_iter().for_each(|found| drop(found.unwrap()));
    let truth = sim.truth();
    assert_eq!(truth.refusals.caused(), 0);
    assert!(truth.window.search_peak <= 10);
    assert_eq!(client.limiter().status().budget("burst").unwrap().limit, 100);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_fails_calls_of_low_priority_are_turned_away_if_that_is_wished() {
    let sim = sim(small());
    let settings = [
        ("PIPEDRIVE_RATE_LIMIT_SHED_CRITICAL", "5"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED", "false"),
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
    ];
    assert!(client(&sim, &settings[1..]).shed_by_health().is_none(), "not unless it is set");
    let client = client(&sim, &settings);
    let shed = tokio::spawn(client.shed_by_health().unwrap());
    let low = client.clone().with_priority(Priority::LOW);
    assert!(low.list(Entity::Deals, ListQuery::new()).await.is_ok());
    sim.set_faults(always(FaultKind::Error500)).unwrap();
    for _ in 0..30 {
        let _ = client.list(Entity::Deals, ListQuery::new()).await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = low.list(Entity::Deals, ListQuery::new()).await.unwrap_err();
    assert!(refused.is_local(), "{refused:?}");
    assert_eq!(refused.kind(), &ErrorKind::NotAdmitted);
    let asked = sim.truth().requests;
    assert!(!client.list(Entity::Deals, ListQuery::new()).await.unwrap_err().is_local());
    assert_eq!(sim.truth().requests, asked + 1, "the more urgent ask on");
    sim.set_faults(Faults::none()).unwrap();
    for _ in 0..200 {
        let _ = client.list(Entity::Deals, ListQuery::new()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        low.list(Entity::Deals, ListQuery::new()).await.is_ok(),
        "{:?}",
        client.limiter().status().shedding
    );
    shed.abort();
}
