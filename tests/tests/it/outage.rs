//! Five minutes without an API: the circuit opens, next to nothing is sent, and all goes on by itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use pipedrive_service::{Entity, WalkOptions};
use saas_sim::pipedrive::{Faults, SimConfig, Sizes};
use stack_tests::{Weather, World, digest_of, pass, say, sim_entity, walk_all};
use tokio::time::Instant;
use tower_circuit::State;

const OUTAGE: Duration = Duration::from_secs(300);
const OPEN: Duration = Duration::from_secs(30);
const WALKS: [Entity; 5] =
    [Entity::Deals, Entity::Persons, Entity::Organizations, Entity::Activities, Entity::Notes];

async fn outage(weather: Weather) {
    let config = SimConfig {
        sizes: Some(Sizes::each(450)),
        seats: 100,
        faults: Faults { latency_before_ms: [5, 40], latency_after_ms: [5, 40], ..Faults::none() },
        ..SimConfig::default()
    };
    let settings = [
        ("account.seats", "100"),
        ("robustness.error_handling.circuit_breaker_timeout", "30"),
        ("robustness.error_handling.circuit_breaker_first_timeout", "30"),
    ];
    let world = World::new(config, &settings);
    let mut transitions = world.client.circuit().watch();
    let options = WalkOptions::new().limit(5);
    let walks = WALKS.map(|entity| {
        let walk = tokio::spawn(walk_all(world.client.clone(), entity, options.clone()));
        async move { (entity, walk.await.expect("no panic")) }
    });

    pass(Duration::from_secs(4)).await;
    let began = Instant::now();
    assert!(world.wire.sent() > 150, "the walks are under way");
    world.wire.set(weather);
    pass(OUTAGE).await;
    let ended = Instant::now();
    world.wire.set(Weather::Fair);

    let walks = join_all(walks).await;
    for (entity, walked) in &walks {
        let expected = world.sim.digest(sim_entity(*entity));
        assert_eq!(digest_of(&walked.rows), (expected.rows, expected.sha256), "{entity}");
    }
    // Five failures open the circuit while up to five walks are under way; then it tries every half a minute, or
    // up to a tenth of that sooner.
    let sent = world.wire.sent_between(began, ended);
    let trials = 3 * (OUTAGE.as_secs() / (OPEN.as_secs() * 9 / 10));
    say(format_args!(
        "{sent} requests were sent in the outage, {:?}",
        world.client.circuit().status()
    ));
    assert!(sent >= 5, "it must have noticed");
    assert!(sent <= 5 + WALKS.len() as u64 + trials, "{sent} requests into the void");
    assert!(world.client.circuit().status().refused > 0);
    assert_eq!(world.client.circuit().state(), State::Closed);
    assert!(world.client.circuit().status().transitions >= 3, "opened, tried, closed");
    assert!(
        transitions.has_changed().is_ok_and(|changed| changed)
            && transitions.borrow_and_update().to == State::Closed
    );
    let last = walks.iter().map(|(_, walked)| walked.ended).max().expect("some walks");
    // What is left takes under a minute; the last open time adds half of one.
    assert!(last - ended < Duration::from_secs(90), "{:?}", last - ended);
    assert_eq!(world.sim.truth().refusals.caused(), 0);
}

#[tokio::test(start_paused = true)]
async fn five_minutes_of_503_are_sat_out() {
    let answer =
        || Response::builder().status(503).body(Bytes::from_static(b"{}")).expect("a response");
    outage(Weather::answer(answer)).await;
}

#[tokio::test(start_paused = true)]
async fn five_minutes_of_refused_connections_are_sat_out() {
    outage(Weather::Refused).await;
}

#[tokio::test(start_paused = true)]
async fn five_minutes_of_silence_are_sat_out() {
    outage(Weather::Silence).await;
}
