//! What a caller of the layer and a holder of the controller see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::{Method, Request, Response};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, util::BoxCloneSyncService};
use tower_adaptive_page::{
    Action, AdaptivePage, AdaptivePageLayer, BoxError, LearnBody, LearnContentLength, LearnTime,
    Learned, Memory, MemoryError, NamesPageSize, PageController, PageControllerBuilder, PageSample,
    ResponseFuture,
};
use tower_service::Service;
use tower_test::mock;

/// A memory of 100 MB that a test fills, and that counts how often it is read.
#[derive(Clone, Default)]
struct Meter {
    percent: Arc<AtomicU64>,
    reads: Arc<AtomicUsize>,
}

impl Meter {
    fn set(&self, percent: u64) {
        self.percent.store(percent, Ordering::SeqCst);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn controller(&self) -> PageController {
        let meter = self.clone();
        let probe = move || {
            meter.reads.fetch_add(1, Ordering::SeqCst);
            let used = meter.percent.load(Ordering::SeqCst) * 1_000_000;
            Some(Memory { used, limit: 100_000_000 })
        };
        PageController::builder().probe(probe).build().unwrap()
    }
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

type Spawned<L> = mock::Spawn<AdaptivePage<mock::Mock<Request<()>, Response<String>>, L>>;
type Inner = mock::Handle<Request<()>, Response<String>>;

fn spawn(controller: &PageController) -> (Spawned<NamesPageSize>, Inner) {
    mock::spawn_layer(AdaptivePageLayer::new(controller.clone()))
}

/// What was asked of the inner service; a test that waited for it might wait for ever.
#[track_caller]
fn next<Res>(inner: &mut mock::Handle<Request<()>, Res>) -> (Request<()>, mock::SendResponse<Res>) {
    inner.next_request().now_or_never().flatten().expect("nothing was asked for")
}

/// Sends `request` through and says which address arrived.
fn arrives(service: &mut Spawned<NamesPageSize>, inner: &mut Inner, uri: &str) -> String {
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get(uri)));
    assert_pending!(response.poll());
    let (request, answer) = next(inner);
    answer.send_response(Response::new("page".to_owned()));
    assert_ready_ok!(response.poll());
    request.uri().to_string()
}

#[tokio::test(start_paused = true)]
async fn with_memory_to_spare_a_list_request_asks_for_the_servers_maximum() {
    let controller = Meter::default().controller();
    let (mut service, mut inner) = spawn(&controller);
    let uri = arrives(&mut service, &mut inner, "/deals?limit=9999&status=won");
    assert_eq!(uri, "/deals?limit=500&status=won");
}

#[tokio::test(start_paused = true)]
async fn a_smaller_page_that_the_caller_asks_for_stays() {
    let controller = Meter::default().controller();
    let (mut service, mut inner) = spawn(&controller);
    assert_eq!(arrives(&mut service, &mut inner, "/files?limit=100"), "/files?limit=100");
    let status = controller.status();
    assert_eq!((status.smallest_used, status.sizes_used), (Some(100), vec![(100, 1)]));
}

