//! A circuit for each key: bounds, eviction, layers, on a paused clock.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::advance;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_circuit::{
    BoxError, CallError, Circuit, CircuitLayer, Circuits, CircuitsBuilder, ErrorsFail, GateLayer,
    GuardLayer, Judge as _, Mode, Open, State, Verdict, presets,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn keyed() -> CircuitsBuilder {
    Circuit::builder("key").consecutive(1).open_for(10 * SECOND).keyed()
}

fn fail(circuit: &Circuit) {
    circuit.admit().unwrap().record(Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_circuit_of_its_own_and_one_bad_key_harms_no_other() {
    let circuits: Circuits<String> = keyed().build().unwrap();
    fail(&circuits.get("bad"));
    assert_eq!(circuits.get("bad").state(), State::Open);
    assert!(circuits.get("good").look().is_ok());
    assert!(circuits.find("never asked for").is_none());
    let list = circuits.status();
    let names: Vec<_> = list.iter().map(|status| (&*status.name, status.state)).collect();
    assert_eq!(names, [("key/bad", State::Open), ("key/good", State::Closed)]);
    assert_eq!((circuits.len(), circuits.is_empty()), (2, false));
}

#[tokio::test(start_paused = true)]
async fn the_bound_holds_and_the_one_unused_for_longest_goes() {
    let circuits: Circuits<u32> = keyed().max_keys(3).build().unwrap();
    for key in [1, 2, 3, 1] {
        drop(circuits.get(&key));
        advance(SECOND).await;
    }
    drop(circuits.get(&4));
    assert_eq!((circuits.len(), circuits.evicted()), (3, 1));
    assert!(circuits.find(&2).is_none());
}

#[tokio::test(start_paused = true)]
async fn for_want_of_room_closed_ones_go_before_open_ones_and_those_before_ones_in_use() {
    let circuits: Circuits<u32> = keyed().max_keys(3).build().unwrap();
    let in_use = circuits.get(&1);
    advance(SECOND).await;
    fail(&circuits.get(&2));
    advance(SECOND).await;
    drop(circuits.get(&3));
    drop(circuits.get(&4));
    assert!(circuits.find(&3).is_none(), "closed, though used last");
    fail(&circuits.get(&4));
    drop(circuits.get(&5));
    assert!(circuits.find(&2).is_none(), "both are open; this one is older");
    assert_eq!(in_use.name(), "key/1");
    assert!(circuits.find(&1).is_some());
    // Even when all are in use, the bound holds.
    let all: Vec<_> = (10..20).map(|key| circuits.get(&key)).collect();
    assert_eq!((circuits.len(), all.len()), (3, 10));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_is_forgotten_and_what_is_open_held_or_in_hand_is_not() {
    let circuits: Circuits<u32> = keyed().idle(HOUR).build().unwrap();
    let in_hand = circuits.get(&1);
    circuits.get(&2).open_until(tokio::time::Instant::now() + 2 * HOUR, "edge ban");
    circuits.get(&3).force_closed();
    fail(&circuits.get(&4));
    drop(circuits.get(&5));
    advance(HOUR - SECOND).await;
    assert_eq!(circuits.evict_idle(), 0);
    drop(circuits.get(&6));
    advance(SECOND).await;
    assert_eq!(circuits.evict_idle(), 2, "4 could be tried for long, and 5");
    let mut left: Vec<_> = (1..=6).filter(|key| circuits.find(key).is_some()).collect();
    assert_eq!(left, [1, 2, 3, 6]);
    drop(in_hand);
    advance(2 * HOUR).await;
    assert_eq!(circuits.evict_idle(), 3);
    left.retain(|key| circuits.find(key).is_some());
    assert_eq!(left, [3], "an operator's word is kept");
    assert_eq!(circuits.find(&3).unwrap().status().mode, Mode::ForcedClosed);
}

#[tokio::test(start_paused = true)]
async fn new_keys_drive_idle_ones_out() {
    let circuits: Circuits<u32> = keyed().idle(SECOND).build().unwrap();
    for key in 0..1_000 {
        drop(circuits.get(&key));
    }
    advance(SECOND).await;
    for key in 1_000..2_000 {
        drop(circuits.get(&key));
    }
    assert_eq!((circuits.len(), circuits.evicted()), (1_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_switched_off_registry_forgets_idle_ones_too() {
    let builder = Circuit::builder("key").consecutive(1).enabled(false).keyed();
    let circuits: Circuits<u32> = builder.idle(SECOND).build().unwrap();
    fail(&circuits.get(&1));
    assert_eq!(circuits.get(&1).status().mode, Mode::Disabled);
    advance(SECOND).await;
    assert_eq!(circuits.evict_idle(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_of_ones_own_stays_and_does_not_count() {
    let circuits: Circuits<String> = keyed().max_keys(1).idle(SECOND).build().unwrap();
    let own = presets::SCALE_SERP.builder().build().unwrap();
    assert!(circuits.insert("scale_serp".into(), own).is_none());
    for key in ["a", "b", "c"] {
        drop(circuits.get(key));
    }
    advance(HOUR).await;
    circuits.evict_idle();
    assert_eq!((circuits.len(), circuits.get("scale_serp").name()), (1, "scale_serp"));
    let again = presets::COGNISM.builder().build().unwrap();
    let old = circuits.insert("scale_serp".into(), again).unwrap();
    assert_eq!(old.name(), "scale_serp");
    assert_eq!(circuits.remove("scale_serp").unwrap().name(), "cognism");
    assert!(circuits.remove("scale_serp").is_none());
    drop(circuits.get("d"));
    assert_eq!(circuits.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn those_of_ones_own_take_no_room_from_the_others() {
    let circuits: Circuits<u32> = keyed().max_keys(2).build().unwrap();
    circuits.insert(0, presets::WORKER.builder().build().unwrap());
    drop((circuits.get(&1), circuits.get(&2)));
    assert_eq!((circuits.len(), circuits.evicted()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn gate_and_guard_choose_the_circuit_by_the_request() {
    static SENT: AtomicU32 = AtomicU32::new(0);
    let zones: Circuits<u8> = keyed().build().unwrap();
    let zone = |request: &(u8, bool)| request.0;
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::new(zones.by(zone)))
        .layer(GuardLayer::new(zones.by(zone), ErrorsFail))
        .service(service_fn(|(zone, works): (u8, bool)| async move {
            SENT.fetch_add(1, Ordering::Relaxed);
            if works { Ok(zone) } else { Err::<_, BoxError>("down".into()) }
        }));
    assert!(service.ready().await.unwrap().call((1, false)).await.is_err());
    let refused = service.ready().await.unwrap().call((1, true)).await.unwrap_err();
    assert_eq!(refused.downcast_ref::<Open>().unwrap().name(), "key/1");
    assert_eq!(service.ready().await.unwrap().call((2, true)).await.unwrap(), 2);
    assert_eq!(SENT.load(Ordering::Relaxed), 2);
    assert_eq!(zones.find(&1).unwrap().status().refused, 1);
}

/// One circuit for each class of error: each layer's judge sees its own class only.
#[tokio::test(start_paused = true)]
async fn a_circuit_per_class_of_error_counts_its_class_alone() {
    let classes: Circuits<&'static str> =
        Circuit::builder("class").consecutive(2).keyed().build().unwrap();
    let layer = |class: &'static str, statuses: std::ops::RangeInclusive<u16>| {
        let judge = move |outcome: Result<&u16, &BoxError>| match outcome {
            Ok(status) if statuses.contains(status) => Verdict::Failure,
            Ok(_) => Verdict::Success,
            Err(error) if error.is::<Open>() => Verdict::Ignore,
            Err(_) => Verdict::Failure,
        };
        CircuitLayer::new(classes.get(&class), judge)
    };
    let mut service = ServiceBuilder::new()
        .layer(layer("auth", 401..=403))
        .layer(layer("server", 500..=599))
        .service(service_fn(|status: u16| async move { Ok::<_, BoxError>(status) }));
    for status in [401, 503, 401] {
        service.ready().await.unwrap().call(status).await.unwrap();
    }
    assert_eq!(
        classes.get(&"auth").state(),
        State::Closed,
        "no two in a row: a 503 is not its own"
    );
    service.ready().await.unwrap().call(401).await.unwrap();
    assert_eq!(classes.get(&"auth").state(), State::Open);
    assert_eq!(classes.get(&"server").state(), State::Closed);
    let refused = service.ready().await.unwrap().call(200).await.unwrap_err();
    assert_eq!(refused.downcast_ref::<Open>().unwrap().name(), "class/auth");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_tower_is_refused_before_it_begins_and_recorded_when_dropped() {
    let circuit = Circuit::builder("db").consecutive(2).build().unwrap();
    let not_found = |outcome: Result<&(), &&str>| match outcome {
        Err(&"no such row") => Verdict::Success,
        other => ErrorsFail.judge(other),
    };
    for _ in 0..3 {
        let answer = circuit.call_judged(async { Err("no such row") }, not_found).await;
        assert_eq!(answer, Err(CallError::Failed("no such row")));
    }
    assert_eq!(circuit.status().consecutive_failures, 0);
    let hangs = std::future::pending::<Result<(), &str>>();
    assert!(tokio::time::timeout(SECOND, circuit.call(hangs)).await.is_err());
    assert_eq!(circuit.call(async { Err::<(), _>("lost") }).await, Err(CallError::Failed("lost")));
    let mut began = false;
    let refused = circuit
        .call(async {
            began = true;
            Ok::<_, BoxError>(())
        })
        .await
        .unwrap_err();
    assert!(refused.to_string().starts_with("circuit `db` is open (2 failures in a row)"));
    assert!(!began);
}

#[tokio::test(start_paused = true)]
async fn presets_open_after_the_seeds_figures() {
    for preset in presets::ALL {
        let circuit = preset.builder().build().unwrap();
        let mut failures = 0;
        while circuit.state() == State::Closed {
            fail(&circuit);
            failures += 1;
        }
        let seconds = circuit.admit().unwrap_err().wait().unwrap().as_secs();
        let expected = match preset.name {
            "pipedrive" | "youtube" | "google_ads" => (5, 300),
            "worker" => (5, 60),
            "autotask" => (20, 60),
            "scale_serp" => (10, 300),
            "cognism" => (5, 600),
            "openai" => (10, 600),
            "scrapingbee" => (20, 300),
            other => panic!("{other} has no figures here"),
        };
        assert_eq!((failures, seconds), expected, "{}", preset.name);
        advance(Duration::from_secs(seconds)).await;
        for _ in 0..preset.successes {
            assert_eq!(circuit.state(), State::HalfOpen);
            circuit.admit().unwrap().record(Verdict::Success);
        }
        assert_eq!(circuit.state(), State::Closed);
    }
}
