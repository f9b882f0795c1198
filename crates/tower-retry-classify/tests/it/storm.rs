//! A thousand callers, and an upstream that fails for half a minute.
#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt as _, retry::Retry, service_fn};
use tower_retry_classify::{Backoff, Jitter, Quota, RetryBudget, RetryPolicy, Share};

use crate::support::*;

const CALLERS: u64 = 1_000;
const OUTAGE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Seen {
    /// Calls that were begun during the outage.
    calls: u64,
    /// When attempts arrived, since the start.
    attempts: Vec<Duration>,
    /// The first success.
    recovered: Option<Duration>,
}

/// Everybody starts at the same moment and asks again about a second after each answer.
async fn storm(budget: RetryBudget, jitter: Jitter, outage: Duration, seed: u64) -> Seen {
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let arrivals = Arc::clone(&seen);
    let upstream = service_fn(move |_: Request| {
        let now = start.elapsed();
        let mut seen = arrivals.lock().unwrap();
        seen.attempts.push(now);
        let code = if now < outage { 503 } else { 200 };
        if code == 200 {
            seen.recovered.get_or_insert(now);
        }
        std::future::ready(status(code))
    });
    let backoff = Backoff::exponential(seconds(1), 2.0).jitter(jitter);
    let policy = RetryPolicy::http().backoff(backoff).budget(budget).seed(seed).build().unwrap();
    let ends = start + outage + seconds(10);
    let local = tokio::task::LocalSet::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let mut service = Retry::new(policy.clone(), upstream.clone());
            let seen = Arc::clone(&seen);
            local.spawn_local(async move {
                let mut chance = fastrand::Rng::with_seed(seed ^ n);
                while Instant::now() < ends {
                    if start.elapsed() < outage {
                        seen.lock().unwrap().calls += 1;
                    }
                    service.ready().await.unwrap().call(get()).await.unwrap();
                    sleep(Duration::from_millis(500 + chance.u64(..1_000))).await;
                }
            })
        })
        .collect();
    local.await;
    for caller in callers {
        caller.await.unwrap();
    }
    std::mem::take(&mut seen.lock().unwrap())
}

fn during(seen: &Seen) -> u64 {
    seen.attempts.iter().filter(|at| **at < OUTAGE).count() as u64
}

/// Of the attempts after the first instant, how many arrived in each tenth of the second.
fn tenths(seen: &Seen, second: u64) -> [usize; 10] {
    let mut tenths = [0; 10];
    for at in seen.attempts.iter().filter(|at| at.as_secs() == second && !at.is_zero()) {
        tenths[at.subsec_millis() as usize / 100] += 1;
    }
    tenths
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_made_worse_than_the_budget_promises() {
    // A purse of 500 is empty after a hundred retries, as nothing succeeds.
    let seen = storm(RetryBudget::new(Quota::AWS), Jitter::Full, OUTAGE, 1).await;
    let retries = during(&seen) - seen.calls;
    println!("quota: {} calls, {retries} retries of 100 promised", seen.calls);
    assert!((90..=100).contains(&retries), "{retries}");
    let late = seen.recovered.unwrap() - OUTAGE;
    assert!(late < Duration::from_millis(50), "somebody asks at once: {late:?}");

    // A share gives a fifth of the calls, ten a second, and what a full window starts with.
    let share = Share::FINAGLE;
    let seen = storm(RetryBudget::share(share), Jitter::Full, OUTAGE, 2).await;
    let retries = during(&seen) - seen.calls;
    let promise = seen.calls / 5 + 10 * OUTAGE.as_secs() + 100;
    println!("share: {} calls, {retries} retries of {promise} promised", seen.calls);
    assert!(retries * 5 <= promise * 6, "at most 1.2 times: {retries} of {promise}");
    assert!(retries * 10 >= promise * 7, "and what is promised is given: {retries} of {promise}");
    let late = seen.recovered.unwrap() - OUTAGE;
    assert!(late < Duration::from_millis(50), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn those_who_failed_together_do_not_come_back_together() {
    for (jitter, most) in [(Jitter::Full, 200), (Jitter::Decorrelated, 200), (Jitter::Equal, 300)] {
        let seen = storm(RetryBudget::unlimited(), jitter, seconds(8), 3).await;
        // All of the first thousand failed in the same instant. What follows in each second:
        for second in 0..8 {
            let tenths = tenths(&seen, second);
            println!("{jitter:?}, second {second}: {tenths:?}");
            assert!(tenths.iter().all(|n| *n <= most), "a wave with {jitter:?}: {tenths:?}");
        }
    }
    // Without jitter there are waves, so the test can see them.
    let seen = storm(RetryBudget::unlimited(), Jitter::None, seconds(8), 3).await;
    assert_eq!(tenths(&seen, 1)[0], 1_000, "{:?}", tenths(&seen, 1));
}