#[tokio::test(start_paused = true)]
async fn when_memory_is_short_pages_shrink_at_once_and_grow_back_slowly() {
    let meter = Meter::default();
    let controller = meter.controller();
    let (mut service, mut inner) = spawn(&controller);
    meter.set(95);
    assert_eq!(arrives(&mut service, &mut inner, "/deals?limit=500"), "/deals?limit=250");

    meter.set(10);
    advance(Duration::from_secs(5)).await;
    assert_eq!(arrives(&mut service, &mut inner, "/deals?limit=500"), "/deals?limit=275");
    for _ in 0..7 {
        advance(Duration::from_secs(1)).await;
        let _ = controller.size();
    }
    assert_eq!(arrives(&mut service, &mut inner, "/deals?limit=500"), "/deals?limit=500");
    let status = controller.status();
    assert_eq!((status.smallest_used, status.largest_used), (Some(250), Some(500)));
    assert_eq!(status.sizes_used, [(250, 1), (275, 1), (500, 1)]);
    assert_eq!((status.shrinks, status.grows), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_request_passes_untouched_and_teaches_nothing() {
    let meter = Meter::default();
    meter.set(99);
    let controller = meter.controller();
    let (mut service, mut inner) = spawn(&controller);
    // Even when memory is short: reading one deal or writing is no page.
    for (method, uri) in [
        (Method::GET, "/deals/1"),
        (Method::GET, "/deals?limits=500"),
        (Method::POST, "/deals?limit=500"),
        (Method::DELETE, "/deals?limit=500"),
    ] {
        assert_ready_ok!(service.poll_ready());
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let mut response = task::spawn(service.call(request));
        assert_pending!(response.poll());
        let (request, answer) = next(&mut inner);
        assert_eq!(request.uri(), uri);
        answer.send_response(Response::new(String::new()));
        assert_ready_ok!(response.poll());
    }
    assert_eq!((controller.status().pages, meter.reads()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_closure_decides_what_a_list_is_and_the_parameter_is_added() {
    let controller = Meter::default().controller();
    let layer = AdaptivePageLayer::new(controller)
        .parameter("per_page")
        .only(|request: &Request<()>| request.uri().path().ends_with('s'));
    let (mut service, mut inner) = mock::spawn_layer::<_, Response<()>, _>(layer);
    for (uri, expected) in [
        ("/deals", "/deals?per_page=500"),
        ("/deals?a=%2C", "/deals?a=%2C&per_page=500"),
        ("/deal?per_page=900", "/deal?per_page=900"),
    ] {
        assert_ready_ok!(service.poll_ready());
        let _response = service.call(get(uri));
        assert_eq!(next(&mut inner).0.uri(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_rewrites_nothing_and_never_waits() {
    let meter = Meter::default();
    meter.set(99);
    let layer = AdaptivePageLayer::new(meter.controller()).enabled(false);
    let (mut service, mut inner) = mock::spawn_layer::<_, Response<()>, _>(layer);
    assert_ready_ok!(service.poll_ready());
    let _response = service.call(get("/deals?limit=9999"));
    assert_eq!(next(&mut inner).0.uri(), "/deals?limit=9999");
}

#[tokio::test(start_paused = true)]
async fn above_the_pause_threshold_a_call_waits_until_memory_is_free() {
    let meter = Meter::default();
    let controller = meter.controller();
    let (mut service, mut inner) = spawn(&controller);
    meter.set(96);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(response.poll());
    advance(Duration::from_secs(20)).await;
    assert!(response.is_woken(), "it looks again by itself");
    assert_pending!(response.poll());
    assert_pending!(inner.poll_request());

    meter.set(50);
    advance(Duration::from_millis(251)).await;
    assert!(response.is_woken());
    assert_pending!(response.poll());
    // Two readings were above the threshold: 500, 250, 125.
    let (request, answer) = next(&mut inner);
    assert_eq!(request.uri(), "/deals?limit=125");
    answer.send_response(Response::new(String::new()));
    assert_ready_ok!(response.poll());
}

#[tokio::test(start_paused = true)]
async fn after_thirty_seconds_of_waiting_the_call_is_refused() {
    let meter = Meter::default();
    meter.set(97);
    let controller = meter.controller();
    let start = Instant::now();
    let (mut service, mut inner) = spawn(&controller);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(response.poll());
    advance(Duration::from_millis(29_999)).await;
    assert_pending!(response.poll());
    advance(Duration::from_millis(2)).await;
    let error = assert_ready_err!(response.poll());
    let refused = error.downcast_ref::<MemoryError>().unwrap();
    assert_eq!(refused.memory(), Memory { used: 97_000_000, limit: 100_000_000 });
    assert_eq!(refused.pause_above(), 95);
    let waited = start.elapsed();
    assert_eq!(refused.waited(), waited);
    assert!(waited < Duration::from_millis(30_010), "{waited:?}");
    assert_pending!(inner.poll_request());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_no_readiness() {
    let meter = Meter::default();
    meter.set(99);
    let (mut service, mut inner) = spawn(&meter.controller());
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut waiting = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(waiting.poll());

    // A ready mock that is dropped gives its permit back: another call uses it.
    assert_ready_ok!(service.poll_ready());
    let mut other = task::spawn(service.call(get("/deals/1")));
    assert_pending!(other.poll());
    let (request, answer) = next(&mut inner);
    assert_eq!(request.uri(), "/deals/1");
    answer.send_response(Response::new(String::new()));
    assert_ready_ok!(other.poll());
}

#[tokio::test(start_paused = true)]
async fn the_only_permit_of_a_concurrency_limit_is_free_while_a_call_waits() {
    let meter = Meter::default();
    meter.set(99);
    let controller = meter.controller();
    let mut stack = ServiceBuilder::new()
        .layer(AdaptivePageLayer::new(controller))
        .layer(ConcurrencyLimitLayer::new(1))
        .service_fn(async |request: Request<()>| {
            Ok::<_, BoxError>(Response::new(request.uri().to_string()))
        });
    let first = stack.ready().await.unwrap().call(get("/deals?limit=500"));
    let mut first = task::spawn(first);
    assert_pending!(first.poll());
    // Neither the waiting call nor the service that it came through holds it.
    let other = stack.clone().oneshot(get("/deals/1")).now_or_never();
    let other = other.expect("the permit is held").unwrap();
    assert_eq!(other.body(), "/deals/1");
    meter.set(0);
    advance(Duration::from_millis(300)).await;
    assert_eq!(assert_ready_ok!(first.poll()).body(), "/deals?limit=250");
}

#[tokio::test(start_paused = true)]
async fn after_the_wait_the_clone_is_readied_before_it_is_called() {
    let meter = Meter::default();
    meter.set(99);
    let (mut service, mut inner) = spawn(&meter.controller());
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(response.poll());
    inner.allow(0);
    meter.set(0);
    advance(Duration::from_millis(300)).await;
    assert_pending!(response.poll());
    assert_pending!(inner.poll_request());
    inner.allow(1);
    assert!(response.is_woken());
    assert_pending!(response.poll());
    assert_eq!(next(&mut inner).0.uri(), "/deals?limit=250");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_is_dropped_never_calls() {
    let meter = Meter::default();
    meter.set(99);
    let (mut service, mut inner) = spawn(&meter.controller());
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(response.poll());
    drop(response);
    meter.set(0);
    advance(Duration::from_secs(1)).await;
    assert_pending!(inner.poll_request());
}

#[tokio::test(start_paused = true)]
async fn memory_is_read_at_the_interval_and_not_at_every_call() {
    let meter = Meter::default();
    let controller = meter.controller();
    for _ in 0..100 {
        let _ = controller.size();
        let _ = controller.action();
    }
    assert_eq!(meter.reads(), 1);
    advance(Duration::from_millis(249)).await;
    let _ = controller.size();
    assert_eq!(meter.reads(), 1);
    advance(Duration::from_millis(1)).await;
    let _ = controller.size();
    assert_eq!(meter.reads(), 2);
    // Looking at it reads nothing.
    advance(Duration::from_secs(1)).await;
    let _ = controller.status();
    assert_eq!(meter.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_teach_rows_bytes_and_time() {
    let controller = Meter::default().controller();
    let layer = AdaptivePageLayer::new(controller.clone()).learn(|answer: &Response<String>| {
        let rows = answer.body().lines().count() as u32;
        Learned { rows: Some(rows), bytes: Some(answer.body().len() as u64), took: None }
    });
    let (mut service, mut inner) = mock::spawn_layer::<Request<()>, _, _>(layer);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(get("/deals?limit=500")));
    assert_pending!(response.poll());
    let (_, answer) = next(&mut inner);
    advance(Duration::from_millis(40)).await;
    answer.send_response(Response::new("one\ntwo\n".to_owned()));
    assert_ready_ok!(response.poll());
    let status = controller.status();
    assert_eq!((status.pages, status.rows, status.bytes), (1, 2, 8));
    assert_eq!((status.bytes_per_row, status.took), (4, Duration::from_millis(40)));
}

#[tokio::test(start_paused = true)]
async fn the_learners_that_come_along_read_body_and_header() {
    use tower_adaptive_page::Learn;
    let answer = Response::builder().header("content-length", "77").body("12345").unwrap();
    assert_eq!(LearnBody.learn(&answer).bytes, Some(5));
    assert_eq!(LearnContentLength.learn(&answer).bytes, Some(77));
    assert_eq!(LearnTime.learn(&answer), Learned::default());
    assert_eq!(LearnContentLength.learn(&Response::new(())), Learned::default());
}

#[derive(Debug, thiserror::Error)]
#[error("the body is larger than 32 MiB")]
struct BodyTooLarge;

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_held_halves_the_page() {
    let controller = Meter::default().controller();
    let layer =
        AdaptivePageLayer::new(controller.clone()).too_large(|error| error.is::<BodyTooLarge>());
    let (mut service, mut inner) = mock::spawn_layer::<Request<()>, Response<()>, _>(layer);
    for error in [BoxError::from("reset"), BoxError::from(BodyTooLarge)] {
        assert_ready_ok!(service.poll_ready());
        let mut response = task::spawn(service.call(get("/deals?limit=500")));
        assert_pending!(response.poll());
        let (request, answer) = next(&mut inner);
        assert_eq!(request.uri(), "/deals?limit=500");
        let expected = error.to_string();
        answer.send_error(error);
        assert_eq!(assert_ready_err!(response.poll()).to_string(), expected);
    }
    assert_eq!((controller.size(), controller.status().too_large), (250, 1));
    assert_eq!(controller.status().pages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_page_size_that_is_no_number_is_left_to_the_server() {
    let controller = Meter::default().controller();
    let (mut service, mut inner) = spawn(&controller);
    assert_eq!(arrives(&mut service, &mut inner, "/deals?limit=all"), "/deals?limit=all");
    assert_eq!(controller.status().pages, 0);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_controller_share_its_size() {
    let controller = Meter::default().controller();
    let (mut one, mut inner_one) = spawn(&controller);
    let (mut two, mut inner_two) = spawn(&controller);
    controller.too_large(100);
    assert_eq!(arrives(&mut one, &mut inner_one, "/a?limit=500"), "/a?limit=50");
    assert_eq!(arrives(&mut two, &mut inner_two, "/b?limit=500"), "/b?limit=50");
    assert_eq!(controller.status().sizes_used, [(50, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_stops_nothing() {
    let controller = PageController::builder().probe(|| None).build().unwrap();
    assert_eq!((controller.size(), controller.action()), (500, Action::Go));
    assert_eq!(controller.room().await.unwrap(), 500);
    assert_eq!(controller.status().blind_samples, 1);
}

#[tokio::test(start_paused = true)]
async fn actions_follow_the_thresholds() {
    let meter = Meter::default();
    let controller = meter.controller();
    for (percent, action) in [
        (80, Action::Go),
        (81, Action::Shrink),
        (86, Action::Alert),
        (96, Action::Pause),
        (60, Action::Go),
    ] {
        meter.set(percent);
        advance(Duration::from_millis(250)).await;
        assert_eq!(controller.action(), action, "{percent} %");
    }
}

#[test]
fn the_smaller_of_bound_and_servers_maximum_is_the_largest_page() {
    let build = |max, server_max| {
        let builder = PageController::builder().bounds(10, max).server_max(server_max);
        builder.probe(|| None).build().unwrap().status().max
    };
    assert_eq!((build(500, 100), build(200, 500)), (100, 200));
}

fn told(builder: PageControllerBuilder) -> Vec<(&'static str, String, String)> {
    let error = builder.build().unwrap_err();
    let message = error.to_string();
    let told = error.problems().iter().map(|problem| {
        assert!(message.contains(&problem.to_string()), "{message}");
        (problem.field(), problem.value().to_owned(), problem.allowed().to_owned())
    });
    told.collect()
}

fn same(told: &[(&'static str, String, String)], expected: &[(&str, &str, &str)]) {
    let told: Vec<_> = told.iter().map(|(field, value, it)| (*field, &**value, &**it)).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_configuration_that_cannot_work_lists_field_value_and_range_of_everything_that_is_wrong() {
    let builder = PageController::builder()
        .bounds(0, 500)
        .thresholds(90, 85, 101)
        .sample_every(Duration::ZERO)
        .settle(Duration::MAX)
        .grow_every(Duration::MAX)
        .max_pause(Duration::MAX)
        .max_page_time(Duration::ZERO)
        .max_page_bytes(0)
        .max_surcharge(100_001)
        .purge_every(Duration::from_secs(9));
    let max = format!("{:?}", Duration::MAX);
    same(
        &told(builder),
        &[
            ("bounds.min", "0", "1 to 500 rows"),
            ("thresholds.alert", "85", "91 to 99 percent"),
            ("thresholds.pause", "101", "92 to 100 percent"),
            ("sample_every", "0ns", "1 ms to 1 h"),
            ("settle", &max, "at most a day"),
            ("grow_every", &max, "at most 1 h"),
            ("max_pause", &max, "at most a day"),
            ("max_page_time", "0ns", "1 ms to 1 h"),
            ("max_page_bytes", "0", "at least 1 byte"),
            ("max_surcharge", "100001", "0 to 100000 percent"),
            ("purge_every", "9s", "10 s to a day"),
        ],
    );
    let fields = |shrink, alert, pause| {
        let told = told(PageController::builder().thresholds(shrink, alert, pause));
        told.into_iter().map(|(field, ..)| field).collect::<Vec<_>>()
    };
    assert_eq!(fields(0, 85, 95), ["thresholds.shrink"]);
    assert_eq!(fields(85, 85, 95), ["thresholds.alert"]);
    assert_eq!(fields(80, 95, 95), ["thresholds.pause"]);
    assert_eq!(fields(80, 85, 101), ["thresholds.pause"]);
    same(
        &told(PageController::builder().bounds(200, 100).server_max(150)),
        &[("bounds.min", "200", "1 to 100 rows"), ("server_max", "150", "at least 200 rows")],
    );
    same(&told(PageController::builder().bounds(1, 0)), &[("bounds.max", "0", "at least 1 row")]);
}

#[test]
fn a_page_may_be_reported_by_hand() {
    let controller = PageController::builder().probe(|| None).build().unwrap();
    let took = Duration::from_millis(3);
    controller.observe(PageSample { asked: 20, rows: Some(20), bytes: None, took });
    let status = controller.status();
    assert_eq!((status.pages, status.rows, status.took), (1, 20, took));
}

#[test]
fn everything_can_be_sent_and_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send + 'static>() {}
    type Inner = BoxCloneSyncService<Request<()>, Response<()>, BoxError>;
    shared::<PageController>();
    shared::<AdaptivePageLayer>();
    shared::<AdaptivePage<Inner>>();
    sent::<ResponseFuture<Inner, (), NamesPageSize, LearnTime>>();
}
