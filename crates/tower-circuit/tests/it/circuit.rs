//! What a caller sees, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_circuit::{
    BoxError, Circuit, CircuitBuilder, CircuitLayer, ErrorsFail, Gate, GateFuture, GateLayer,
    Guard, GuardFuture, GuardLayer, Mode, Open, Permit, Reason, State, Status, Verdict, Window,
};
use tower_test::{assert_request_eq, mock};

const SECOND: Duration = Duration::from_secs(1);

fn build(builder: CircuitBuilder) -> Circuit {
    builder.open_for(10 * SECOND).build().unwrap()
}

fn three_in_a_row() -> Circuit {
    build(Circuit::builder("test").consecutive(3).half_open(2, 2))
}

fn record(circuit: &Circuit, verdicts: &[Verdict]) {
    for verdict in verdicts {
        circuit.admit().unwrap().record(*verdict);
    }
}

fn fail(circuit: &Circuit, times: usize) {
    record(circuit, &vec![Verdict::Failure; times]);
}

/// Three failures, and the open time.
async fn half_opened() -> Circuit {
    let circuit = three_in_a_row();
    fail(&circuit, 3);
    advance(10 * SECOND).await;
    circuit
}

#[tokio::test(start_paused = true)]
async fn opens_after_so_many_failures_in_a_row() {
    let circuit = three_in_a_row();
    fail(&circuit, 2);
    record(&circuit, &[Verdict::Success]);
    fail(&circuit, 2);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    assert_eq!(circuit.state(), State::Open);

    let error = circuit.admit().unwrap_err();
    assert_eq!(error.name(), "test");
    assert_eq!(error.reason(), &Reason::Consecutive { failures: 3 });
    assert_eq!(error.retry_at(), Some(Instant::now() + 10 * SECOND));
    assert_eq!(
        error.to_string(),
        "circuit `test` is open (3 failures in a row); the call was refused here and not sent; \
         try again in 10.0 s"
    );
}

#[tokio::test(start_paused = true)]
async fn ignored_outcomes_neither_feed_nor_break_a_row() {
    let circuit = three_in_a_row();
    fail(&circuit, 2);
    record(&circuit, &[Verdict::Ignore; 10]);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn opens_when_half_of_enough_calls_failed() {
    let circuit =
        build(Circuit::builder("ratio").failure_ratio(0.5).window(Window::Time(10 * SECOND), 6));
    fail(&circuit, 3);
    record(&circuit, &[Verdict::Success; 2]);
    assert_eq!(circuit.state(), State::Closed, "five calls are too few");
    fail(&circuit, 1);
    assert_eq!(
        circuit.status().last.reason,
        Reason::FailureRatio { failures: 4, calls: 6, window: Window::Time(10 * SECOND) }
    );
}

#[tokio::test(start_paused = true)]
async fn a_success_can_be_the_call_that_makes_enough_of_them() {
    let circuit =
        build(Circuit::builder("ratio").failure_ratio(0.5).window(Window::Time(10 * SECOND), 6));
    fail(&circuit, 5);
    assert_eq!(circuit.state(), State::Closed);
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.state(), State::Open);
    let reason = circuit.status().last.reason;
    assert_eq!(
        reason,
        Reason::FailureRatio { failures: 5, calls: 6, window: Window::Time(10 * SECOND) }
    );
}

