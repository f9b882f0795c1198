//! What is known afterwards: counts, statistics, patterns, history, learning.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::Method;
use tower_retry_classify::{
    Backoff, BoxError, Class, Event, Jitter, Learning, Reason, RecentHistory, RetryBudget,
    RetryBuilder, RetryPolicy, RetryRecord, Shape, Verdict,
};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn plain() -> RetryBuilder<Request, Response> {
    let backoff = Backoff::exponential(seconds(1), 2.0).jitter(Jitter::None);
    RetryPolicy::http().backoff(backoff).local(is_local).budget(RetryBudget::unlimited())
}

fn at(method: Method, path: &str) -> Request {
    let mut request = request(method);
    *request.uri_mut() = path.parse().unwrap();
    request
}

async fn play(policy: &RetryPolicy<Request, Response>, request: Request, outcomes: Vec<Outcome>) {
    let script = Script::new(outcomes);
    let _ = script.run(policy, request).await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_class_endpoint_and_end() {
    let policy = plain().build().unwrap();
    let deals = || at(Method::GET, "/deals/7?api_token=secret");
    play(&policy, deals(), vec![status(200)]).await;
    play(&policy, deals(), vec![status(500), status(429), status(200)]).await;
    play(&policy, deals(), vec![status(500), status(404)]).await;
    play(&policy, at(Method::POST, "/notes"), vec![status(500)]).await;
    play(&policy, at(Method::GET, "/me"), vec![status(401)]).await;
    play(&policy, deals(), vec![status(500), Err(Local.into())]).await;
    play(&policy, deals(), vec![Err(Local.into())]).await;
    play(&policy, deals(), vec![Err("odd".into())]).await;

    let errors = policy.stats().errors(HOUR);
    assert_eq!((errors.total, errors.critical), (8, 1));
    assert_eq!((errors.recovered, errors.lost), (1, 5));
    assert_eq!(errors.recovery_rate(), Some(1.0 / 6.0));
    let expected = [
        (Class::Server, 4),
        (Class::RateLimit, 1),
        (Class::NotFound, 1),
        (Class::Auth, 1),
        (Class::Other, 1),
    ];
    assert_eq!(errors.by_class, expected);
    let by_endpoint: Vec<_> = errors.by_endpoint.iter().map(|(at, n)| (at.as_str(), *n)).collect();
    assert_eq!(by_endpoint, [("GET /deals/{id}", 6), ("POST /notes", 1), ("GET /me", 1)]);
    let top = &errors.top[0];
    assert_eq!((top.endpoint.as_str(), top.class), ("GET /deals/{id}", Class::Server));
    // The call that recovered did so from a 429, its last failure; the refused one was lost to its 500.
    assert_eq!((top.failed, top.recovered, top.lost), (3, 0, 1));
    assert_eq!(top.advice, Class::Server.advice());
    assert_eq!(errors.per_minute.iter().sum::<u64>(), 8);
    assert_eq!(errors.per_minute.len(), 60);
    assert_eq!(policy.stats().errors(Duration::ZERO).per_minute.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_ten_most_frequent_errors_are_told_the_most_frequent_first() {
    let policy =
        plain().class(Class::Server, tower_retry_classify::ClassPolicy::never()).build().unwrap();
    for n in 1..=12_u64 {
        for _ in 0..n {
            play(&policy, at(Method::GET, &format!("/list-{n}")), vec![status(500)]).await;
        }
    }
    let errors = policy.stats().errors(HOUR);
    let top: Vec<_> = errors.top.iter().map(|it| it.lost).collect();
    assert_eq!(top, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(errors.by_endpoint.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn nothing_failed_means_that_nothing_is_known() {
    let policy = plain().build().unwrap();
    play(&policy, get(), vec![status(200)]).await;
    let errors = policy.stats().errors(HOUR);
    assert_eq!((errors.total, errors.recovery_rate()), (0, None));
    assert!(errors.top.is_empty() && policy.stats().patterns(HOUR).is_empty());
}

#[tokio::test(start_paused = true)]
async fn how_often_the_nth_attempt_succeeds_is_known() {
    let policy = plain().build().unwrap();
    for _ in 0..3 {
        play(&policy, get(), vec![status(200)]).await;
    }
    play(&policy, get(), vec![status(500), status(200)]).await;
    play(&policy, get(), vec![status(500), status(500), status(404)]).await;
    let stats = policy.stats().snapshot();
    let rates: Vec<_> = (0..=4).map(|n| stats.success_rate_at(n)).collect();
    assert_eq!(rates, [None, Some(0.6), Some(0.5), Some(0.0), None]);
}

#[tokio::test(start_paused = true)]
async fn the_window_follows_the_clock() {
    let policy = plain().build().unwrap();
    for minute in 0..90_u64 {
        let outcome = if minute < 45 { status(404) } else { status(403) };
        play(&policy, get(), vec![outcome]).await;
        tokio::time::advance(seconds(60)).await;
    }
    tokio::time::advance(seconds(30)).await;
    // Ninety minutes have passed and half of the next.
    let stats = policy.stats();
    assert_eq!(stats.errors(HOUR).total, 59);
    assert_eq!(stats.errors(seconds(600)).by_class, [(Class::Forbidden, 9)]);
    assert_eq!(stats.errors(seconds(61)).total, 1, "whole minutes: this one and the one before");
    let patterns = stats.patterns(HOUR);
    let found: Vec<_> = patterns.iter().map(|it| (it.class, it.failed, it.shape)).collect();
    assert_eq!(found, [(Class::Forbidden, 45, Shape::Steady)]);
    assert_eq!(patterns[0].last_seen, seconds(60));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_that_failed_leaves_a_record_and_each_recovery() {
    let history = RecentHistory::default();
    let policy = plain()
        .history(history.clone())
        .wall_clock(|| SystemTime::UNIX_EPOCH + seconds(7))
        .build()
        .unwrap();
    play(&policy, get(), vec![status(200)]).await;
    play(&policy, get(), vec![io(ErrorKind::ConnectionReset), status(503), status(200)]).await;
    play(&policy, request(Method::POST), vec![status(500)]).await;
    play(&policy, get(), vec![status(429), Err(Local.into())]).await;
    play(&policy, get(), vec![Err(Local.into())]).await;
    let records = history.records();
    let short: Vec<_> = records.iter().map(|it| (it.class, it.attempt, it.event)).collect();
    let retried = |wait| Event::Retried { wait: seconds(wait) };
    let gave_up = |reason| Event::GaveUp { reason };
    let expected = [
        (Class::Connection, 1, retried(1)),
        (Class::Server, 2, retried(2)),
        (Class::Server, 3, Event::Recovered),
        (Class::Server, 1, gave_up(Reason::NotIdempotent)),
        (Class::RateLimit, 1, retried(1)),
        (Class::RateLimit, 2, gave_up(Reason::Refused)),
    ];
    assert_eq!(short, expected);
    assert!(records.iter().all(|it| it.at == SystemTime::UNIX_EPOCH + seconds(7)));
    assert_eq!(records[0].endpoint, "GET /deals");
}

#[tokio::test(start_paused = true)]
async fn history_is_bounded_and_keeps_the_newest() {
    let history = RecentHistory::new(3);
    let policy = plain().history(history.clone()).build().unwrap();
    for code in [400, 401, 402, 403, 404] {
        play(&policy, get(), vec![status(code)]).await;
    }
    let classes: Vec<_> = history.records().iter().map(|it| it.class).collect();
    assert_eq!(classes, [Class::Quota, Class::Forbidden, Class::NotFound]);
    let least = RecentHistory::new(0);
    let policy = plain().history(least.clone()).build().unwrap();
    for code in [403, 404] {
        play(&policy, get(), vec![status(code)]).await;
    }
    assert_eq!(least.records().iter().map(|it| it.class).collect::<Vec<_>>(), [Class::NotFound]);
    let default = RecentHistory::default();
    let policy = plain().history(default.clone()).build().unwrap();
    for _ in 0..1_001 {
        play(&policy, get(), vec![status(404)]).await;
    }
    assert_eq!(default.records().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_sink_may_ask_for_statistics_while_it_takes_a_record() {
    // No lock is held while it runs.
    let slot: Arc<Mutex<Option<tower_retry_classify::RetryStats>>> = Arc::default();
    let seen = Arc::new(Mutex::new(0));
    let (inner, count) = (Arc::clone(&slot), Arc::clone(&seen));
    let policy = plain()
        .history(move |_: &RetryRecord| {
            let stats = inner.lock().unwrap();
            *count.lock().unwrap() = stats.as_ref().unwrap().errors(HOUR).total;
        })
        .build()
        .unwrap();
    *slot.lock().unwrap() = Some(policy.stats());
    play(&policy, get(), vec![status(404)]).await;
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_can_be_named_by_the_user() {
    let policy = plain().endpoint(|request| request.method().to_string()).build().unwrap();
    play(&policy, get(), vec![status(404)]).await;
    assert_eq!(policy.stats().errors(HOUR).by_endpoint, [("GET".to_owned(), 1)]);
    let nameless = RetryPolicy::<Request, Response>::builder_with(|it| Some(it.clone()))
        .classify(|_: &Request, _: Result<&Response, &BoxError>| Verdict::never(Class::Body))
        .build()
        .unwrap();
    play(&nameless, get(), vec![status(200)]).await;
    assert_eq!(nameless.stats().errors(HOUR).by_endpoint, [(String::new(), 1)]);
}

async fn first_wait(policy: &RetryPolicy<Request, Response>, path: &str) -> u128 {
    let script = Script::new([status(500), status(500), status(200)]);
    script.run(policy, at(Method::GET, path)).await.unwrap();
    let waits = script.waits();
    assert_eq!(waits[1], 2_000, "the second delay is as ever");
    waits[0]
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_gets_a_longer_first_delay_until_it_is_forgotten() {
    let off = plain().build().unwrap();
    let on = plain().learning(Learning::new().half_life(seconds(3_600))).build().unwrap();
    let mut learned = Vec::new();
    for _ in 0..20 {
        assert_eq!(first_wait(&off, "/deals").await, 1_000, "off by default");
        learned.push(first_wait(&on, "/deals").await);
    }
    assert_eq!(learned[..3], [1_000, 1_000, 1_000]);
    assert!(learned.windows(2).all(|pair| pair[0] <= pair[1]), "{learned:?}");
    assert_eq!(learned[19], 8_000, "eight times at most");
    assert_eq!(first_wait(&on, "/notes").await, 1_000, "others are not to blame");
    tokio::time::advance(seconds(10 * 3_600)).await;
    assert_eq!(first_wait(&on, "/deals").await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_is_learned_passes_neither_the_cap_nor_what_the_server_asks_for() {
    let backoff = Backoff::constant(seconds(1)).cap(seconds(3)).jitter(Jitter::None);
    let policy = plain().backoff(backoff).learning(Learning::new()).build().unwrap();
    for _ in 0..20 {
        play(&policy, get(), vec![status(503), status(404)]).await;
    }
    let script = Script::new([status(503), status(404)]);
    script.run(&policy, get()).await.unwrap();
    assert_eq!(script.waits(), [3_000]);
    let script = Script::new([told(503, "1"), status(404)]);
    script.run(&policy, get()).await.unwrap();
    assert_eq!(script.waits(), [1_000]);
}
