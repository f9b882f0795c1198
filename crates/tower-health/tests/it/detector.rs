//! The failure detector, as its users see it, on a paused clock.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tower_health::{
    DetectorBuilder, FailureDetector, FailureKind, TargetChange, TargetReason, TargetState,
};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(30);

type Changes = Arc<Mutex<Vec<TargetChange>>>;

fn detector() -> (FailureDetector, Changes) {
    detector_of(FailureDetector::builder("test"))
}

fn detector_of(builder: DetectorBuilder) -> (FailureDetector, Changes) {
    let changes = Changes::default();
    let seen = Arc::clone(&changes);
    let builder = builder.on_change(move |change| seen.lock().unwrap().push(change.clone()));
    (builder.build().unwrap(), changes)
}

fn state(detector: &FailureDetector, target: &str) -> TargetState {
    detector.health(target).unwrap().state
}

fn fail(detector: &FailureDetector, target: &str) -> TargetState {
    detector.record_failure(target, "job", FailureKind::Timeout, SECOND).unwrap()
}

fn succeed(detector: &FailureDetector, target: &str) -> TargetState {
    detector.record_success(target, "job", SECOND).unwrap()
}

#[tokio::test(start_paused = true)]
async fn unknown_until_heard_of_and_unhealthy_if_never() {
    let (detector, changes) = detector();
    detector.register("a", ()).unwrap();
    detector.register("b", ()).unwrap();
    assert_eq!(state(&detector, "a"), TargetState::Unknown);
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Healthy));
    advance(3 * INTERVAL - SECOND).await;
    assert_eq!(state(&detector, "b"), TargetState::Unknown);
    advance(SECOND).await;
    assert_eq!(state(&detector, "b"), TargetState::Unhealthy);
    let last = changes.lock().unwrap().last().unwrap().clone();
    assert_eq!((&*last.target, last.number, last.from), ("b", 1, TargetState::Unknown));
    assert_eq!(last.reason, TargetReason::Silent { silent: 3 * INTERVAL, allowed: 3 * INTERVAL });
    assert!(detector.heartbeat("nobody").is_err() && detector.health("nobody").is_none());
}

