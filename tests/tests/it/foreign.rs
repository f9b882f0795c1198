//! Another client spends the same budget, and nobody tells us.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use pipedrive_service::{Entity, ListQuery};
use saas_sim::pipedrive::{DEFAULT_API_TOKEN, Edge, Faults, SimConfig};
use stack_tests::{Wire, World, pass, say, seed};
use tokio::{task::JoinHandle, time::Instant};
use tower_service::Service as _;

const LIMIT: f64 = 100.0;
const WINDOW: Duration = Duration::from_secs(2);
const RUN: Duration = Duration::from_secs(60);

/// What the other client did: when each of its requests was let through.
type Others = JoinHandle<Vec<Instant>>;

/// Sends one request past the stack, and says when it was let through.
async fn send_one(mut wire: Wire) -> Option<Instant> {
    let request = Request::get("https://acme.pipedrive.com/api/v2/deals/1")
        .header("x-api-token", DEFAULT_API_TOKEN)
        .body(Full::<Bytes>::default())
        .expect("a good request");
    let answer: Response<_> = wire.call(request).await.ok()?;
    (answer.status() != StatusCode::TOO_MANY_REQUESTS).then(Instant::now)
}

/// Another client that sends as many at once as `next` says, after as long as it says.
fn others(world: &World, mut next: impl FnMut() -> (Duration, usize) + Send + 'static) -> Others {
    let wire = Wire::to(&world.sim);
    let until = Instant::now() + RUN;
    tokio::spawn(async move {
        let mut calls = vec![];
        while Instant::now() < until {
            let (wait, burst) = next();
            pass(wait).await;
            calls.extend((0..burst).map(|_| tokio::spawn(send_one(wire.clone()))));
        }
        let mut passed = vec![];
        for call in calls {
            passed.extend(call.await.expect("no panic"));
        }
        passed
    })
}

struct Outcome {
    /// When each of ours succeeded.
    ours: Vec<Instant>,
    /// When each of ours was refused by the server.
    refused: Vec<Instant>,
    sent: u64,
    began: Instant,
}

/// Four callers that always want more, until the time is over.
async fn keep_asking(world: &World) -> Outcome {
    let began = Instant::now();
    let callers = (0..4).map(|_| {
        let client = world.client.clone();
        tokio::spawn(async move {
            let mut ours = vec![];
            while began.elapsed() < RUN {
                if client.list(Entity::Deals, ListQuery::new().limit(1)).await.is_ok() {
                    ours.push(Instant::now());
                }
            }
            ours
        })
    });
    let watched = world.clone();
    let watch = tokio::spawn(async move {
        let (mut refused, mut seen) = (vec![], 0);
        while began.elapsed() < RUN {
            let now = watched.limiter().refusals.burst;
            refused.extend((seen..now).map(|_| Instant::now()));
            seen = now;
            pass(Duration::from_millis(1)).await;
        }
        refused
    });
    let mut ours = vec![];
    for caller in callers.collect::<Vec<_>>() {
        ours.extend(caller.await.expect("no panic"));
    }
    let refused = watch.await.expect("no panic");
    Outcome { sent: world.wire.sent(), ours, refused, began }
}

fn account(faults: Faults) -> World {
    // The other client runs into refusals of its own, which are not to ban us.
    let edge = Edge { enabled: false, ..Edge::default() };
    let config = SimConfig {
        records: 500,
        seats: 1_000,
        log: 100_000,
        faults,
        edge,
        ..SimConfig::default()
    };
    World::new(
        config,
        &[("account.seats", "1000"), ("robustness.error_handling.max_retry_attempts", "0")],
    )
}

fn after(list: &[Instant], from: Instant) -> impl Iterator<Item = &Instant> {
    list.iter().filter(move |at| **at >= from)
}

/// Asserts that the drift that we report is what the others spent until our last answer, within a tenth.
fn drift_is_right(world: &World, outcome: &Outcome, others: &[Instant]) {
    let last = outcome.ours.iter().max().expect("some of ours succeeded");
    let spent = others.iter().filter(|at| *at <= last).count() as f64;
    let seen = world.budget("burst").foreign as f64;
    say(format_args!("others spent {spent}, we saw {seen}"));
    // A slot is held until its tick is over, and hides what comes in its place until then.
    let rounding = 2.0;
    assert!((seen - spent).abs() <= (spent * 0.1).max(rounding), "{seen} of {spent}");
}

async fn evenly(faults: Faults) {
    let world = account(faults);
    // Forty in two seconds: two in five of the limit.
    let others = others(&world, || (Duration::from_millis(50), 1));
    let outcome = keep_asking(&world).await;
    let from = outcome.began + 2 * WINDOW;
    let refused = after(&outcome.refused, from).count();
    let rate = after(&outcome.ours, from).count() as f64 / (RUN - 2 * WINDOW).as_secs_f64();
    let rest = (LIMIT * 0.6) / WINDOW.as_secs_f64();
    let early = outcome.refused.len() - refused;
    say(format_args!("{early} refused at first, then {refused}; {:.3} of the rest", rate / rest));
    assert_eq!(refused, 0, "refused after two windows");
    assert!(rate / rest >= 0.85, "only {:.3} of the rest was used", rate / rest);
    drift_is_right(&world, &outcome, &others.await.expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn even_spending_of_others_costs_no_429_and_little_of_the_rest() {
    evenly(Faults::none()).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_with_latency_on_both_sides() {
    let latency =
        Faults { latency_before_ms: [5, 40], latency_after_ms: [5, 40], ..Faults::none() };
    evenly(latency).await;
}

async fn bursts(seed: u64) {
    let world = account(Faults::none());
    let mut random = fastrand::Rng::with_seed(seed);
    // Five to sixty at once, at any time, two in five of the limit in the long run.
    let others = others(&world, move || {
        let burst = random.usize(5..=60);
        let mean = burst as f64 / (LIMIT * 0.4) * WINDOW.as_secs_f64();
        (Duration::from_secs_f64(mean * 2.0 * random.f64()), burst)
    });
    let outcome = keep_asking(&world).await;
    let share = outcome.refused.len() as f64 / outcome.sent as f64;
    say(format_args!("{} of {} refused ({share:.4})", outcome.refused.len(), outcome.sent));
    assert!(share < 0.02, "{share}");
    // The simulator names the time at which a slot is free, at least a second. What was under way when the refusal came
    // may be refused, too; nothing is sent from then on.
    let log = world.sim.truth().log;
    let ours: Vec<_> = log.iter().filter(|entry| entry.target.contains("deals?")).collect();
    for first in ours.iter().filter(|entry| entry.status == Some(429)) {
        let known = first.answered_us.expect("answered");
        let cool_down = known + 1..known + 999_000;
        let sent = ours.iter().find(|entry| cool_down.contains(&entry.arrived_us));
        assert!(sent.is_none(), "{first:?}\n{sent:?}");
    }
    drift_is_right(&world, &outcome, &others.await.expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn bursts_of_others_refuse_few_and_never_two_in_one_cool_down() {
    bursts(seed("FOREIGN_SEED", 7)).await;
}

#[tokio::test(start_paused = true)]
async fn bursts_of_others_that_fill_whole_windows_are_all_seen() {
    // They leave room for a single request of ours per window, which has to be sent as soon as it is there.
    bursts(135).await;
}
