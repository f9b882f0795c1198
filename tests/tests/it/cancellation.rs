//! Calls that are dropped, at any point of their way: nothing they held is lost.
//!
//! `CANCEL_SEED` chooses the calls and the points, `CANCEL_CALLS` how many there are.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::join_all;
use pipedrive_service::{Entity, ListQuery};
use saas_sim::pipedrive::{Drip, FaultKind, Faults, SimConfig};
use stack_tests::{Weather, World, pass, say, seed};
use tower_circuit::State;

const ENTITIES: [Entity; 4] = [Entity::Deals, Entity::Stages, Entity::Notes, Entity::ArchivedDeals];

/// Polls a future so many times at most; then it is dropped.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: u32,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let outcome = self.future.as_mut().poll(cx);
        if outcome.is_pending() && self.left == 0 {
            // Nobody would wake us to be dropped.
            cx.waker().wake_by_ref();
        }
        outcome.map(Some)
    }
}

/// Starts so many calls over a while and drops most of them: some after a number of polls, some after a time.
async fn drop_at_random(world: &World, rng: &mut Rng, calls: u64) -> u64 {
    let mut running = Vec::new();
    for _ in 0..calls {
        let client = world.client.clone();
        let entity = ENTITIES[rng.usize(..ENTITIES.len())];
        let polls = rng.u32(0..12);
        let time = Duration::from_micros(rng.u64(0..3_000_000));
        let by_polls = rng.bool();
        let call = async move { client.list(entity, ListQuery::new().limit(10)).await.is_ok() };
        running.push(tokio::spawn(async move {
            if by_polls {
                Polls { future: Box::pin(call), left: polls }.await
            } else {
                tokio::time::timeout(time, call).await.ok()
            }
        }));
        if rng.u8(..4) == 0 {
            pass(Duration::from_millis(rng.u64(0..40))).await;
        }
    }
    let hours = Duration::from_secs(10 * 3600);
    let ended =
        tokio::time::timeout(hours, join_all(running)).await.expect("nobody waits for ever");
    ended.into_iter().filter(|end| matches!(end, Ok(None))).count() as u64
}

#[tokio::test(start_paused = true)]
async fn after_thousands_of_dropped_calls_nothing_is_held_and_nothing_unsent_was_paid() {
    let seed = seed("CANCEL_SEED", 1);
    let calls = self::seed("CANCEL_CALLS", 3_000);
    let faults = Faults {
        seed,
        rates: [
            (FaultKind::Error503, 0.05),
            (FaultKind::SlowDrip, 0.1),
            (FaultKind::TruncatedJson, 0.05),
        ]
        .into(),
        drip: Drip { pieces: 5, pause_ms: 20 },
        latency_before_ms: [5, 40],
        latency_after_ms: [5, 40],
        ..Faults::none()
    };
    // Without these headers the limiter has nothing but its own count.
    let config = SimConfig {
        records: 500,
        seats: 100,
        faults,
        token_headers: false,
        ..SimConfig::default()
    };
    let settings =
        [("account.seats", "100"), ("robustness.error_handling.circuit_breaker_enabled", "false")];
    let world = World::new(config, &settings);
    let mut rng = Rng::with_seed(seed);
    let dropped = drop_at_random(&world, &mut rng, calls).await;
    pass(Duration::from_millis(3_100)).await;

    let (truth, status) = (world.sim.truth(), world.limiter());
    say(format_args!(
        "seed {seed}: {dropped} of {calls} dropped, {} sent, {} counted",
        world.wire.sent(),
        truth.charged
    ));
    assert!(dropped > calls / 3 && world.wire.sent() > calls / 6);
    assert_eq!(world.wire.under_way(), 0);
    assert_eq!(status.waiting, 0, "nobody waits");
    assert!(status.gate.is_none());
    assert_eq!(world.budget("burst").used, 0, "all slots are free again");
    // What was sent was paid, and nothing else. The simulator has not counted those that were dropped on their way.
    let sent: u64 = status.endpoints.iter().map(|endpoint| endpoint.calls).sum();
    assert_eq!(sent, world.wire.sent());
    let priced: u64 = world.wire.targets().iter().map(|target| price(target)).sum();
    assert_eq!(world.budget("day").used, priced, "paid: what was sent, and nothing else");
    assert!(priced >= truth.day.used);
    assert!(priced - truth.day.used <= 20 * (world.wire.sent() - truth.charged));
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);

    world
        .client
        .list(Entity::Deals, ListQuery::new().limit(10))
        .await
        .expect("the next call goes through");
}

