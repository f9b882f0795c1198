//! What a member does of its own while its ledger is away, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use ratelimit_ledger::{
    Driver, Exchange, Ledger, LedgerError, MemoryLedger, Reply, WhenUnreachable,
};
use tokio::time::{Instant, sleep};
use tower_ratelimit_tokens::{AnchoredClock, Budget, BudgetId, Charge, Limiter, Settle};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const HALF: WhenUnreachable = WhenUnreachable::Share { fraction: 0.5 };

/// A memory ledger that is there or not.
#[derive(Clone, Default)]
struct Wire {
    ledger: MemoryLedger,
    cut: Arc<AtomicBool>,
}

impl Ledger for Wire {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(LedgerError::Unreachable("the wire is cut".into()));
        }
        self.ledger.exchange(exchange).await
    }
}

fn day(limit: u64) -> (Limiter, BudgetId) {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(limit, TimeZone::UTC, Time::midnight()).leased();
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new("2026-11-25T10:00:00Z".parse::<Timestamp>().unwrap());
    (limits.wall_clock(clock).max_wait(60 * SECOND).build().unwrap(), day)
}

async fn spend(limiter: Limiter, charge: Charge) -> bool {
    let Ok(mut ticket) = limiter.acquire(charge, None).await else { return false };
    ticket.sent(Instant::now());
    sleep(10 * MS).await;
    ticket.answered(Instant::now(), Settle::Keep);
    true
}

/// The driver once granted what was missing and took away what was in hand: where
/// calls waited for more than that, it did so again and again until the whole
/// share was gone and nothing spent.
#[tokio::test(start_paused = true)]
async fn a_share_of_a_day_is_spent_by_calls_and_not_by_granting_it() {
    for (first, second) in (1..=12).flat_map(|first| (1..=12).map(move |second| (first, second))) {
        let (limiter, day) = day(10_000);
        let wire = Wire::default();
        wire.cut.store(true, Ordering::Relaxed);
        let mut driver = Driver::new(&limiter, wire).when_unreachable(HALF);
        driver.connect().await.unwrap_err();
        let status = driver.status();
        tokio::spawn(driver.run());
        let spent = Arc::new(AtomicU64::new(0));
        let calls = |each: u64, count: u64| {
            for _ in 0..count {
                let (limiter, spent) = (limiter.clone(), Arc::clone(&spent));
                tokio::spawn(async move {
                    if spend(limiter, Charge::new().with(day, each as u32)).await {
                        spent.fetch_add(each, Ordering::Relaxed);
                    }
                });
            }
        };
        // Some is in hand when more is needed.
        calls(7, first);
        sleep(2 * MS).await;
        calls(20, second);
        sleep(SECOND).await;
        assert_eq!(spent.load(Ordering::Relaxed), 7 * first + 20 * second, "{first} {second}");
        let allowed = status.borrow().budget("day").unwrap().overshoot;
        // What is kept in hand beside goes by the rate of spending.
        assert!(allowed < 2_500, "{allowed} allowed for {first} and {second} calls");
    }
}

/// A grant that runs out unspent is no spending: who asks for little, or for
/// nothing for a while, keeps his share.
#[tokio::test(start_paused = true)]
async fn a_share_of_a_day_that_is_not_spent_is_still_there_later() {
    let (limiter, day) = day(10_000);
    let wire = Wire::default();
    wire.cut.store(true, Ordering::Relaxed);
    let driver = Driver::new(&limiter, wire).when_unreachable(HALF);
    let status = driver.status();
    tokio::spawn(driver.run());
    for _ in 0..250 {
        assert!(spend(limiter.clone(), Charge::new().with(day, 10)).await);
        sleep(7 * SECOND).await;
    }
    // The other half of the share at once, and no more.
    let mut went = 0;
    let deadline = || Some(Instant::now() + SECOND);
    while let Ok(mut ticket) = limiter.acquire(Charge::new().with(day, 10), deadline()).await {
        ticket.sent(Instant::now());
        ticket.answered(Instant::now(), Settle::Keep);
        went += 1;
    }
    assert_eq!(went, 250, "5,000 units in calls of 10, half of them went before");
    assert_eq!(status.borrow().budget("day").unwrap().overshoot, 5_000);
}

#[tokio::test(start_paused = true)]
async fn all_times_without_the_ledger_in_one_day_have_one_share_together() {
    let (limiter, day) = day(1_000);
    let wire = Wire::default();
    let mut driver = Driver::new(&limiter, wire.clone())
        .when_unreachable(WhenUnreachable::Share { fraction: 0.1 });
    driver.connect().await.unwrap();
    let status = driver.status();
    tokio::spawn(driver.run());
    let mut alone = 0;
    for _ in 0..3 {
        wire.cut.store(true, Ordering::Relaxed);
        // What was leased runs out.
        sleep(4 * SECOND).await;
        for _ in 0..4 {
            let deadline = Some(Instant::now() + SECOND);
            let charge = Charge::new().with(day, 10);
            if let Ok(mut ticket) = limiter.acquire(charge, deadline).await {
                ticket.sent(Instant::now());
                ticket.answered(Instant::now(), Settle::Keep);
                alone += 10;
            }
        }
        wire.cut.store(false, Ordering::Relaxed);
        sleep(2 * SECOND).await;
        assert!(status.borrow().connected);
        assert!(spend(limiter.clone(), Charge::new().with(day, 10)).await);
    }
    assert_eq!(alone, 100, "a tenth of 1,000");
    let told = status.borrow().budget("day").unwrap().overshoot;
    assert!((100..=150).contains(&told), "{told}");
}
