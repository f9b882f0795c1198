//! A store that stands still for a while and then goes on, on a paused clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ratelimit_ledger::{Driver, Exchange, Ledger, LedgerError, MemoryLedger, Reply};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Observation, Settle};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_secs(2);
const LIMIT: u32 = 100;

/// As Redis under SIGSTOP: what was asked meanwhile is answered when it goes on, to
/// whoever still listens, and is granted all the same.
#[derive(Clone)]
struct Wire {
    ledger: MemoryLedger,
    still: watch::Sender<bool>,
}

impl Ledger for Wire {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let (wire, exchange) = (self.clone(), exchange.clone());
        tokio::spawn(async move {
            sleep(MS).await;
            let mut still = wire.still.subscribe();
            let _ = still.wait_for(|still| !still).await;
            let _ = answer.send(wire.ledger.exchange(&exchange).await);
        });
        answered.await.map_err(|gone| LedgerError::Unreachable(Box::new(gone)))?
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_after_a_store_goes_on_its_budgets_are_used_again() {
    let wire = Wire { ledger: MemoryLedger::new(), still: watch::Sender::new(false) };
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut limiters = Vec::new();
    for _ in 0..8 {
        let mut limits = Limiter::builder();
        let budget = Budget::rolling(LIMIT.into(), WINDOW).freed_by_answer(500 * MS).even();
        let burst = limits.budget("burst", budget.leased());
        let limiter = limits.max_wait(60 * SECOND).build().unwrap();
        tokio::spawn(Driver::new(&limiter, wire.clone()).run());
        for _ in 0..16 {
            let (limiter, times) = (limiter.clone(), Arc::clone(&times));
            tokio::spawn(async move {
                let charge = Charge::new().with(burst, 1);
                while let Ok(mut ticket) = limiter.acquire(charge, None).await {
                    if ticket.try_sent(Instant::now()).is_err() {
                        continue;
                    }
                    sleep(5 * MS).await;
                    let remaining = {
                        let mut times = times.lock().unwrap();
                        let now = Instant::now();
                        times.push(now);
                        let counted =
                            times.iter().rev().take_while(|&&at| at + WINDOW > now).count();
                        u64::from(LIMIT).saturating_sub(counted as u64)
                    };
                    let level =
                        Observation::Level { budget: burst, limit: None, remaining, reset: None };
                    ticket.observed_one(Instant::now(), level, Settle::Keep);
                }
            });
        }
        limiters.push(limiter);
    }
    let mut least = f64::MAX;
    for turn in 0..20_u32 {
        sleep(6 * SECOND).await;
        wire.still.send_replace(true);
        sleep(3 * SECOND + 37 * MS * turn).await;
        wire.still.send_replace(false);
        let on = Instant::now();
        sleep(5 * SECOND).await;
        let times = times.lock().unwrap();
        for late in (0..2_000).step_by(50) {
            let from = on + SECOND + late * MS;
            let sent = times.iter().filter(|&&at| at >= from && at < from + WINDOW).count();
            let used = sent as f64 / f64::from(LIMIT);
            least = least.min(used);
        }
    }
    let times = times.lock().unwrap();
    let over = times.windows(LIMIT as usize + 1).any(|w| w[LIMIT as usize] < w[0] + WINDOW);
    assert!(!over, "more than {LIMIT} in a window");
    assert!(least >= 0.85, "{least:.2} used");
}
