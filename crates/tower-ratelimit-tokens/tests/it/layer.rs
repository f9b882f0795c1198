//! The layer around a mock, polled by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_ratelimit_tokens::{
    BoxError, Budget, BudgetId, Charge, CostTable, Dialect, GateReason, HeadersOnly, Limiter,
    Observation, Observations, Outcome, PipedriveDialect, Refused, RefusedKind, RetryAfterDialect,
    Settle, TokenLimitLayer, WallClock,
};
use tower_test::{assert_request_eq, mock};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two in any second, freed by the answer.
fn two_a_second() -> (Limiter, Charge, BudgetId) {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(2, SECOND).freed_by_answer(SECOND));
    (limits.build().unwrap(), Charge::new().with(burst, 1), burst)
}

fn used(limiter: &Limiter) -> u64 {
    limiter.status().budgets[0].used
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_paid_goes_straight_through_and_the_next_waits() {
    let (limiter, one, _) = two_a_second();
    let (mut service, mut inner) = mock::spawn_layer(TokenLimitLayer::new(limiter.clone(), one));
    for _ in 0..2 {
        assert_ready_ok!(service.poll_ready());
        let mut call = task::spawn(service.call("paid"));
        assert_request_eq!(inner, "paid").send_response("done");
        assert_eq!(assert_ready_ok!(call.poll()), "done");
    }
    assert_ready_ok!(service.poll_ready());
    let mut third = task::spawn(service.call("waits"));
    assert_pending!(third.poll());
    assert_pending!(inner.poll_request());
    advance(SECOND + 10 * MS).await;
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_request_eq!(inner, "waits").send_response("done");
    assert_eq!(assert_ready_ok!(third.poll()), "done");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_no_readiness() {
    let (limiter, one, _) = two_a_second();
    let (mock, mut inner) = mock::pair::<&str, &str>();
    let layers = ServiceBuilder::new().layer(TokenLimitLayer::new(limiter.clone(), one));
    let mut service = mock::Spawn::new(layers.layer(ConcurrencyLimitLayer::new(1)).service(mock));
    inner.allow(100);
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    assert_ready_ok!(service.poll_ready());
    let mut first = task::spawn(service.call("first"));
    assert_pending!(first.poll());
    // The one permit of the service inside is free for others.
    assert_ready_ok!(service.poll_ready());
    let mut second = task::spawn(service.call("second"));
    assert_pending!(second.poll());
    assert_ready_ok!(service.poll_ready());
    drop(service);
    advance(SECOND + MS).await;
    assert_pending!(first.poll());
    assert_request_eq!(inner, "first").send_response("done");
    assert_ready_ok!(first.poll());
    drop(first); // and with it the permit
    advance(SECOND).await;
    assert_pending!(second.poll());
    assert_request_eq!(inner, "second").send_response("done");
    assert_ready_ok!(second.poll());
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_overtake_one_that_waits() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let limiter = limits.build().unwrap();
    let layer =
        TokenLimitLayer::new(limiter.clone(), move |n: &u32| Charge::new().with(places, *n));
    let (mut service, mut inner) = mock::spawn_layer::<u32, (), _>(layer);
    let held = limiter.try_acquire(Charge::new().with(places, 1), None).unwrap();
    assert_ready_ok!(service.poll_ready());
    let mut heavy = task::spawn(service.call(2));
    assert_pending!(heavy.poll());
    // One place is free, and this call would fit.
    assert_ready_ok!(service.poll_ready());
    let mut light = task::spawn(service.call(1));
    assert_pending!(light.poll());
    assert_pending!(inner.poll_request());
    drop(held);
    assert_pending!(heavy.poll());
    assert_request_eq!(inner, 2).send_response(());
    assert_ready_ok!(heavy.poll());
    assert_pending!(light.poll());
    assert_request_eq!(inner, 1).send_response(());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_never_sent_is_given_back() {
    let (limiter, one, _) = two_a_second();
    let (mut service, mut inner) =
        mock::spawn_layer::<&str, &str, _>(TokenLimitLayer::new(limiter.clone(), one));
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = task::spawn(service.call("never sent"));
    assert_pending!(call.poll());
    inner.allow(0);
    advance(SECOND + MS).await;
    assert_pending!(call.poll());
    assert_eq!(used(&limiter), 1, "granted, and waits for the service to be ready");
    drop(call);
    assert_eq!(used(&limiter), 0);
    assert_pending!(inner.poll_request());
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_in_the_queue_spends_nothing() {
    let (limiter, one, _) = two_a_second();
    let (mut service, mut inner) =
        mock::spawn_layer::<&str, &str, _>(TokenLimitLayer::new(limiter.clone(), one));
    limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = task::spawn(service.call("dropped"));
    assert_pending!(call.poll());
    assert_eq!(limiter.status().waiting, 1);
    drop(call);
    assert_eq!((limiter.status().waiting, used(&limiter)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_sending_keeps_its_charge_until_it_must_have_arrived() {
    let (limiter, one, _) = two_a_second();
    let (mut service, mut inner) =
        mock::spawn_layer::<&str, &str, _>(TokenLimitLayer::new(limiter.clone(), one));
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    drop(service.call("dropped"));
    advance(2 * SECOND - 10 * MS).await;
    assert_eq!(used(&limiter), 1, "one second on its way and one of the window");
    advance(20 * MS).await;
    assert_eq!(used(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_frees_a_slot_one_window_later_and_an_error_does_not() {
    let (limiter, one, _) = two_a_second();
    let (mut service, mut inner) =
        mock::spawn_layer::<&str, &str, _>(TokenLimitLayer::new(limiter.clone(), one));
    inner.allow(2);
    assert_ready_ok!(service.poll_ready());
    let mut answered = task::spawn(service.call("answered"));
    assert_request_eq!(inner, "answered").send_response("done");
    assert_ready_ok!(answered.poll());
    assert_ready_ok!(service.poll_ready());
    let mut failed = task::spawn(service.call("failed"));
    assert_request_eq!(inner, "failed").send_error("reset");
    assert_ready_err!(failed.poll());
    advance(SECOND + 10 * MS).await;
    assert_eq!(used(&limiter), 1, "whether the server counted the failed one is not known");
    advance(SECOND).await;
    assert_eq!(used(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn the_closure_settles_what_a_call_has_cost() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::fixed(1_000, 60 * SECOND));
    let limiter = limits.build().unwrap();
    let of = move |n| Charge::new().with(tokens, n);
    let layer =
        TokenLimitLayer::new(limiter.clone(), of(20)).settle(move |outcome: Outcome<'_, u32>| {
            match outcome {
                Ok(&cost) if cost > 0 => Settle::Actual(of(cost)),
                Ok(_) => Settle::Keep,
                Err(_) => Settle::Refund,
            }
        });
    let (mut service, mut inner) = mock::spawn_layer::<&str, u32, _>(layer);
    for (answer, total) in [(Some(0), 20), (Some(35), 55), (Some(5), 60), (None, 60)] {
        inner.allow(1);
        assert_ready_ok!(service.poll_ready());
        let mut call = task::spawn(service.call("call"));
        let (_, respond) = assert_ready_some(inner.poll_request());
        match answer {
            Some(cost) => respond.send_response(cost),
            None => respond.send_error("refused inside"),
        }
        let _ = call.poll();
        assert_eq!(used(&limiter), total);
    }
    assert_eq!(limiter.status().endpoints[0].spent[0], 60);
    assert_eq!(limiter.status().endpoints[0].calls, 4);
}

fn assert_ready_some<T>(poll: Poll<Option<T>>) -> T {
    match poll {
        Poll::Ready(Some(value)) => value,
        _ => panic!("a request was expected"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_request_is_kept() {
    let (limiter, one, _) = two_a_second();
    let start = Instant::now();
    let layer = TokenLimitLayer::new(limiter.clone(), one)
        .terms(|within: &Duration| Some(Instant::now() + *within));
    let (mut service, mut inner) = mock::spawn_layer::<Duration, (), _>(layer);
    inner.allow(2);
    limiter.close_until(start + SECOND, GateReason::RetryAfter);
    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call(900 * MS)).poll());
    let refused = error.downcast_ref::<Refused>().expect("our own refusal");
    assert_eq!(refused.kind(), RefusedKind::GateClosed);
    assert_eq!(refused.retry_at(), Some(start + SECOND));
    assert_ready_ok!(service.poll_ready());
    assert_pending!(task::spawn(service.call(1_100 * MS)).poll());
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_counts_nothing() {
    let (limiter, one, _) = two_a_second();
    let layer = TokenLimitLayer::new(limiter.clone(), one).enabled(false);
    let (mut service, mut inner) = mock::spawn_layer::<u32, (), _>(layer);
    for n in 0..10 {
        assert_ready_ok!(service.poll_ready());
        let mut call = task::spawn(service.call(n));
        assert_request_eq!(inner, n).send_response(());
        assert_ready_ok!(call.poll());
    }
    assert_eq!(used(&limiter), 0);
}

/// Counts its clones.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl Service<()> for Counted {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Ready<Result<(), BoxError>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_wait_clones_nothing() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(100, SECOND));
    let limiter = limits.build().unwrap();
    let counted = Counted::default();
    let clones = Arc::clone(&counted.0);
    let mut service = TokenLimitLayer::new(limiter, Charge::new().with(burst, 1)).layer(counted);
    for _ in 0..100 {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(clones.load(Ordering::SeqCst), 0);
}

type Answer = http::Response<&'static str>;

async fn pipedrive(answers: Vec<Answer>) -> (Limiter, Vec<Duration>) {
    let mut limits = Limiter::builder();
    let burst = Budget::rolling(100, 2 * SECOND).freed_by_answer(SECOND).even();
    let burst = limits.budget("burst", burst);
    let day = limits.budget("day", Budget::fixed(10_000, 86_400 * SECOND));
    let limiter = limits.build().unwrap();
    let charge = Charge::new().with(burst, 1).with(day, 10);
    let answers = Arc::new(std::sync::Mutex::new(answers.into_iter()));
    let start = Instant::now();
    let mut service = TokenLimitLayer::new(limiter.clone(), charge)
        .dialect(PipedriveDialect::new(burst, day))
        .layer(tower::service_fn(move |_: u32| {
            let answer = answers.lock().unwrap().next();
            async move { answer.ok_or("no more answers") }
        }));
    let mut times = vec![];
    while service.ready().await.unwrap().call(0).await.is_ok() {
        times.push(start.elapsed());
    }
    (limiter, times)
}

fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Answer {
    let response = http::Response::builder().status(status);
    headers.iter().fold(response, |r, (name, value)| r.header(*name, *value)).body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_burst_refusal_of_one_call_stops_all_for_as_long_as_it_says() {
    let busy = answer(429, &[("x-ratelimit-reset", "1")], r#"{"error":"request over limit"}"#);
    let (limiter, times) = pipedrive(vec![busy, answer(200, &[], "{}")]).await;
    assert!((SECOND..SECOND + 20 * MS).contains(&times[1]), "{times:?}");
    assert_eq!(limiter.status().refusals.burst, 1);
}

#[tokio::test(start_paused = true)]
async fn the_edges_page_parks_everything() {
    let ban = answer(403, &[("content-type", "text/html")], "<html>denied</html>");
    let (limiter, times) = pipedrive(vec![ban, answer(200, &[], "{}")]).await;
    assert!((60 * SECOND..60 * SECOND + 20 * MS).contains(&times[1]), "{times:?}");
    assert_eq!(limiter.status().refusals.banned, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_counts_replaces_what_we_count() {
    let day =
        [("x-daily-ratelimit-token-limit", "10000"), ("x-daily-ratelimit-token-remaining", "4321")];
    let (limiter, _) = pipedrive(vec![answer(200, &day, "{}")]).await;
    let status = limiter.status();
    let day = status.budget("day").unwrap();
    // The last call, which got no answer, comes on top.
    assert_eq!(day.used, 10_000 - 4_321 + 10);
    assert_eq!(day.foreign, 10_000 - 4_321 - 10);
}

#[tokio::test(start_paused = true)]
async fn others_use_of_the_window_slows_us_down() {
    let shared = [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "29")];
    let (limiter, _) = pipedrive(vec![answer(200, &shared, "{}")]).await;
    let burst = &limiter.status().budgets[0];
    assert_eq!((burst.used, burst.foreign), (72, 70));
    advance(2 * SECOND + 20 * MS).await;
    assert_eq!(limiter.status().budgets[0].used, 1, "but for one window only");
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_any_service_closes_the_gate() {
    let (limiter, one, burst) = two_a_second();
    let busy = answer(503, &[("retry-after", "9")], "");
    let layer = TokenLimitLayer::new(limiter.clone(), one).dialect(RetryAfterDialect::new());
    let mut service = layer.layer(tower::service_fn(move |(): ()| {
        let busy = busy.clone();
        async move { Ok::<_, BoxError>(busy) }
    }));
    service.ready().await.unwrap().call(()).await.unwrap();
    assert_eq!(limiter.status().gate.unwrap().opens_in, 9 * SECOND);
    // The same for a body that cannot be looked at.
    struct Stream;
    let dialect = HeadersOnly(PipedriveDialect::new(burst, burst));
    let response = http::Response::builder().status(403).header("content-type", "text/html");
    let said =
        dialect.observe(&response.body(Stream).unwrap(), &tower_ratelimit_tokens::SystemClock);
    assert!(matches!(said.iter().next(), Some(Observation::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn use_is_counted_by_endpoint() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::fixed(1_000, 60 * SECOND));
    let limiter = limits.build().unwrap();
    let table = CostTable::new(Charge::new().with(tokens, 20))
        .route(http::Method::GET, "/deals/{id}", Charge::new().with(tokens, 1))
        .counted_by(&limiter);
    let mut service = TokenLimitLayer::new(limiter.clone(), table).layer(tower::service_fn(
        |request: http::Request<()>| async move { Ok::<_, BoxError>(request) },
    ));
    for path in ["/deals/1", "/deals/2", "/other"] {
        let request = http::Request::get(path).body(()).unwrap();
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    let status = limiter.status();
    let deals = status.endpoints.iter().find(|usage| &*usage.name == "GET /deals/{id}").unwrap();
    assert_eq!((deals.calls, deals.spent[0]), (2, 2));
    assert_eq!((status.endpoints[0].calls, status.endpoints[0].spent[0]), (1, 20));
}

/// A dialect of one's own, on a response that is no HTTP.
#[derive(Clone)]
struct Left(BudgetId);

impl Dialect<u64> for Left {
    fn observe(&self, left: &u64, _: &dyn WallClock) -> Observations {
        Observation::Level { budget: self.0, limit: None, remaining: *left, reset: None }.into()
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_overrule_a_newer_one() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::fixed(100, 60 * SECOND));
    let limiter = limits.build().unwrap();
    let layer =
        TokenLimitLayer::new(limiter.clone(), Charge::new().with(tokens, 10)).dialect(Left(tokens));
    let (mut service, mut inner) = mock::spawn_layer::<&str, u64, _>(layer);
    inner.allow(2);
    assert_ready_ok!(service.poll_ready());
    let mut older = task::spawn(service.call("older"));
    let (_, older_answer) = assert_ready_some(inner.poll_request());
    assert_ready_ok!(service.poll_ready());
    let mut newer = task::spawn(service.call("newer"));
    let (_, newer_answer) = assert_ready_some(inner.poll_request());
    // Others have spent 30. The older was counted first, and answered last.
    newer_answer.send_response(50);
    assert_ready_ok!(newer.poll());
    assert_eq!(used(&limiter), 60, "the older may not be in that number");
    older_answer.send_response(90);
    assert_ready_ok!(older.poll());
    assert_eq!(used(&limiter), 50, "its own answer says that it was");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_reads_nothing_is_not_forgotten_by_one_that_reads() {
    let mut limits = Limiter::builder();
    let hour = limits.budget("hour", Budget::fixed(10, 3_600 * SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(hour, 1);
    let reads = TokenLimitLayer::new(limiter.clone(), one).dialect(Remaining(hour));
    let (mut reader, mut server) = mock::spawn_layer::<u64, u64, _>(reads);
    let deaf = TokenLimitLayer::new(limiter.clone(), one);
    let (mut deaf, mut slow) = mock::spawn_layer::<u64, u64, _>(deaf);
    let mut read = async |remaining| {
        assert_ready_ok!(reader.poll_ready());
        let mut call = task::spawn(reader.call(0));
        assert_request_eq!(server, 0).send_response(remaining);
        assert_ready_ok!(call.poll());
    };
    read(9).await;
    assert_ready_ok!(deaf.poll_ready());
    let mut on_its_way = task::spawn(deaf.call(1));
    // The server has counted the two that it has answered; one is under way.
    read(8).await;
    assert_eq!(used(&limiter), 3);
    assert_request_eq!(slow, 1).send_response(0);
    assert_ready_ok!(on_its_way.poll());
    read(6).await;
    assert_eq!(used(&limiter), 4);
}

#[derive(Clone, Copy)]
struct Remaining(BudgetId);

impl Dialect<u64> for Remaining {
    fn observe(&self, left: &u64, _: &dyn WallClock) -> Observations {
        Observation::Level { budget: self.0, limit: None, remaining: *left, reset: None }.into()
    }
}
