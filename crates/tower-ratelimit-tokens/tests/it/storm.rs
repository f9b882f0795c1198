//! Thousands of calls on several threads, dropped at any moment.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    BoxError, Budget, Charge, Dialect, GateReason, Limiter, Observation, Observations, Outcome,
    Settle, TokenLimitLayer, WallClock,
};

const MS: Duration = Duration::from_millis(1);

/// Polls at most so many times, then drops.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let left = self.left;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[derive(Clone, Copy)]
struct Shut(u64);

impl Dialect<u64> for Shut {
    fn observe(&self, answer: &u64, _: &dyn WallClock) -> Observations {
        if *answer % self.0 != 0 {
            return Observations::none();
        }
        Observation::Closed { reason: GateReason::RetryAfter, retry_after: 5 * MS }.into()
    }
}

/// How many may be in the service at once.
const PLACES: usize = 4;

async fn storm(seed: u64, calls: u64) {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(400, 20 * MS).freed_by_answer(10 * MS));
    let bucket = limits.budget("bucket", Budget::bucket(500, 50, MS));
    let places = limits.budget("places", Budget::concurrency(PLACES as u64));
    let limits = limits.max_waiting(100_000).after_gate(Duration::from_micros(50), 5 * MS);
    let limiter = limits.build().unwrap();
    let inside = Arc::new(AtomicUsize::new(0));
    let settle = |outcome: Outcome<'_, u64>| match outcome {
        Ok(answer) if answer % 5 == 0 => Settle::Refund,
        _ => Settle::Keep,
    };
    let cost = Charge::new().with(burst, 1).with(bucket, 2).with(places, 1);
    let layer = TokenLimitLayer::new(limiter.clone(), cost).settle(settle).dialect(Shut(97));
    let service = layer.layer(service_fn({
        let inside = Arc::clone(&inside);
        move |n: u64| {
            struct Leaves(Arc<AtomicUsize>);
            impl Drop for Leaves {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                }
            }
            // A call dropped with its answer pending leaves before its place does.
            assert!(inside.fetch_add(1, Ordering::SeqCst) < PLACES);
            let leaves = Leaves(Arc::clone(&inside));
            async move {
                for _ in 0..n % 4 {
                    tokio::task::yield_now().await;
                }
                drop(leaves);
                if n % 7 == 0 { Err(BoxError::from("lost")) } else { Ok(n) }
            }
        }
    }));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tasks = JoinSet::new();
    for n in 0..calls {
        let (mut service, limiter) = (service.clone(), limiter.clone());
        let (way, polls, slow) = (random.u8(..6), random.usize(1..6), random.bool());
        let deadline = Instant::now() + MS * random.u32(0..40);
        tasks.spawn(async move {
            match way {
                0 => {
                    let call = async move { service.ready().await?.call(n).await };
                    Polls { future: Box::pin(call), left: polls }.await;
                }
                1 => {
                    let call = async move { service.ready().await?.call(n).await };
                    let _ = timeout(MS * (polls as u32), call).await;
                }
                2 => {
                    let free = Charge::new().with(burst, 1).with(bucket, 3);
                    if let Ok(mut ticket) = limiter.acquire(free, Some(deadline)).await {
                        if slow {
                            ticket.sent(Instant::now());
                        }
                        // Dropped, sent or not, on another thread.
                        tokio::task::spawn_blocking(move || drop(ticket)).await.unwrap();
                    }
                }
                3 => {
                    let wait = limiter.acquire(Charge::new().with(burst, 2), None);
                    Polls { future: Box::pin(wait), left: polls }.await;
                }
                _ => {
                    let _ = service.ready().await.unwrap().call(n).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let status = limiter.status();
    assert_eq!(status.waiting, 0);
    for budget in &status.budgets {
        assert_eq!(budget.waiting, 0, "{}", budget.name);
    }
    assert_eq!(status.budget("places").unwrap().used, 0);
    // What was spent is forgotten in time: nothing has leaked.
    tokio::time::sleep(50 * MS).await;
    let status = limiter.status();
    assert_eq!(status.budget("burst").unwrap().used, 0);
    assert_eq!(status.budget("bucket").unwrap().used, 0);
    limiter.try_acquire(cost, None).unwrap().answered(Instant::now(), Settle::Keep);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_dropped_at_any_moment_leave_nothing_behind_and_hold_nobody_up() {
    for seed in 0..4 {
        let storm = storm(seed, 2_000);
        assert!(timeout(Duration::from_secs(60), storm).await.is_ok(), "seed {seed}: stuck");
    }
}