#[tokio::test(start_paused = true)]
async fn successes_alone_never_open_however_small_the_ratio() {
    let circuit = build(
        Circuit::builder("ratio")
            .failure_ratio(f64::MIN_POSITIVE)
            .window(Window::Time(10 * SECOND), 1),
    );
    record(&circuit, &[Verdict::Success; 20]);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_ratio_looks_at_its_window_only() {
    let circuit =
        build(Circuit::builder("ratio").failure_ratio(0.5).window(Window::Time(10 * SECOND), 4));
    record(&circuit, &[Verdict::Success; 1_000]);
    advance(11 * SECOND).await;
    fail(&circuit, 4);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn seven_of_a_hundred_are_seven_hundredths() {
    let circuit =
        build(Circuit::builder("ratio").failure_ratio(0.07).window(Window::Time(10 * SECOND), 100));
    record(&circuit, &[Verdict::Success; 93]);
    fail(&circuit, 7);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn with_both_rules_the_first_to_hold_opens() {
    let both = || {
        build(
            Circuit::builder("both")
                .consecutive(3)
                .failure_ratio(0.5)
                .window(Window::Time(10 * SECOND), 6),
        )
    };
    let row = both();
    record(&row, &[Verdict::Success; 50]);
    fail(&row, 3);
    assert_eq!(row.status().last.reason, Reason::Consecutive { failures: 3 });
    let ratio = both();
    for _ in 0..3 {
        record(&ratio, &[Verdict::Success, Verdict::Failure]);
    }
    assert!(matches!(
        ratio.status().last.reason,
        Reason::FailureRatio { failures: 3, calls: 6, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_as_many_through_as_there_are_places() {
    let circuit = half_opened().await;
    let _first = circuit.admit().unwrap();
    assert!(circuit.look().is_ok());
    let _second = circuit.admit().unwrap();
    assert!(circuit.look().is_err());
    let error = circuit.admit().unwrap_err();
    assert_eq!((error.state(), error.retry_at()), (State::HalfOpen, None));
    assert_eq!(error.reason(), &Reason::Consecutive { failures: 3 });
    assert_eq!(circuit.status().trials_running, 2);
}

#[tokio::test(start_paused = true)]
async fn enough_trial_successes_close_with_a_clean_slate() {
    let circuit = half_opened().await;
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.state(), State::HalfOpen);
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 2);
    assert_eq!(circuit.state(), State::Closed, "the old row is forgotten");
}

#[tokio::test(start_paused = true)]
async fn one_failed_trial_opens_again_for_the_whole_time() {
    let circuit = half_opened().await;
    record(&circuit, &[Verdict::Success]);
    fail(&circuit, 1);
    let error = circuit.admit().unwrap_err();
    assert_eq!(error.reason(), &Reason::TrialFailed);
    assert_eq!(error.wait(), Some(10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_ignored_trial_gives_its_place_back_and_moves_nothing() {
    let circuit = half_opened().await;
    for _ in 0..10 {
        record(&circuit, &[Verdict::Ignore; 2]);
    }
    let status = circuit.status();
    assert_eq!(
        (status.state, status.trials_running, status.trial_successes),
        (State::HalfOpen, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_trial_cannot_wedge_the_circuit() {
    // By default a drop is a failure: open, and after the open time there are places again.
    let circuit = half_opened().await;
    for _ in 0..5 {
        drop((circuit.admit().unwrap(), circuit.admit().unwrap()));
        assert_eq!(circuit.state(), State::Open);
        advance(10 * SECOND).await;
    }
    record(&circuit, &[Verdict::Success; 2]);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn where_a_drop_is_nothing_a_dropped_trial_frees_its_place() {
    let circuit = build(Circuit::builder("t").consecutive(1).cancelled(Verdict::Ignore));
    drop(circuit.admit().unwrap());
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    advance(10 * SECOND).await;
    for _ in 0..10 {
        let three = [circuit.admit().unwrap(), circuit.admit().unwrap(), circuit.admit().unwrap()];
        assert!(circuit.admit().is_err());
        drop(three);
    }
    assert_eq!(circuit.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn calls_from_before_it_opened_are_no_trials() {
    let circuit = three_in_a_row();
    let old: Vec<Permit> = (0..4).map(|_| circuit.admit().unwrap()).collect();
    fail(&circuit, 3);
    advance(10 * SECOND).await;
    let trial = circuit.admit().unwrap();
    assert!(trial.is_trial());

    let [a, b, c, d] = <[Permit; 4]>::try_from(old).unwrap();
    a.record(Verdict::Success);
    b.record(Verdict::Success);
    assert_eq!(circuit.state(), State::HalfOpen, "two late successes do not close");
    c.record(Verdict::Failure);
    drop(d);
    let status = circuit.status();
    assert_eq!((status.state, status.trials_running), (State::HalfOpen, 1));

    trial.record(Verdict::Success);
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_late_success_does_not_end_a_row_that_began_after_it() {
    let circuit = three_in_a_row();
    let old = circuit.admit().unwrap();
    circuit.reset();
    fail(&circuit, 2);
    old.record(Verdict::Success);
    fail(&circuit, 1);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn closing_empties_the_window() {
    let circuit =
        build(Circuit::builder("ratio").failure_ratio(0.5).window(Window::Time(60 * SECOND), 4));
    fail(&circuit, 4);
    advance(10 * SECOND).await;
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.status().window.unwrap().calls, 0);
    fail(&circuit, 3);
    assert_eq!(circuit.state(), State::Closed, "the old failures are forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_trial_from_an_earlier_half_open_time_frees_no_place_of_this_one() {
    let circuit = half_opened().await;
    let late = circuit.admit().unwrap();
    fail(&circuit, 1);
    advance(10 * SECOND).await;
    let _one = circuit.admit().unwrap();
    let _two = circuit.admit().unwrap();
    late.record(Verdict::Ignore);
    assert!(circuit.admit().is_err(), "both places are still taken");
}

#[tokio::test(start_paused = true)]
async fn open_until_never_shortens() {
    let circuit = three_in_a_row();
    let start = Instant::now();
    circuit.open_until(start, "already over");
    assert_eq!(circuit.state(), State::Closed);
    circuit.open_until(start + 60 * SECOND, "edge ban");
    circuit.open_until(start + 30 * SECOND, "shorter");
    let error = circuit.admit().unwrap_err();
    assert_eq!(error.retry_at(), Some(start + 60 * SECOND));
    assert_eq!(error.reason().to_string(), "edge ban");
    circuit.open_until(start + 90 * SECOND, "longer");
    advance(60 * SECOND).await;
    assert_eq!(circuit.admit().unwrap_err().wait(), Some(30 * SECOND));
    advance(30 * SECOND).await;
    assert!(circuit.admit().unwrap().is_trial());
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_it_open_until_reset() {
    let circuit = three_in_a_row();
    circuit.force_open(None);
    advance(1_000_000 * SECOND).await;
    let error = circuit.admit().unwrap_err();
    assert_eq!(error.retry_at(), None);
    assert!(error.to_string().ends_with("try again when an operator lets it close"), "{error}");
    circuit.open_until(Instant::now() + SECOND, "does not shorten");
    advance(2 * SECOND).await;
    assert_eq!(circuit.status().mode, Mode::ForcedOpen);
    circuit.reset();
    assert_eq!(circuit.status().mode, Mode::Automatic);
    assert!(circuit.admit().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_it_open_for_a_while() {
    let circuit = three_in_a_row();
    circuit.force_open(Some(60 * SECOND));
    advance(59 * SECOND).await;
    assert!(circuit.admit().is_err());
    advance(SECOND).await;
    assert_eq!(circuit.status().mode, Mode::Automatic);
    record(&circuit, &[Verdict::Success; 2]);
    assert_eq!(circuit.state(), State::Closed);
    circuit.force_open(Some(Duration::MAX));
    assert_eq!(circuit.admit().unwrap_err().retry_at(), None);
}

#[tokio::test(start_paused = true)]
async fn forced_closed_counts_but_does_not_open() {
    let circuit = three_in_a_row();
    fail(&circuit, 3);
    circuit.force_closed();
    fail(&circuit, 100);
    circuit.open_until(Instant::now() + SECOND, "no effect");
    let status = circuit.status();
    assert_eq!((status.state, status.mode), (State::Closed, Mode::ForcedClosed));
    assert_eq!(status.consecutive_failures, 100);
    circuit.reset();
    fail(&circuit, 2);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn disabled_counts_nothing() {
    let circuit = build(
        Circuit::builder("off").consecutive(1).failure_ratio(0.5).window(Window::Time(SECOND), 1),
    );
    circuit.disable();
    fail(&circuit, 100);
    let status = circuit.status();
    assert_eq!((status.mode, status.consecutive_failures), (Mode::Disabled, 0));
    assert_eq!(status.window.unwrap().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_each_change_once_with_its_reason() {
    let circuit = three_in_a_row();
    let mut watch = circuit.watch();
    assert_eq!(watch.borrow_and_update().reason, Reason::Started);
    let mut heard = Vec::new();
    let mut listen = || {
        assert!(watch.has_changed().unwrap());
        let seen = watch.borrow_and_update();
        heard.push((seen.number, seen.to, seen.reason.to_string()));
    };
    fail(&circuit, 3);
    listen();
    advance(10 * SECOND).await;
    assert_eq!(circuit.state(), State::HalfOpen);
    listen();
    record(&circuit, &[Verdict::Success; 2]);
    listen();
    record(&circuit, &[Verdict::Success; 2]);
    assert!(!watch.has_changed().unwrap());
    assert_eq!(
        heard,
        [
            (1, State::Open, "3 failures in a row".to_owned()),
            (2, State::HalfOpen, "the open time is over".to_owned()),
            (3, State::Closed, "2 trials succeeded".to_owned()),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn status_shows_one_consistent_picture() {
    let circuit = build(
        Circuit::builder("s")
            .consecutive(2)
            .failure_ratio(0.9)
            .window(Window::Time(60 * SECOND), 100),
    );
    record(&circuit, &[Verdict::Success, Verdict::Failure, Verdict::Failure]);
    let opened = Instant::now();
    let _ = circuit.admit().unwrap_err();
    let Status { state, window, transitions, refused, last, .. } = circuit.status();
    let window = window.unwrap();
    assert_eq!((state, transitions, refused), (State::Open, 1, 1));
    assert_eq!((window.calls, window.failures), (3, 2));
    assert_eq!((last.at, last.until), (opened, Some(opened + 10 * SECOND)));
    assert_eq!((last.from, last.to, last.number), (State::Closed, State::Open, 1));
}

fn layer(circuit: &Circuit) -> CircuitLayer<ErrorsFail> {
    CircuitLayer::new(circuit.clone(), ErrorsFail)
}

#[tokio::test(start_paused = true)]
async fn the_service_refuses_without_calling_the_inner() {
    let circuit = build(Circuit::builder("test").consecutive(1));
    let (mut service, mut inner) = mock::spawn_layer::<&str, &str, _>(layer(&circuit));

    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call("a"));
    assert_request_eq!(inner, "a").send_error("boom");
    let error = assert_ready_err!(response.poll());
    assert_eq!(error.to_string(), "boom", "the error itself passes unchanged");

    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call("b")).poll());
    assert!(error.is::<Open>());
    assert_pending!(inner.poll_request());

    advance(10 * SECOND).await;
    let mut trial = task::spawn(service.call("c"));
    assert_request_eq!(inner, "c").send_response("C");
    assert_ready_ok!(trial.poll(), "C");
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn calls_dropped_by_an_outer_timeout_open_the_circuit() {
    let circuit = three_in_a_row();
    let mut stack = ServiceBuilder::new()
        .layer(layer(&circuit))
        .service(service_fn(|(): ()| std::future::pending::<Result<(), BoxError>>()));
    for _ in 0..3 {
        let call = stack.ready().await.unwrap().call(());
        assert!(tokio::time::timeout(SECOND, call).await.is_err());
    }
    assert_eq!(circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn trials_that_never_answer_free_their_places_when_dropped() {
    let circuit = half_opened().await;
    let (mut service, mut inner) = mock::spawn_layer::<&str, &str, _>(layer(&circuit));
    assert_ready_ok!(service.poll_ready());
    let mut hanging = task::spawn(service.call("a"));
    assert_pending!(hanging.poll());
    let _a = assert_request_eq!(inner, "a");
    assert_eq!(circuit.status().trials_running, 1);
    drop(hanging);
    assert_eq!(circuit.state(), State::Open);
    advance(10 * SECOND).await;
    assert_eq!(circuit.status().trials_running, 0);
}

#[tokio::test(start_paused = true)]
async fn a_gate_outside_a_guard_holds_nothing() {
    let circuit = half_opened().await;
    let (mut gate, mut queue) = mock::spawn_layer::<&str, &str, _>(GateLayer::new(circuit.clone()));
    // Ten calls pass the gate and wait in the queue behind it.
    let mut waiting: Vec<_> = (0..10)
        .map(|_| {
            assert_ready_ok!(gate.poll_ready());
            task::spawn(gate.call("a"))
        })
        .collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    assert_eq!(circuit.status().trials_running, 0);
    drop(waiting);
    assert_eq!(circuit.state(), State::HalfOpen, "a drop in the queue is nobody's failure");

    // The guard takes the places; then the gate lets nobody in.
    let (mut guard, _inner) =
        mock::spawn_layer::<&str, &str, _>(GuardLayer::new(circuit, ErrorsFail));
    assert_ready_ok!(guard.poll_ready());
    let _one = guard.call("b");
    assert_ready_ok!(guard.poll_ready());
    let _two = guard.call("c");
    assert_ready_ok!(gate.poll_ready());
    let error = assert_ready_err!(task::spawn(gate.call("d")).poll());
    assert!(error.is::<Open>());
    let refused = assert_ready_err!({
        assert_ready_ok!(guard.poll_ready());
        task::spawn(guard.call("e")).poll()
    });
    assert!(refused.is::<Open>());
    let _ = queue.poll_request();
}

#[tokio::test(start_paused = true)]
async fn an_open_gate_refuses_at_call() {
    let circuit = three_in_a_row();
    circuit.force_open(None);
    let (mut gate, mut inner) = mock::spawn_layer::<&str, &str, _>(GateLayer::new(circuit));
    assert_ready_ok!(gate.poll_ready());
    assert!(assert_ready_err!(task::spawn(gate.call("a")).poll()).is::<Open>());
    assert_pending!(inner.poll_request());
}

#[tokio::test(start_paused = true)]
async fn the_judge_sees_answers_and_errors() {
    let circuit = three_in_a_row();
    let judge = |outcome: Result<&u16, &BoxError>| match outcome {
        Ok(500..) => Verdict::Failure,
        Ok(400..) => Verdict::Ignore,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure,
    };
    let mut service = ServiceBuilder::new()
        .layer(CircuitLayer::new(circuit.clone(), judge))
        .service(service_fn(|status: u16| async move { Ok::<_, BoxError>(status) }));
    for (status, failures) in [(500, 1), (503, 2), (404, 2), (200, 0), (502, 1)] {
        assert_eq!(service.ready().await.unwrap().call(status).await.unwrap(), status);
        assert_eq!(circuit.status().consecutive_failures, failures, "after {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_judge_may_be_shared() {
    let asked = Arc::new(AtomicU32::new(0));
    let judge = Arc::new({
        let asked = Arc::clone(&asked);
        move |_: Result<&(), &BoxError>| {
            asked.fetch_add(1, Ordering::Relaxed);
            Verdict::Success
        }
    });
    let circuit = three_in_a_row();
    let mut service = ServiceBuilder::new()
        .layer(CircuitLayer::new(circuit, judge))
        .service(service_fn(|(): ()| async { Ok::<_, BoxError>(()) }));
    service.ready().await.unwrap().call(()).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_inner_call_is_recorded_and_poisons_nothing() {
    let circuit = build(Circuit::builder("panic").consecutive(1).half_open(1, 1));
    let mut service = ServiceBuilder::new().layer(layer(&circuit)).service(service_fn(
        |(): ()| -> std::future::Ready<Result<(), BoxError>> { panic!("on purpose") },
    ));
    for _ in 0..2 {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(service.call(()));
        }));
        assert!(panicked.is_err());
        assert_eq!(circuit.state(), State::Open);
        advance(10 * SECOND).await;
    }
    record(&circuit, &[Verdict::Success]);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_the_inner_service() {
    let (mut service, mut inner) = mock::spawn_layer::<(), (), _>(layer(&three_in_a_row()));
    inner.allow(0);
    assert_pending!(service.poll_ready());
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    inner.send_error("gone");
    assert!(assert_ready!(service.poll_ready()).is_err());
}

#[tokio::test(start_paused = true)]
async fn services_of_one_circuit_share_its_state() {
    let circuit = build(Circuit::builder("shared").consecutive(1));
    let (mut one, mut inner) = mock::spawn_layer::<&str, &str, _>(layer(&circuit));
    let (mut two, _) = mock::spawn_layer::<&str, &str, _>(layer(&circuit));
    assert_ready_ok!(one.poll_ready());
    let mut response = task::spawn(one.call("a"));
    assert_request_eq!(inner, "a").send_error("boom");
    assert_ready_err!(response.poll());
    let _ = two.poll_ready();
    assert!(assert_ready_err!(task::spawn(two.call("b")).poll()).is::<Open>());
}

#[tokio::test(start_paused = true)]
async fn the_default_opens_after_five() {
    let circuit = Circuit::builder("default").build().unwrap();
    fail(&circuit, 4);
    assert_eq!(circuit.state(), State::Closed);
    fail(&circuit, 1);
    assert_eq!(circuit.admit().unwrap_err().wait(), Some(60 * SECOND));
}

#[test]
fn everything_can_be_sent_and_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send + 'static>() {}
    type Inner = BoxCloneSyncService<(), (), BoxError>;
    type Fut = <Inner as Service<()>>::Future;
    shared::<Circuit>();
    shared::<CircuitLayer<ErrorsFail>>();
    shared::<GateLayer>();
    shared::<Gate<Inner>>();
    shared::<Guard<Inner, ErrorsFail>>();
    sent::<GateFuture<Fut>>();
    sent::<GuardFuture<Fut, ErrorsFail>>();
    sent::<Permit>();
}
