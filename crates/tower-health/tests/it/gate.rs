//! The gate and the whole of many parts, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_health::{
    Assessment, BoxError, ErrorsBad, FailureDetector, FailureKind, Health, HealthGateLayer,
    HealthLayer, Prober, Shed, State, SystemHealth, Verdict,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone, Default)]
struct Server {
    down: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Server {
    fn service(&self) -> BoxCloneSyncService<u32, (), BoxError> {
        let server = self.clone();
        BoxCloneSyncService::new(service_fn(move |_: u32| {
            server.asked.fetch_add(1, Relaxed);
            let down = server.down.load(Relaxed);
            async move { if down { Err(BoxError::from("down")) } else { Ok(()) } }
        }))
    }
}

fn health() -> Health {
    Health::builder("api").build().unwrap()
}

fn record(health: &Health, verdict: Verdict, times: usize) {
    (0..times).for_each(|_| health.record(verdict, MILLI));
}

#[tokio::test(start_paused = true)]
async fn what_is_unavailable_is_spared_but_for_a_trial_and_comes_back() {
    let (server, health) = (Server::default(), health());
    server.down.store(true, Relaxed);
    let mut service = ServiceBuilder::new()
        .layer(HealthGateLayer::builder(health.clone()).build().unwrap())
        .layer(HealthLayer::new(health.clone(), ErrorsBad))
        .service(server.service());
    for _ in 0..10 {
        service.ready().await.unwrap().call(0).await.unwrap_err();
    }
    assert_eq!((health.state(), server.asked.load(Relaxed)), (State::Unavailable, 10));
    // A call each 100 ms for a minute: one each five seconds is sent.
    for _ in 0..600 {
        let error = service.ready().await.unwrap().call(0).await.unwrap_err();
        if let Some(shed) = error.downcast_ref::<Shed>() {
            assert!(shed.retry_in <= 5 * SECOND && !shed.retry_in.is_zero());
            assert_eq!((&*shed.health, shed.state), ("api", State::Unavailable));
        }
        advance(100 * MILLI).await;
    }
    assert_eq!(server.asked.load(Relaxed), 22);
    // It is up again, and the trials find that: no refusal after a minute and some trials.
    server.down.store(false, Relaxed);
    let begun = Instant::now();
    let mut last_refusal = begun;
    for _ in 0..2_000 {
        if service.ready().await.unwrap().call(0).await.is_err() {
            last_refusal = Instant::now();
        }
        advance(100 * MILLI).await;
    }
    assert!(last_refusal - begun <= 65 * SECOND, "{:?}", last_refusal - begun);
    assert_eq!(health.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn trials_are_shared_by_all_services_of_a_layer() {
    let (server, health) = (Server::default(), health());
    record(&health, Verdict::Bad, 10);
    let layer = HealthGateLayer::builder(health).build().unwrap();
    let services = [layer.layer(server.service()), layer.layer(server.service())];
    let mut passed = 0;
    for service in services.iter().flat_map(|service| [service.clone(), service.clone()]) {
        passed += u32::from(service.oneshot(0).await.is_ok());
    }
    assert_eq!((passed, server.asked.load(Relaxed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_has_fallen_idle_is_let_through_again() {
    let (server, health) = (Server::default(), health());
    record(&health, Verdict::Bad, 10);
    let gate = HealthGateLayer::builder(health).trial_every(600 * SECOND).build().unwrap();
    let service = gate.layer(server.service());
    assert!(service.clone().oneshot(0).await.is_ok(), "the trial");
    assert!(service.clone().oneshot(0).await.unwrap_err().is::<Shed>());
    advance(60 * SECOND).await;
    assert!(service.clone().oneshot(0).await.is_ok());
    assert!(service.oneshot(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_state_from_which_it_refuses_can_be_set_and_so_can_who_passes() {
    let (server, health) = (Server::default(), health());
    record(&health, Verdict::Good, 8);
    record(&health, Verdict::Bad, 2);
    assert_eq!(health.state(), State::Degraded);
    let by_state = HealthGateLayer::builder(health.clone()).refuse_from(State::Degraded);
    let service = by_state.build().unwrap().layer(server.service());
    assert!(service.clone().oneshot(0).await.is_ok(), "the trial");
    assert!(service.oneshot(0).await.is_err());

    let by_urgency = HealthGateLayer::builder(health)
        .admit(|urgency: &u32, state: State| state.is_healthy() || *urgency > 5);
    let service = by_urgency.build().unwrap().layer(server.service());
    assert!(service.clone().oneshot(0).await.is_ok(), "the trial");
    assert!(service.clone().oneshot(5).await.is_err());
    assert!(service.clone().oneshot(6).await.is_ok());
    let said = service.oneshot(1).await.unwrap_err().to_string();
    let expected = "api is degraded (2 of 10 calls were bad, the limit is 10 %); the call was \
        refused here and not sent; try again in 5.0 s";
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn the_whole_is_as_bad_as_the_worst_that_it_requires() {
    use State::{Critical, Degraded, Healthy, Unavailable, Unknown};
    for (required, optional, overall) in [
        ([Healthy, Healthy], Healthy, Healthy),
        ([Healthy, Healthy], Unknown, Healthy),
        ([Healthy, Healthy], Unavailable, Degraded),
        ([Healthy, Unknown], Healthy, Unknown),
        ([Unknown, Healthy], Degraded, Degraded),
        ([Unknown, Degraded], Unavailable, Degraded),
        ([Degraded, Unknown], Healthy, Degraded),
        ([Degraded, Critical], Healthy, Critical),
        ([Unavailable, Critical], Unknown, Unavailable),
    ] {
        let say = |state: State| move || Assessment::new(state, "as told");
        let system = SystemHealth::builder("whole")
            .required("one", say(required[0]))
            .required("two", say(required[1]))
            .optional("three", say(optional))
            .build()
            .unwrap();
        let report = system.report();
        assert_eq!(report.overall, overall, "{required:?} {optional}");
        let wrong = [required[0], required[1], optional].iter().filter(|s| **s != Healthy).count();
        assert_eq!(report.reasons.len(), wrong);
    }
}

#[tokio::test(start_paused = true)]
async fn health_probe_and_detector_are_parts() {
    let (server, health) = (Server::default(), health());
    let detector = FailureDetector::builder("workers").build().unwrap();
    let prober = Prober::builder("probe", server.service(), || 7).build().unwrap();
    let system = SystemHealth::builder("whole")
        .required("api", health.clone())
        .optional("probe", prober.clone())
        .optional("workers", detector.clone())
        .build()
        .unwrap();
    assert_eq!(system.report().overall, State::Unknown);
    record(&health, Verdict::Good, 10);
    prober.check().await;
    for name in ["a", "b", "c", "d"] {
        detector.register(name, ()).unwrap();
        detector.heartbeat(name).unwrap();
    }
    assert_eq!(system.report().overall, State::Healthy);
    let expected =
        ["degraded: 1 of 4", "critical: 2 of 4", "critical: 3 of 4", "unavailable: 4 of 4"];
    for (name, said) in ["a", "b", "c", "d"].into_iter().zip(expected) {
        for _ in 0..3 {
            detector.record_failure(name, "job", FailureKind::Error, SECOND).unwrap();
        }
        let report = system.report();
        assert_eq!(report.overall, State::Degraded);
        assert_eq!(report.reasons, [format!("workers is {said} are lost")]);
    }
    record(&health, Verdict::Bad, 10);
    let report = system.report();
    assert_eq!((report.overall, report.parts[0].value), (State::Critical, Some(0.5)));
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_asked_again_only_if_the_state_has_changed() {
    let (server, health, asked) = (Server::default(), health(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&asked);
    let admit = move |_: &u32, state: State| {
        count.fetch_add(1, Relaxed);
        state == State::Unknown
    };
    let gate = HealthGateLayer::builder(health.clone()).admit(admit).build().unwrap();
    let mut service = gate.layer(server.service());
    record(&health, Verdict::Good, 10);
    // The first is let through for a trial; the second is refused.
    service.ready().await.unwrap().call(0).await.unwrap();
    service.ready().await.unwrap().call(0).await.unwrap_err();
    assert_eq!(asked.load(Relaxed), 2);
    // Idle by now, which nobody has looked at.
    advance(3_600 * SECOND).await;
    service.ready().await.unwrap().call(0).await.unwrap();
    assert_eq!(asked.load(Relaxed), 4);
}
