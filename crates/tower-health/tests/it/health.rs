//! The passive score, as a caller sees it, on a paused clock.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_health::{
    BoxError, ErrorsBad, Health, HealthLayer, HealthService, Reason, ResponseFuture, State, Trend,
    Verdict,
};
use tower_test::{assert_request_eq, mock};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn health() -> Health {
    Health::builder("test").hysteresis(3, 5 * SECOND).build().unwrap()
}

fn good(health: &Health, times: usize) {
    (0..times).for_each(|_| health.record(Verdict::Good, MILLI));
}

fn bad(health: &Health, times: usize) {
    (0..times).for_each(|_| health.record(Verdict::Bad, MILLI));
}

#[tokio::test(start_paused = true)]
async fn unknown_until_the_first_outcome() {
    let health = health();
    assert_eq!(health.state(), State::Unknown);
    assert_eq!(health.report().reason, Reason::NoCalls);
    assert_eq!(health.report().p50, None);
    health.record(Verdict::Ignore, MILLI);
    assert_eq!(health.state(), State::Unknown);
    good(&health, 1);
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn one_bad_call_alone_says_nothing() {
    let health = health();
    bad(&health, 2);
    assert_eq!(health.state(), State::Unknown);
    bad(&health, 1);
    assert_eq!(health.state(), State::Degraded);
    assert_eq!(health.report().reason, Reason::Streak { bad: 3 });
}

#[tokio::test(start_paused = true)]
async fn each_state_has_its_error_rate() {
    for (good_calls, bad_calls, state) in [
        (91, 9, State::Healthy),
        (90, 10, State::Degraded),
        (51, 49, State::Degraded),
        (50, 50, State::Critical),
        (11, 89, State::Critical),
        (10, 90, State::Unavailable),
    ] {
        let health = Health::builder("rates").failure_threshold(1_000).build().unwrap();
        good(&health, good_calls);
        bad(&health, bad_calls);
        assert_eq!(health.state(), state, "{good_calls} good, {bad_calls} bad");
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_calls_are_no_error_rate() {
    let health = Health::builder("few").failure_threshold(100).build().unwrap();
    good(&health, 1);
    bad(&health, 8);
    assert_eq!(health.state(), State::Healthy);
    bad(&health, 1);
    assert_eq!(health.state(), State::Unavailable, "nine of ten");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_degrade() {
    let health = health();
    (0..9).for_each(|_| health.record(Verdict::Good, 2 * SECOND));
    assert_eq!(health.state(), State::Healthy, "too few to say");
    health.record(Verdict::Good, 2 * SECOND);
    let report = health.report();
    assert_eq!(report.state, State::Degraded);
    assert_eq!(report.reason, Reason::Latency { average: 2 * SECOND, limit: SECOND });
    assert_eq!(report.reason.to_string(), "calls took 2s on average, the limit is 1s");
    (0..10).for_each(|_| health.record(Verdict::Good, 30 * SECOND));
    assert_eq!(health.state(), State::Critical);
}

#[tokio::test(start_paused = true)]
async fn the_average_may_equal_the_limit() {
    let health = health();
    (0..20).for_each(|_| health.record(Verdict::Good, SECOND));
    assert_eq!(health.state(), State::Healthy);
    health.record(Verdict::Good, SECOND + MILLI);
    assert_eq!(health.state(), State::Degraded);
}

#[tokio::test(start_paused = true)]
async fn worse_is_believed_at_once_and_better_after_calls_and_time() {
    let health = Health::builder("h")
        .window(10 * SECOND)
        .idle_after(1_000 * SECOND)
        .hysteresis(3, 5 * SECOND)
        .build()
        .unwrap();
    bad(&health, 10);
    assert_eq!(health.state(), State::Unavailable);

    // The bad ones leave the window; from here on all speaks for health.
    advance(11 * SECOND).await;
    good(&health, 100);
    assert_eq!(health.state(), State::Unavailable, "many calls, no time");
    advance(5 * SECOND - MILLI).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Unavailable);
    advance(MILLI).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Healthy);

    bad(&health, 40);
    assert_eq!(health.state(), State::Degraded);
    advance(11 * SECOND).await;
    good(&health, 1);
    advance(6 * SECOND).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Degraded, "time, but two calls only");
    good(&health, 1);
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_relapse_starts_the_waiting_again() {
    let health = Health::builder("h")
        .failure_threshold(2)
        .min_calls(1_000)
        .hysteresis(1, 5 * SECOND)
        .build()
        .unwrap();
    bad(&health, 2);
    good(&health, 1);
    advance(4 * SECOND).await;
    bad(&health, 2);
    advance(2 * SECOND).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Degraded);
    advance(5 * SECOND).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn it_improves_to_the_worst_that_was_seen_on_the_way() {
    let health = Health::builder("h")
        .window(10 * SECOND)
        .failure_threshold(1_000)
        .hysteresis(2, 2 * SECOND)
        .build()
        .unwrap();
    bad(&health, 10);
    assert_eq!(health.state(), State::Unavailable);
    good(&health, 5); // 10 of 15: critical
    advance(SECOND).await;
    good(&health, 15); // 10 of 30: degraded
    advance(SECOND).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Critical);
    good(&health, 1);
    advance(2 * SECOND).await;
    good(&health, 1);
    assert_eq!(health.state(), State::Degraded);
    assert!(matches!(health.report().reason, Reason::ErrorRate { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_just_went_bad_is_not_let_off_because_the_minute_before_was_good() {
    let health = health();
    good(&health, 600);
    bad(&health, 3);
    assert_eq!(health.state(), State::Degraded);
    // Every fourth fails from now on; of the whole window that is nothing yet.
    for _ in 0..30 {
        good(&health, 3);
        bad(&health, 1);
        advance(SECOND).await;
        assert_eq!(health.state(), State::Degraded);
    }
    let report = health.report();
    assert!(report.error_rate < 0.1, "{report:?}");
    for _ in 0..12 {
        good(&health, 4);
        advance(SECOND).await;
    }
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn idle_is_unknown_though_nobody_calls() {
    let health = health();
    good(&health, 10);
    advance(59 * SECOND).await;
    assert_eq!(health.state(), State::Healthy);
    advance(SECOND).await;
    assert_eq!(health.state(), State::Unknown);
    assert_eq!(health.report().reason.to_string(), "no call for 60s");
    // What was before says nothing now.
    bad(&health, 1);
    assert_eq!(health.state(), State::Unknown);
    good(&health, 1);
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn who_was_unknown_and_falls_idle_has_not_changed() {
    let health = health();
    let watch = health.watch();
    for _ in 0..5 {
        bad(&health, 1);
        advance(61 * SECOND).await;
        assert_eq!(health.state(), State::Unknown);
    }
    assert_eq!(health.report().changes, 0);
    assert!(!watch.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_row_does_not_reach_over_an_idle_time_that_nobody_saw() {
    let health = health();
    bad(&health, 2);
    advance(60 * SECOND).await;
    bad(&health, 1);
    assert_eq!(health.state(), State::Unknown);
    bad(&health, 2);
    assert_eq!(health.state(), State::Degraded);
}

#[tokio::test(start_paused = true)]
async fn a_row_degrades_a_service_that_is_good_otherwise() {
    let health = health();
    good(&health, 1_000);
    bad(&health, 3);
    assert_eq!(health.report().reason, Reason::Streak { bad: 3 });
}

#[tokio::test(start_paused = true)]
async fn seven_of_a_hundred_are_seven_hundredths() {
    let builder = Health::builder("h").failure_threshold(100);
    let health = builder.degraded_at(0.07, None).critical_at(0.5, None).build().unwrap();
    good(&health, 93);
    bad(&health, 6);
    assert_eq!(health.state(), State::Healthy);
    bad(&health, 1);
    assert_eq!(health.state(), State::Degraded);
}

#[tokio::test(start_paused = true)]
async fn the_report_holds_the_figures() {
    let health = health();
    for n in 1..=100 {
        let verdict = if n % 20 == 0 { Verdict::Bad } else { Verdict::Good };
        health.record(verdict, n * MILLI);
        advance(100 * MILLI).await;
    }
    let report = health.report();
    assert_eq!((report.calls, report.bad, report.consecutive_bad), (100, 5, 1));
    assert!((report.error_rate - 0.05).abs() < 1e-9);
    assert_eq!(report.average, Duration::from_micros(50_500));
    for (found, exact) in [(report.p50, 50.0), (report.p95, 95.0), (report.p99, 99.0)] {
        let found = found.unwrap().as_secs_f64() * 1_000.0;
        assert!((found - exact).abs() <= exact * 0.011, "{found} is not {exact}");
    }
    assert_eq!((report.state, &*report.name, report.changes), (State::Healthy, "test", 1));
}

#[tokio::test(start_paused = true)]
async fn the_trend_compares_the_halves() {
    let trend = |older: (Verdict, u32), newer: (Verdict, u32)| async move {
        let health = Health::builder("t").window(10 * SECOND).build().unwrap();
        (0..10).for_each(|_| health.record(older.0, older.1 * MILLI));
        assert_eq!(health.report().trend, Trend::Unknown);
        advance(5 * SECOND).await;
        (0..10).for_each(|_| health.record(newer.0, newer.1 * MILLI));
        health.report().trend
    };
    use Verdict::{Bad, Good};
    assert_eq!(trend((Good, 100), (Good, 110)).await, Trend::Steady);
    assert_eq!(trend((Good, 100), (Good, 130)).await, Trend::Worsening);
    assert_eq!(trend((Good, 100), (Good, 70)).await, Trend::Improving);
    assert_eq!(trend((Good, 100), (Bad, 10)).await, Trend::Worsening);
    assert_eq!(trend((Bad, 10), (Good, 100)).await, Trend::Improving);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_each_change_with_its_reason() {
    let health = health();
    let mut watch = health.watch();
    assert_eq!(watch.borrow_and_update().to, State::Unknown);
    good(&health, 20);
    let first = watch.borrow_and_update().clone();
    assert_eq!((first.number, first.from, first.to), (1, State::Unknown, State::Healthy));
    good(&health, 70);
    assert!(!watch.has_changed().unwrap());
    bad(&health, 1);
    assert!(!watch.has_changed().unwrap());
    bad(&health, 9);
    let second = watch.borrow_and_update().clone();
    assert_eq!((second.number, second.to), (2, State::Degraded));
    assert_eq!(second.reason.to_string(), "3 bad ones in a row");
    health.reset();
    assert_eq!(watch.borrow_and_update().reason, Reason::Reset);
    assert_eq!(health.report().calls, 0);
}

fn layer(health: &Health) -> HealthLayer<ErrorsBad> {
    HealthLayer::new(health.clone(), ErrorsBad)
}

#[tokio::test(start_paused = true)]
async fn the_service_measures_from_call_to_answer_and_changes_nothing() {
    let health = health();
    let (mut service, mut inner) = mock::spawn_layer::<&str, &str, _>(layer(&health));

    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call("a"));
    let request = assert_request_eq!(inner, "a");
    assert_pending!(response.poll());
    advance(100 * MILLI).await;
    request.send_response("A");
    assert_ready_ok!(response.poll(), "A");
    let report = health.report();
    assert_eq!((report.calls, report.bad, report.average), (1, 0, 100 * MILLI));

    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call("b"));
    assert_request_eq!(inner, "b").send_error("boom");
    assert_eq!(assert_ready_err!(response.poll()).to_string(), "boom");
    drop(response);
    let report = health.report();
    assert_eq!((report.calls, report.bad), (2, 1), "an answered call counts once");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_is_nobodys_latency() {
    let health = health();
    let (mut service, mut inner) = mock::spawn_layer::<&str, &str, _>(layer(&health));
    inner.allow(0);
    assert_pending!(service.poll_ready());
    advance(10 * SECOND).await;
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call("a"));
    assert_request_eq!(inner, "a").send_response("A");
    assert_ready_ok!(response.poll(), "A");
    assert_eq!(health.report().average, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_bad_with_the_time_it_had_run() {
    let health = health();
    let mut service = ServiceBuilder::new()
        .layer(layer(&health))
        .service(service_fn(|(): ()| pending::<Result<(), BoxError>>()));
    for _ in 0..3 {
        assert!(timeout(SECOND, service.ready().await.unwrap().call(())).await.is_err());
    }
    let report = health.report();
    assert_eq!((report.calls, report.bad, report.state), (3, 3, State::Degraded));
    // Tokio's timer ticks once per millisecond.
    assert!(report.average >= SECOND && report.average < SECOND + 3 * MILLI);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_call_counts_for_can_be_set() {
    let health = Health::builder("drops").cancelled(Verdict::Ignore).build().unwrap();
    let mut service = ServiceBuilder::new()
        .layer(layer(&health))
        .service(service_fn(|(): ()| pending::<Result<(), BoxError>>()));
    drop(service.ready().await.unwrap().call(()));
    assert_eq!(health.report().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn the_judge_decides_what_is_bad() {
    let health = health();
    let judge = |outcome: Result<&u16, &BoxError>| match outcome {
        Ok(500..) | Err(_) => Verdict::Bad,
        Ok(400..) => Verdict::Ignore,
        Ok(_) => Verdict::Good,
    };
    let mut service = ServiceBuilder::new().layer(HealthLayer::new(health.clone(), judge)).service(
        service_fn(|status: u16| async move {
            sleep(MILLI).await;
            Ok::<_, BoxError>(status)
        }),
    );
    for status in [200, 404, 503, 429, 500] {
        service.ready().await.unwrap().call(status).await.unwrap();
    }
    let report = health.report();
    assert_eq!((report.calls, report.bad), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_inner_call_is_counted_and_poisons_nothing() {
    let health = health();
    let mut service = ServiceBuilder::new().layer(layer(&health)).service(service_fn(
        |(): ()| -> std::future::Ready<Result<(), BoxError>> { panic!("on purpose") },
    ));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(service.call(()));
    }));
    assert!(panicked.is_err());
    assert_eq!(health.report().bad, 1);
}

#[tokio::test(start_paused = true)]
async fn readiness_and_its_errors_are_those_of_the_inner_service() {
    let health = health();
    let (mut service, mut inner) = mock::spawn_layer::<(), (), _>(layer(&health));
    inner.allow(0);
    assert_pending!(service.poll_ready());
    inner.send_error("gone");
    assert!(assert_ready!(service.poll_ready()).is_err());
    assert_eq!(health.report().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_good_calls_do_not_hide_an_outage() {
    let health = health();
    good(&health, 100_000);
    advance(61 * SECOND).await;
    bad(&health, 10);
    assert_eq!(health.state(), State::Unavailable);
    assert_eq!(health.report().since, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_call_of_absurd_length_counts_as_a_day_and_leaves_the_rest_right() {
    let day = Duration::from_secs(24 * 60 * 60);
    let health = health();
    health.record(Verdict::Good, Duration::MAX);
    assert_eq!(health.report().average, day);
    health.record(Verdict::Good, Duration::from_nanos(u64::MAX));
    assert_eq!(health.report().average, day);
    health.reset();
    health.record(Verdict::Good, SECOND);
    assert_eq!(health.report().average, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_by_years_forgets_and_goes_on() {
    let health = health();
    bad(&health, 20);
    for _ in 0..3 {
        advance(Duration::from_secs(5 * 365 * 24 * 60 * 60)).await;
        assert_eq!(health.state(), State::Unknown);
        good(&health, 1);
        assert_eq!((health.state(), health.report().calls), (State::Healthy, 1));
    }
}

#[test]
fn everything_can_be_sent_and_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send + 'static>() {}
    type Inner = BoxCloneSyncService<(), (), BoxError>;
    shared::<Health>();
    shared::<HealthLayer<ErrorsBad>>();
    shared::<HealthService<Inner, ErrorsBad>>();
    sent::<ResponseFuture<<Inner as Service<()>>::Future, ErrorsBad>>();
}
