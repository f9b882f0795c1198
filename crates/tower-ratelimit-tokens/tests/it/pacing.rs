//! A server that counts exactly, at some moment between sending and answer, and
//! walkers that keep it as busy as they may.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, TokenLimitLayer};

const WINDOW: Duration = Duration::from_secs(2);
const LIMIT: usize = 100;

/// Refuses what is more than `LIMIT` in any half-open window.
#[derive(Default)]
struct Server {
    counted: VecDeque<Instant>,
    asked: u64,
    refused: u64,
}

impl Server {
    fn arrives(&mut self, now: Instant) {
        self.asked += 1;
        while self.counted.front().is_some_and(|&first| now - first >= WINDOW) {
            self.counted.pop_front();
        }
        if self.counted.len() >= LIMIT {
            self.refused += 1;
        } else {
            self.counted.push_back(now);
        }
    }
}

#[derive(Clone, Copy)]
struct Run {
    walkers: usize,
    /// Bounds of the time before and of the time after counting, in microseconds.
    latency: Option<(u64, u64)>,
    even: bool,
    seed: u64,
}

/// Returns the share of the allowed requests that were made, and the refusals.
async fn run(run: Run) -> (f64, u64) {
    const LASTS: Duration = Duration::from_secs(80);
    let mut limits = Limiter::builder();
    let mut budget = Budget::rolling(LIMIT as u64, WINDOW).freed_by_answer(Duration::from_secs(1));
    if run.even {
        budget = budget.even();
    }
    let burst = limits.budget("burst", budget);
    let limiter = limits.build().unwrap();
    let server = Arc::new(Mutex::new(Server::default()));
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(run.seed)));

    let service = ServiceBuilder::new()
        .layer(TokenLimitLayer::new(limiter, Charge::new().with(burst, 1)))
        .service(service_fn({
            let server = Arc::clone(&server);
            move |(): ()| {
                let server = Arc::clone(&server);
                let draw = || match run.latency {
                    Some((least, most)) => {
                        Duration::from_micros(random.lock().unwrap().u64(least..=most))
                    }
                    None => Duration::ZERO,
                };
                let (before, after) = (draw(), draw());
                async move {
                    if !before.is_zero() {
                        sleep(before).await;
                    }
                    server.lock().unwrap().arrives(Instant::now());
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    Ok::<_, Infallible>(())
                }
            }
        }));
    let start = Instant::now();
    let walkers: Vec<_> = (0..run.walkers)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                while start.elapsed() < LASTS {
                    service.clone().oneshot(()).await.unwrap();
                }
            })
        })
        .collect();
    for walker in walkers {
        walker.await.unwrap();
    }
    let server = server.lock().unwrap();
    let allowed = LIMIT as f64 * LASTS.as_secs_f64() / WINDOW.as_secs_f64();
    (server.asked as f64 / allowed, server.refused)
}

#[tokio::test(start_paused = true)]
async fn without_latency_95_percent_are_used_and_none_is_refused() {
    for (walkers, seed) in [(4, 1), (16, 2)] {
        for even in [true, false] {
            let (share, refused) = run(Run { walkers, latency: None, even, seed }).await;
            assert_eq!(refused, 0, "walkers {walkers}, even {even}");
            assert!(share >= 0.95, "walkers {walkers}, even {even}: {share}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_latency_93_percent_are_used_and_none_is_refused() {
    for seed in 1..=3 {
        for (walkers, even) in [(4, true), (5, true), (12, true), (12, false)] {
            let latency = Some((5_000, 40_000));
            let (share, refused) = run(Run { walkers, latency, even, seed }).await;
            assert_eq!(refused, 0, "walkers {walkers}, even {even}, seed {seed}");
            assert!(share >= 0.93, "walkers {walkers}, even {even}, seed {seed}: {share}");
        }
    }
}

/// Latency that varies as wildly as it can within the transit bound.
#[tokio::test(start_paused = true)]
async fn wild_latency_causes_no_refusal() {
    for seed in 1..=2 {
        for even in [true, false] {
            let latency = Some((0, 999_000));
            let (_, refused) = run(Run { walkers: 100, latency, even, seed }).await;
            assert_eq!(refused, 0, "even {even}, seed {seed}");
        }
    }
}