/// What the request to this path costs, by the published table.
fn price(path: &str) -> u64 {
    match path {
        "/api/v2/deals" => 10,
        "/api/v2/stages" => 5,
        "/api/v1/notes" | "/api/v2/deals/archived" => 20,
        other => panic!("nobody asked for {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_count_is_reached_again_after_dropped_calls() {
    let faults = Faults { latency_before_ms: [5, 40], latency_after_ms: [5, 40], ..Faults::none() };
    let world = World::new(
        SimConfig { records: 500, seats: 100, faults, ..SimConfig::default() },
        &[("account.seats", "100")],
    );
    let mut rng = Rng::with_seed(seed("CANCEL_SEED", 1) ^ 7);
    // The dropped calls would open the circuit; that is another test.
    world.client.circuit().force_closed();
    let dropped = drop_at_random(&world, &mut rng, 500).await;
    assert!(dropped > 100);
    pass(Duration::from_secs(3)).await;
    world
        .client
        .list(Entity::Deals, ListQuery::new().limit(10))
        .await
        .expect("a page, whose headers tell");
    assert_eq!(world.budget("day").used, world.sim.truth().day.used);
}

#[tokio::test(start_paused = true)]
async fn dropped_trials_give_their_places_back() {
    let settings = [
        ("robustness.error_handling.circuit_breaker_threshold", "1"),
        ("robustness.error_handling.circuit_breaker_timeout", "10"),
        ("robustness.error_handling.half_open_max_requests", "2"),
        ("robustness.error_handling.max_retry_attempts", "0"),
    ];
    let faults =
        Faults { latency_before_ms: [20, 20], latency_after_ms: [20, 20], ..Faults::none() };
    let world = World::new(SimConfig { records: 500, faults, ..SimConfig::default() }, &settings);
    let mut rng = Rng::with_seed(seed("CANCEL_SEED", 1));
    for round in 0..300 {
        world.wire.set(Weather::Refused);
        world.client.circuit().reset();
        let error =
            world.client.list(Entity::Deals, ListQuery::new()).await.expect_err("nobody listens");
        assert_eq!(world.client.circuit().state(), State::Open, "round {round}: {error:?}");
        world.wire.set(Weather::Fair);
        pass(Duration::from_secs(10)).await;
        assert_eq!(world.client.circuit().state(), State::HalfOpen);
        let trials = (0..rng.usize(1..5)).map(|_| {
            let client = world.client.clone();
            let time = Duration::from_millis(rng.u64(0..38));
            async move {
                tokio::time::timeout(time, client.list(Entity::Deals, ListQuery::new()))
                    .await
                    .is_ok()
            }
        });
        join_all(trials.collect::<Vec<_>>()).await;
        let status = world.client.circuit().status();
        assert_eq!(status.trials_running, 0, "round {round}: {status:?}");
        pass(Duration::from_secs(10)).await;
        world
            .client
            .list(Entity::Deals, ListQuery::new())
            .await
            .expect("a trial goes through, and closes the circuit");
        assert_eq!(world.client.circuit().state(), State::Closed, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_walk_leaves_nothing_behind() {
    use futures_util::StreamExt as _;
    let faults = Faults { latency_before_ms: [5, 40], latency_after_ms: [5, 40], ..Faults::none() };
    let world = World::new(SimConfig { records: 3_000, faults, ..SimConfig::default() }, &[]);
    let mut rng = Rng::with_seed(seed("CANCEL_SEED", 1));
    for _ in 0..100 {
        let options = pipedrive_service::WalkOptions::new().limit(10).prefetch(rng.usize(0..4));
        let mut pages = Box::pin(world.client.walk(Entity::Deals, options));
        for _ in 0..rng.u8(0..4) {
            pages.next().await.expect("not at the end").expect("a page");
        }
        pass(Duration::from_millis(rng.u64(0..60))).await;
        drop(pages);
    }
    pass(Duration::from_millis(1)).await;
    assert_eq!(world.wire.under_way(), 0, "no request goes on without its walk");
    let sent = world.wire.sent();
    pass(Duration::from_secs(60)).await;
    assert_eq!(world.wire.sent(), sent);
    assert_eq!(world.limiter().waiting, 0);
    assert_eq!(world.budget("burst").used, 0);
}

/// On the real clock and several threads: a wake-up that is lost between them would never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_from_many_threads_all_end_though_others_are_dropped_beside_them() {
    let config = SimConfig { records: 500, seats: 100, burst: Some(4_000), ..SimConfig::default() };
    let settings = [
        ("account.seats", "100"),
        ("robustness.rate_limiting.burst_limit", "4000"),
        ("robustness.rate_limiting.max_queue_size", "3000"),
        ("robustness.error_handling.circuit_breaker_enabled", "false"),
    ];
    let world = World::new(config, &settings);
    let mut rng = Rng::with_seed(seed("CANCEL_SEED", 1));
    let calls = (0..3_000).map(|_| {
        let client = world.client.clone();
        let polls = if rng.bool() { u32::MAX } else { rng.u32(0..4) };
        let call = async move { client.get(Entity::Stages, 1).await };
        tokio::spawn(async move { Polls { future: Box::pin(call), left: polls }.await })
    });
    let all = join_all(calls.collect::<Vec<_>>());
    let ended =
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("no wake-up is lost");
    let mut whole = 0;
    for end in ended {
        if let Some(outcome) = end.expect("no panic") {
            outcome.expect("a stage");
            whole += 1;
        }
    }
    assert!(whole >= 1_000, "{whole}");
    assert_eq!(world.limiter().waiting, 0);
    assert_eq!(world.wire.under_way(), 0);
    assert_eq!(world.sim.truth().refusals.caused(), 0);
    assert_eq!(world.budget("day").used, world.wire.sent());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_counts_against_the_api_and_a_wait_in_the_queue_does_not() {
    let settings = [
        ("robustness.rate_limiting.burst_limit", "5"),
        ("robustness.rate_limiting.pacing", "none"),
        ("robustness.error_handling.circuit_breaker_threshold", "5"),
    ];
    let world = World::small(&settings);
    world.wire.set(Weather::Silence);
    let call = || {
        let client = world.client.clone();
        tokio::spawn(async move { client.list(Entity::Deals, ListQuery::new()).await.map(drop) })
    };
    let sent: Vec<_> = (0..5).map(|_| call()).collect();
    pass(Duration::from_millis(10)).await;
    let waiting: Vec<_> = (0..20).map(|_| call()).collect();
    pass(Duration::from_millis(10)).await;
    assert_eq!((world.wire.under_way(), world.limiter().waiting), (5, 20));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    pass(Duration::from_millis(10)).await;
    assert_eq!((world.wire.under_way(), world.limiter().waiting), (5, 0));
    assert_eq!(world.client.circuit().status().consecutive_failures, 0);
    assert_eq!(world.health().bad, 0, "nobody was asked");
    sent.iter().for_each(tokio::task::JoinHandle::abort);
    pass(Duration::from_millis(10)).await;
    assert_eq!(world.client.circuit().state(), State::Open, "five in a row had no answer");
}
