//! People before batches. Two hundred batch calls use up all that an API allows, and
//! now and then somebody waits before a screen. What comes of it: urgent calls stand
//! first in line; with a share of the budget kept for them they need not wait at all;
//! and when the line grows too long, the batch is turned away. Around an axum router in
//! process, on a paused clock: the times are exact, and pass at once.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use examples::BoxError;
use http::Request;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{
    Budget, Charge, Limiter, Priority, Refused, RefusedKind, TokenLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread", start_paused = true)] // no waiting in an example
async fn main() -> Result<(), BoxError> {
    println!("The API allows 20 calls in any second. Urgent calls go first:");
    let waits = run(Budget::rolling(20, SECOND), false).await?;
    waits.print();
    assert!(waits.batch.len() == 200 && waits.refused.is_empty());
    // At worst until the window turns, however long the line is.
    assert!(median(&waits.people) < SECOND && worst(&waits.people) <= SECOND + SECOND / 50);
    assert!(median(&waits.batch) > 3 * SECOND);

    println!("A fifth is kept for them:");
    let kept = Budget::rolling(20, SECOND).keep(0.2, Priority::HIGH);
    let waits = run(kept.clone(), false).await?;
    waits.print();
    assert!(waits.batch.len() == 200 && waits.refused.is_empty());
    assert_eq!(worst(&waits.people), Duration::ZERO);

    println!("And with more than a hundred calls in line the batch is turned away:");
    let waits = run(kept, true).await?;
    waits.print();
    assert_eq!(worst(&waits.people), Duration::ZERO);
    assert!(!waits.refused.is_empty() && waits.batch.len() + waits.refused.len() == 200);
    assert!(waits.refused.iter().all(|refused| refused.kind() == RefusedKind::Shed));
    Ok(())
}

/// How long calls waited, and who was refused.
#[derive(Default)]
struct Waits {
    people: Vec<Duration>,
    batch: Vec<Duration>,
    refused: Vec<Refused>,
}

fn median(waits: &[Duration]) -> Duration {
    waits.get(waits.len() / 2).copied().unwrap_or_default()
}

fn worst(waits: &[Duration]) -> Duration {
    waits.last().copied().unwrap_or_default()
}

impl Waits {
    fn print(&self) {
        for (who, waits) in [("people", &self.people), ("batch", &self.batch)] {
            let (calls, middle, most) = (waits.len(), median(waits), worst(waits));
            let (middle, most) = (middle.as_secs_f32(), most.as_secs_f32());
            println!(
                "  {who:6} {calls:3} calls waited {middle:.2} s in the middle, {most:.2} s at most"
            );
        }
        if let Some(refused) = self.refused.last() {
            println!("  {} were told: {refused}", self.refused.len());
        }
    }
}

async fn run(budget: Budget, shed: bool) -> Result<Waits, BoxError> {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", budget);
    let limiter = limits.build()?;
    let urgency = |request: &Request<Body>| match request.uri().path() {
        "/batch" => Priority::LOW,
        _ => Priority::HIGH,
    };
    let router = Router::new().route("/batch", get(|| async {})).route("/page", get(|| async {}));
    let client = ServiceBuilder::new()
        .layer(TokenLimitLayer::new(limiter.clone(), Charge::new().with(calls, 1)).terms(urgency))
        .service(router);

    let mut tasks = JoinSet::new();
    for number in 0..220 {
        let (path, begins) = match number {
            // Somebody comes every 400 ms, and the batch in a rush of two seconds.
            0..20 => ("/page", Duration::from_millis(400) * number + SECOND / 2),
            _ => ("/batch", Duration::from_millis(10) * (number - 20)),
        };
        let call = client.clone().oneshot(Request::get(path).body(Body::empty())?);
        tasks.spawn(async move {
            sleep(begins).await;
            let asked = Instant::now();
            (path, call.await.map(|_| asked.elapsed()))
        });
    }
    let watch = limiter.clone();
    let shedding = tokio::spawn(async move {
        let too_many = || (Priority::NORMAL, "more than a hundred calls wait".into());
        watch.shed_while(SECOND / 4, |now| (shed && now.waiting > 100).then(too_many)).await;
    });

    let mut waits = Waits::default();
    while let Some(ended) = tasks.join_next().await {
        match ended? {
            ("/page", waited) => waits.people.push(waited?),
            (_, Ok(waited)) => waits.batch.push(waited),
            (_, Err(error)) => waits.refused.push(*error.downcast()?),
        }
    }
    shedding.abort();
    waits.people.sort();
    waits.batch.sort();
    Ok(waits)
}
