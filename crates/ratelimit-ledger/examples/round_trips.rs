//! What a shared budget costs: round trips to Redis for each request, at three rates,
//! and the time that a lease in hand adds to a request.
//!
//! ```text
//! cargo run --release -p ratelimit-ledger --example round_trips
//! ```
//!
//! Takes `REDIS_URL`, or starts a redis-server of its own.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::{hint::black_box, time::Duration};

use ratelimit_ledger::{Driver, RedisLedger};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tower_ratelimit_tokens::{Budget, BudgetId, Charge, Limiter, Settle};

#[path = "../tests/support/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

const WINDOW: Duration = Duration::from_secs(2);

fn limiter(limit: u64, leased: bool) -> Result<(Limiter, BudgetId), Box<dyn std::error::Error>> {
    let mut limits = Limiter::builder();
    let budget = Budget::rolling(limit, WINDOW).freed_by_answer(Duration::from_secs(1));
    let budget = if leased { budget.leased() } else { budget };
    let burst = limits.budget("burst", budget);
    Ok((limits.build()?, burst))
}

/// Requests at a steady rate. Returns round trips for each.
async fn at_rate(url: &str, rate: u64) -> Result<f64, Box<dyn std::error::Error>> {
    // Nearly twice as much as is spent: the budget is shared, not full.
    let (limiter, burst) = limiter(4 * rate, true)?;
    let driver = Driver::new(&limiter, RedisLedger::new(url, &format!("rate-{rate}"))?);
    let status = driver.status();
    tokio::spawn(driver.run());
    // Past the time in which a new Redis waits, and until the rate is known.
    drop(limiter.acquire(Charge::new().with(burst, 1), None).await?);
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(rate)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut before = (0, 0);
    let (warm_up, until) = (3 * rate, 13 * rate);
    let mut longest = Duration::ZERO;
    for sent in 0..until {
        tick.tick().await;
        if sent == warm_up {
            before = (sent, status.borrow().exchanges);
        }
        let asked = Instant::now();
        let mut ticket = limiter.acquire(Charge::new().with(burst, 1), None).await?;
        if sent > warm_up {
            longest = longest.max(asked.elapsed());
        }
        ticket.try_sent(Instant::now())?;
        tokio::spawn(async move {
            sleep(Duration::from_millis(20)).await;
            ticket.answered(Instant::now(), Settle::Keep);
        });
    }
    let trips = status.borrow().exchanges - before.1;
    let each = trips as f64 / (until - before.0) as f64;
    println!(
        "{rate:>5} requests/s: {each:.3} round trips each, longest wait {:.1} ms",
        longest.as_secs_f64() * 1e3
    );
    Ok(each)
}

/// Nanoseconds that one paid, sent and answered request takes.
fn nanos_each(limiter: &Limiter, burst: BudgetId) -> f64 {
    const CALLS: u32 = 100_000;
    let charge = Charge::new().with(burst, 1);
    let mut best = f64::MAX;
    for _ in 0..9 {
        let began = Instant::now();
        for _ in 0..CALLS {
            let Ok(mut ticket) = limiter.try_acquire(black_box(charge), None) else {
                return f64::NAN;
            };
            let now = Instant::now();
            ticket.sent(now);
            ticket.answered(now, Settle::Refund);
        }
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    best
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = match std::env::var("REDIS_URL") {
        Ok(_) => None,
        Err(_) => server::RedisServer::start("round trips to Redis"),
    };
    let url = std::env::var("REDIS_URL").ok().or(own.as_ref().map(|own| own.url()));
    if let Some(url) = &url {
        let mut each = 0.0;
        for rate in [6, 50, 1_000] {
            each = at_rate(url, rate).await?;
        }
        assert!(each < 0.1, "under a tenth of a round trip for each of 1,000 requests/s");
    }

    let limit = u64::from(u32::MAX);
    let (alone, burst) = limiter(limit, false)?;
    let (leased, _) = limiter(limit, true)?;
    let (leases, now) = (leased.leases(), Instant::now());
    // Some slices, as a driver brings them.
    for part in 1..=8 {
        let until = now + Duration::from_secs(600 + part);
        leases.grant_slots(burst, limit / 8, now, until, 0);
    }
    let (without, with) = (nanos_each(&alone, burst), nanos_each(&leased, burst));
    println!("a request without leases {without:.0} ns, with a lease in hand {with:.0} ns");
    // Not optimised it says nothing.
    assert!(cfg!(debug_assertions) || with - without < 1_000.0);
    Ok(())
}