#[tokio::test(start_paused = true)]
async fn silence_degrades_then_kills_and_signs_of_life_bring_it_back() {
    let (detector, changes) = detector();
    detector.register("a", ()).unwrap();
    detector.heartbeat("a").unwrap();
    advance(59 * SECOND).await;
    assert_eq!(state(&detector, "a"), TargetState::Healthy);
    advance(SECOND).await;
    assert_eq!(state(&detector, "a"), TargetState::Degraded);
    assert_eq!(detector.health("a").unwrap().missed, 2);
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Healthy));
    // Nobody asks for an hour: the beat after it tells of the death too.
    advance(120 * INTERVAL).await;
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Recovering));
    assert_eq!(succeed(&detector, "a"), TargetState::Recovering);
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Healthy));
    let states: Vec<_> = changes.lock().unwrap().iter().map(|change| change.to).collect();
    use TargetState::{Degraded, Healthy, Recovering, Unhealthy};
    assert_eq!(states, [Healthy, Degraded, Healthy, Unhealthy, Recovering, Healthy]);
    let numbers: Vec<_> = changes.lock().unwrap().iter().map(|change| change.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_kill_what_still_beats() {
    let (detector, changes) = detector_of(FailureDetector::builder("test").min_calls(100));
    detector.register("a", ()).unwrap();
    detector.heartbeat("a").unwrap();
    assert_eq!(fail(&detector, "a"), TargetState::Healthy);
    assert_eq!(fail(&detector, "a"), TargetState::Healthy);
    assert_eq!(succeed(&detector, "a"), TargetState::Healthy);
    assert_eq!(fail(&detector, "a"), TargetState::Healthy);
    assert_eq!(fail(&detector, "a"), TargetState::Healthy);
    assert_eq!(fail(&detector, "a"), TargetState::Unhealthy);
    assert_eq!(changes.lock().unwrap().last().unwrap().reason, TargetReason::Failures { row: 3 });
    // While it recovers one failure is enough.
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Recovering));
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Recovering));
    assert_eq!(fail(&detector, "a"), TargetState::Unhealthy);
    // And its signs of life are counted anew.
    for expected in [TargetState::Recovering, TargetState::Recovering, TargetState::Healthy] {
        assert_eq!(succeed(&detector, "a"), expected);
    }
    let status = detector.health("a").unwrap();
    assert_eq!((status.succeeded, status.failed), (4, [6, 0, 0, 0, 0]));
    let failure = status.last_failure.unwrap();
    assert_eq!((failure.name, failure.failed), ("job", Some(FailureKind::Timeout)));
    assert_eq!(status.last_success.unwrap().failed, None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_what_was_never_heard_of_says_nothing_but_three_do() {
    let (detector, _) = detector();
    detector.register("a", ()).unwrap();
    assert_eq!(fail(&detector, "a"), TargetState::Unknown);
    assert_eq!(fail(&detector, "a"), TargetState::Unknown);
    assert_eq!(fail(&detector, "a"), TargetState::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_no_sign_of_life() {
    let (detector, _) = detector();
    detector.register("a", ()).unwrap();
    detector.heartbeat("a").unwrap();
    advance(2 * INTERVAL).await;
    fail(&detector, "a");
    advance(INTERVAL).await;
    assert_eq!(state(&detector, "a"), TargetState::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_or_slow_operations_degrade() {
    let builder = FailureDetector::builder("test").degraded_at(0.2, 2 * SECOND);
    let (detector, _) = detector_of(builder);
    for target in ["failing", "slow"] {
        detector.register(target, ()).unwrap();
    }
    for n in 0..10 {
        // Two of ten, the second with the last.
        let failed = n == 4 || n == 9;
        let state = if failed { fail(&detector, "failing") } else { succeed(&detector, "failing") };
        assert_eq!(state == TargetState::Degraded, n == 9, "{n}");
    }
    let status = detector.health("failing").unwrap();
    assert_eq!(status.reason, TargetReason::ErrorRate { bad: 2, calls: 10, limit: 0.2 });
    // It is held until a fifth below the limit: two of thirteen.
    for calls in 11..=13 {
        assert_eq!(succeed(&detector, "failing") == TargetState::Healthy, calls == 13, "{calls}");
    }
    for n in 0..10 {
        let took = if n == 9 { 12 } else { 1 };
        detector.record_success("slow", "job", took * SECOND).unwrap();
    }
    let status = detector.health("slow").unwrap();
    assert_eq!(status.reason.to_string(), "operations took 2s on average, the limit is 2s");
    // Held until the average is 1.6 s or less: 24 s in fifteen.
    for calls in 11..=15 {
        let state = detector.record_success("slow", "job", 600 * SECOND / 1_000).unwrap();
        assert_eq!(state == TargetState::Healthy, calls >= 15, "{calls}");
    }
    // What is older than five minutes is forgotten.
    advance(300 * SECOND).await;
    assert_eq!(detector.health("failing").unwrap().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn the_loop_finds_a_stopped_target_within_the_documented_bound() {
    let bounds = [
        (FailureDetector::builder("misses"), 90 * SECOND),
        // The mean, the pause, 5.2 deviations of a tenth.
        (FailureDetector::builder("phi").phi(8.0), 30 * SECOND + 30 * SECOND + 16 * SECOND),
        (
            FailureDetector::builder("phi at once").phi(8.0).acceptable_pause(Duration::ZERO),
            30 * SECOND + 16 * SECOND,
        ),
    ];
    for (builder, bound) in bounds {
        let (detector, changes) = detector_of(builder);
        let (handle, watching) = detector.watch_over();
        let watching = tokio::spawn(watching);
        detector.register("a", ()).unwrap();
        for _ in 0..200 {
            detector.heartbeat("a").unwrap();
            sleep(INTERVAL).await;
        }
        assert_eq!(changes.lock().unwrap().len(), 1, "{}", detector.name());
        let stopped = Instant::now() - INTERVAL;
        sleep(10 * INTERVAL).await;
        let found = changes.lock().unwrap().last().unwrap().clone();
        assert_eq!(found.to, TargetState::Unhealthy);
        let took = found.at - stopped;
        assert!(took <= bound + INTERVAL / 100, "{}: {took:?}", detector.name());
        assert!(took >= bound - 2 * SECOND, "{}: {took:?}", detector.name());
        drop(handle);
        watching.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_loop_sees_who_registers_while_it_sleeps() {
    let (detector, changes) = detector();
    let (handle, watching) = detector.watch_over();
    tokio::spawn(watching);
    sleep(INTERVAL / 2).await;
    detector.register("late", ()).unwrap();
    sleep(3 * INTERVAL + INTERVAL / 100).await;
    assert_eq!(changes.lock().unwrap().len(), 1);
    handle.stop();
}

#[tokio::test(start_paused = true)]
async fn listeners_are_called_outside_every_lock() {
    // A detector that its own listener asks.
    let cell: Arc<Mutex<Option<FailureDetector>>> = Arc::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let (inside, counter) = (Arc::clone(&cell), Arc::clone(&asked));
    let detector = FailureDetector::builder("test")
        .on_failure(move |change| {
            let detector = inside.lock().unwrap().clone().unwrap();
            let status = detector.health(&change.target).unwrap();
            assert_eq!(status.state, TargetState::Unhealthy);
            detector.deregister(&change.target);
            counter.fetch_add(1, Relaxed);
        })
        .build()
        .unwrap();
    *cell.lock().unwrap() = Some(detector.clone());
    for n in 0..1_000 {
        detector.register(format!("t{n}"), ()).unwrap();
        detector.heartbeat(&format!("t{n}")).unwrap();
    }
    fail(&detector, "t7");
    fail(&detector, "t7");
    fail(&detector, "t7");
    assert_eq!(asked.load(Relaxed), 1);
    advance(3 * INTERVAL).await;
    detector.check();
    assert_eq!(asked.load(Relaxed), 1_000);
    assert!(detector.is_empty());
    *cell.lock().unwrap() = None;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_listener_leaves_the_detector_whole() {
    let detector: FailureDetector =
        FailureDetector::builder("test").on_failure(|_| panic!("on purpose")).build().unwrap();
    detector.register("a", ()).unwrap();
    advance(3 * INTERVAL).await;
    let check = std::panic::AssertUnwindSafe(|| detector.check());
    assert!(std::panic::catch_unwind(check).is_err());
    assert_eq!(state(&detector, "a"), TargetState::Unhealthy);
    assert_eq!(detector.heartbeat("a"), Ok(TargetState::Recovering));
}

#[tokio::test(start_paused = true)]
async fn targets_are_bounded_and_the_dead_are_forgotten() {
    let detector =
        FailureDetector::builder("test").max_targets(2).forget_after(100 * SECOND).build().unwrap();
    assert_eq!(detector.register("a", 1).unwrap(), None);
    assert_eq!(detector.register("b", 2).unwrap(), None);
    let error = detector.register("c", 3).unwrap_err();
    assert_eq!(error.max_targets, 2);
    // The same again is no other.
    detector.heartbeat("a").unwrap();
    assert_eq!(detector.register("a", 4).unwrap().as_deref(), Some(&1));
    assert_eq!(*detector.health("a").unwrap().info, 4);
    assert_eq!(detector.health("a").unwrap().state, TargetState::Unknown);
    assert_eq!(detector.deregister("a").as_deref(), Some(&4));
    assert_eq!(detector.deregister("a"), None);
    detector.register("c", 3).unwrap();
    for _ in 0..11 {
        assert_eq!(detector.len(), 2);
        detector.heartbeat("c").unwrap();
        advance(19 * SECOND).await;
        detector.check();
    }
    // Unhealthy after 90 s, forgotten 100 s later.
    assert_eq!(detector.healthy(), ["c".into()]);
    assert_eq!(detector.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_targets_survive_and_a_hundred_of_them_do_not() {
    let (detector, changes) = detector();
    let (handle, watching) = detector.watch_over();
    tokio::spawn(watching);
    let names: Vec<String> = (0..10_000).map(|n| format!("worker-{n}")).collect();
    for name in &names {
        detector.register(name.as_str(), ()).unwrap();
    }
    for round in 0..10 {
        for name in names.iter().skip(if round > 5 { 100 } else { 0 }) {
            detector.heartbeat(name).unwrap();
        }
        sleep(INTERVAL).await;
    }
    assert_eq!(detector.counts(), [0, 9_900, 0, 0, 100]);
    assert_eq!(detector.healthy().len(), 9_900);
    let failed = |change: &&TargetChange| change.to == TargetState::Unhealthy;
    assert_eq!(changes.lock().unwrap().iter().filter(failed).count(), 100);
    assert_eq!(detector.targets().len(), 10_000);
    handle.stop();
}
