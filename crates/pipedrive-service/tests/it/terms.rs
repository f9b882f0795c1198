//! On what terms calls ask for budget: how urgent, since when, wait or not; and how the day is shared among them.

use std::{pin::pin, sync::Arc, time::Duration};

use crate::support::{client, config, sim, small};
use futures_util::{StreamExt as _, future::join_all};
use http::{Request, Response};
use http_body_util::Full;
use pipedrive_service::{
    Call, Client, Entity, ErrorKind, ListQuery, OnLimit, Priority, WalkOptions, stack::CallTerms,
};
use saas_sim::pipedrive::{FaultKind, Faults, Rule, SimConfig};
use tokio::time::{Instant, sleep};
use tower_health::CheckOutcome;
use tower_ratelimit_tokens::{Admission, Ask as _, Terms};

/// One request in two seconds, so that there is a queue to stand in.
const NARROW: &[(&str, &str)] = &[("PIPEDRIVE_BURST_LIMIT", "1")];

/// The paths of what the account was asked, in order.
fn asked(sim: &saas_sim::pipedrive::Sim) -> Vec<String> {
    sim.truth().log.iter().map(|entry| path(&entry.target)).collect()
}

fn path(target: &str) -> String {
    target.split('?').next().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_urgent_call_goes_before_those_that_came_earlier() {
    let sim = sim(small());
    let client = client(&sim, NARROW);
    let slow = client.with_priority(Priority::LOW);
    let urgent = client.with_priority(Priority::HIGH);
    let page = || ListQuery::new().limit(10);
    let low = join_all([Entity::Deals, Entity::Persons, Entity::Notes].map(|entity| {
        let slow = slow.clone();
        async move { slow.list(entity, page()).await.unwrap() }
    }));
    let high = async {
        sleep(Duration::from_millis(500)).await;
        // A page of its own may be as urgent as the client that stands for a person.
        let products = client.list(Entity::Products, page().priority(Priority::CRITICAL));
        tokio::join!(urgent.get(Entity::Deals, 1), products)
    };
    let (_, (deal, products)) = tokio::join!(low, high);
    assert!(deal.is_ok() && products.is_ok());
    let order = [
        "/api/v2/deals",
        "/api/v2/products",
        "/api/v2/deals/1",
        "/api/v2/persons",
        "/api/v1/notes",
    ];
    assert_eq!(asked(&sim), order);
    assert_eq!(sim.truth().refusals.caused(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_place_of_its_first_attempt() {
    let rule = Rule { nth: Some(1), fault: Some(FaultKind::Error503), ..Rule::default() };
    let sim = sim(SimConfig { faults: Faults { rules: vec![rule], ..Faults::none() }, ..small() });
    let client = client(&sim, NARROW);
    let first = client.get(Entity::Deals, 1);
    let others = async {
        // Before the retry asks for budget, but after the first attempt did.
        sleep(Duration::from_millis(100)).await;
        join_all((2..6).map(|id| client.get(Entity::Deals, id))).await
    };
    let (first, others) = tokio::join!(first, others);
    assert!(first.is_ok() && others.iter().all(Result::is_ok));
    let asked = asked(&sim);
    assert_eq!(asked[..3], ["/api/v2/deals/1", "/api/v2/deals/1", "/api/v2/deals/2"], "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_long_enough_is_not_overtaken_any_more() {
    for (level_every, overtaken) in [("1", false), ("600", true)] {
        let sim = sim(small());
        let settings =
            [("PIPEDRIVE_BURST_LIMIT", "1"), ("PIPEDRIVE_RATE_LIMIT_LEVEL_EVERY", level_every)];
        let client = client(&sim, &settings);
        let (low, high) =
            (client.with_priority(Priority::LOW), client.with_priority(Priority::HIGH));
        let waiting = join_all((1..9).map(|id| low.get(Entity::Deals, id)));
        let late = async {
            // Six levels lie between them: 6 s of waiting make up for that, or an hour.
            sleep(Duration::from_millis(6_500)).await;
            high.get(Entity::Persons, 1).await.unwrap();
        };
        tokio::join!(waiting, late);
        let asked = asked(&sim);
        let last = asked.last().map(String::as_str) == Some("/api/v2/persons/1");
        assert_eq!(last, !overtaken, "{level_every}: {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_wait_is_refused_at_once_and_says_when_to_come_back() {
    let sim = sim(small());
    let client = client(&sim, NARROW);
    client.me().await.unwrap();
    assert!(!client.can_make_request(Entity::Deals));
    let since = Instant::now();
    let query = ListQuery::new().on_limit(OnLimit::Reject);
    let error = client.list(Entity::Deals, query).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotAdmitted), "{error:?}");
    assert!(error.is_local() && error.is_retryable());
    let after = error.retry_after().unwrap();
    assert!(after > Duration::from_secs(1) && after <= Duration::from_secs(3), "{after:?}");
    assert_eq!((since.elapsed(), sim.truth().requests), (Duration::ZERO, 1));
    sleep(after).await;
    assert!(client.can_make_request(Entity::Deals));
    assert_eq!(
        client.would_admit(Entity::Deals, pipedrive_service::Action::List),
        Some(Admission::Now)
    );
}

#[tokio::test(start_paused = true)]
async fn the_setting_is_for_calls_that_say_nothing_of_it() {
    let sim = sim(small());
    let settings = [("PIPEDRIVE_BURST_LIMIT", "1"), ("PIPEDRIVE_RATE_LIMIT_ON_LIMIT", "reject")];
    let client = client(&sim, &settings);
    client.me().await.unwrap();
    assert!(matches!(client.me().await.unwrap_err().kind(), ErrorKind::NotAdmitted));
    client.with_on_limit(OnLimit::Wait).me().await.unwrap();
    client.list(Entity::Deals, ListQuery::new().on_limit(OnLimit::Wait)).await.unwrap();
    let mut walk =
        pin!(client.walk(Entity::Deals, WalkOptions::new().prefetch(0).on_limit(OnLimit::Wait)));
    walk.next().await.unwrap().unwrap();
    assert_eq!(sim.truth().requests, 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_the_newcomer_or_the_least_urgent() {
    for (whom, low_ends, high_ends) in
        [("refuse_newcomer", true, false), ("evict_lowest", false, true)]
    {
        let sim = sim(small());
        let settings = [
            ("PIPEDRIVE_BURST_LIMIT", "1"),
            ("PIPEDRIVE_RATE_LIMIT_QUEUE_SIZE", "1"),
            ("PIPEDRIVE_RATE_LIMIT_WHEN_FULL", whom),
        ];
        let client = client(&sim, &settings);
        client.me().await.unwrap();
        let (low, high) =
            (client.with_priority(Priority::LOW), client.with_priority(Priority::HIGH));
        let (low, high) = tokio::join!(low.me(), async {
            sleep(Duration::from_millis(10)).await;
            high.me().await
        });
        assert_eq!((low.is_ok(), high.is_ok()), (low_ends, high_ends), "{whom}");
        let refused = low.err().or(high.err()).unwrap();
        assert!(refused.is_local() && matches!(refused.kind(), ErrorKind::NotAdmitted));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_the_day_is_for_urgent_calls() {
    let sim = sim(SimConfig { day_tokens: Some(100), ..small() });
    let settings = [
        ("PIPEDRIVE_PLAN", ""),
        ("PIPEDRIVE_DAILY_TOKEN_BUDGET", "100"),
        ("PIPEDRIVE_RATE_LIMIT_RESERVE", "0.3"),
        ("PIPEDRIVE_RATE_LIMIT_RESERVE_FROM", "6"),
    ];
    let client = client(&sim, &settings);
    let page = || ListQuery::new().limit(10);
    for _ in 0..7 {
        client.list(Entity::Deals, page()).await.unwrap();
    }
    let error = client.list(Entity::Deals, page()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::BudgetExhausted { budget: "day".into() }, "{error:?}");
    assert!(error.is_local() && error.retry_after().is_some());
    // The probe is urgent by itself; a list of currencies costs 20 of the 30 that are kept.
    assert!(client.check_health().await.outcome.is_good());
    client.list(Entity::Deals, page().priority(Priority::new(6))).await.unwrap();
    assert!(client.list(Entity::Deals, page().priority(Priority::HIGH)).await.is_err());
    let truth = sim.truth();
    assert_eq!((truth.day.used, truth.refusals.caused()), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn an_even_pace_spreads_the_day_and_a_predictive_one_lets_a_short_walk_run() {
    for (pace, least, most) in [("even", 4 * 500, 4 * 600), ("predictive", 0, 5), ("none", 0, 5)] {
        let sim = sim(SimConfig { day_tokens: Some(1_000), ..small() });
        let settings = [
            ("PIPEDRIVE_PLAN", ""),
            ("PIPEDRIVE_DAILY_TOKEN_BUDGET", "1000"),
            ("PIPEDRIVE_RATE_LIMIT_DAY_PACING", pace),
            ("PIPEDRIVE_RATE_LIMIT_QUEUE_TIMEOUT", "86400"),
        ];
        let client = client(&sim, &settings);
        let since = Instant::now();
        for _ in 0..5 {
            client.list(Entity::Deals, ListQuery::new().limit(10)).await.unwrap();
        }
        // 15 hours are left of the simulated day, and 100 lists of 10 tokens: 540 s each.
        let took = since.elapsed().as_secs();
        assert!((least..=most).contains(&took), "{pace}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_call_carries_the_clients_priority_and_its_own_arrival() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    let transport = tower::service_fn(move |request: Request<Full<bytes::Bytes>>| {
        let call = request.extensions().get::<Call>().unwrap();
        calls.lock().unwrap().push((call.priority(), call.arrived()));
        async {
            Ok::<_, std::io::Error>(Response::new(Full::new(bytes::Bytes::from_static(
                br#"{"success":true,"data":{"id":1}}"#,
            ))))
        }
    });
    let client =
        Client::builder(config(&[])).priority(Priority::LOW).build_over(transport).unwrap();
    let record = serde_json::json!({"title": "x"});
    let mut arrivals = Vec::new();
    for step in 0..5 {
        sleep(Duration::from_secs(1)).await;
        arrivals.push(Instant::now());
        match step {
            0 => drop(client.me().await),
            1 => drop(client.get(Entity::Deals, 1).await),
            2 => drop(client.create(Entity::Deals, &record).await),
            3 => drop(client.update(Entity::Deals, 1, &record).await),
            _ => drop(
                client
                    .call(Request::get("/api/v2/deals/1").body(bytes::Bytes::new()).unwrap())
                    .await,
            ),
        }
    }
    let wanted: Vec<_> = arrivals.into_iter().map(|at| (Priority::LOW, at)).collect();
    assert_eq!(*seen.lock().unwrap(), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_call_asks_as_anybody() {
    let bare = Request::new(bytes::Bytes::new());
    assert_eq!(CallTerms(OnLimit::Wait).terms(&bare), Terms::new());
    assert_eq!(CallTerms(OnLimit::Reject).terms(&bare), Terms::new().no_wait());
    let deadline = Instant::now() + Duration::from_secs(5);
    let long_ago = Instant::now();
    sleep(Duration::from_secs(1)).await;
    let call = Call::builder("/x").deadline(deadline).arrived(long_ago).on_limit(OnLimit::Wait);
    let mut request = Request::new(bytes::Bytes::new());
    request.extensions_mut().insert(call.build());
    let terms = Terms::new().deadline(Some(deadline)).arrived(Some(long_ago));
    assert_eq!(CallTerms(OnLimit::Reject).terms(&request), terms);
}

#[tokio::test(start_paused = true)]
async fn the_probe_asks_each_interval_and_not_while_the_budget_is_gone() {
    let sim = sim(small());
    let client = client(&sim, &[("PIPEDRIVE_HEALTH_CHECK_INTERVAL", "300")]);
    let (handle, watching) = client.watch_health();
    tokio::spawn(watching);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert!((3..=4).contains(&sim.truth().requests), "{}", sim.truth().requests);
    assert!(client.probe_status().state.is_healthy());
    let asked = sim.truth().requests;
    let day = client.budgets().day;
    client.limiter().set_used(day, 1_500_000);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    let status = client.probe_status();
    assert_eq!((sim.truth().requests, status.checks), (asked, asked));
    assert!(status.skipped >= 3 && client.check_health().await.outcome == CheckOutcome::Skipped);
    handle.stop();
}
