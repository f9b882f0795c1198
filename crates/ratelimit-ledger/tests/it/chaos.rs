//! Real limiters and drivers over a wire that delays, loses and hangs, with members
//! that vanish, on a paused clock: no window ever holds too much.
//!
//! `LEDGER_CASES=50 cargo test -p ratelimit-ledger --test it chaos` runs more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use ratelimit_ledger::{Driver, Exchange, Ledger, LedgerError, MemoryLedger, Reply};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_ratelimit_tokens::{Budget, BudgetId, Charge, Limiter, Settle};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(2);
const TRANSIT: Duration = Duration::from_millis(300);
const LIMIT: u64 = 50;

type Random = Arc<Mutex<Rng>>;

fn up_to(random: &Random, most: Duration) -> Duration {
    most.mul_f64(random.lock().unwrap().f64())
}

fn chance(random: &Random, of: f64) -> bool {
    random.lock().unwrap().f64() < of
}

#[derive(Clone)]
struct Wire {
    ledger: MemoryLedger,
    random: Random,
}

impl Ledger for Wire {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let lost = || LedgerError::Unreachable("lost".into());
        sleep(up_to(&self.random, 50 * MS)).await;
        if chance(&self.random, 0.05) {
            return Err(lost());
        }
        if chance(&self.random, 0.05) {
            // It goes on its way, and comes when nobody waits for it any more.
            let (late, exchange, after) = (self.ledger.clone(), exchange.clone(), 3 * SECOND);
            let after = up_to(&self.random, after);
            tokio::spawn(async move {
                sleep(after).await;
                let _ = late.exchange(&exchange).await;
            });
            sleep(SECOND).await;
            return Err(lost());
        }
        let reply = self.ledger.exchange(exchange).await;
        sleep(up_to(&self.random, 50 * MS)).await;
        if chance(&self.random, 0.05) { Err(lost()) } else { reply }
    }
}

#[derive(Clone, Copy)]
struct Way {
    burst: BudgetId,
    cost: u32,
}

async fn worker(limiter: Limiter, way: Way, random: Random, counted: Arc<Mutex<Vec<Instant>>>) {
    loop {
        let charge = Charge::new().with(way.burst, way.cost);
        let Ok(mut ticket) = limiter.acquire(charge, None).await else { continue };
        if chance(&random, 0.1) {
            // It is slow to send, or does not send at all.
            sleep(up_to(&random, SECOND)).await;
        }
        if chance(&random, 0.1) || ticket.try_sent(Instant::now()).is_err() {
            continue;
        }
        let arrives = Instant::now() + up_to(&random, TRANSIT);
        counted.lock().unwrap().extend((0..way.cost).map(|_| arrives));
        sleep(arrives - Instant::now() + up_to(&random, 50 * MS)).await;
        match random.lock().unwrap().u8(0..10) {
            0 => drop(ticket),
            _ => ticket.answered(Instant::now(), Settle::Keep),
        }
        let pause = up_to(&random, 300 * MS);
        sleep(pause).await;
    }
}

fn member(wire: &Wire, even: bool, cost: u32, counted: &Arc<Mutex<Vec<Instant>>>) -> JoinSet<()> {
    let mut limits = Limiter::builder();
    let budget = Budget::rolling(LIMIT, WINDOW).freed_by_answer(TRANSIT).leased();
    let burst = limits.budget("burst", if even { budget.even() } else { budget });
    let limiter = limits.build().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Driver::new(&limiter, wire.clone()).run());
    for _ in 0..10 {
        let (limiter, random) = (limiter.clone(), Arc::clone(&wire.random));
        tasks.spawn(worker(limiter, Way { burst, cost }, random, Arc::clone(counted)));
    }
    tasks
}

fn most_in_a_window(counted: &Mutex<Vec<Instant>>) -> usize {
    let mut times = counted.lock().unwrap().clone();
    times.sort_unstable();
    let (mut window, mut most) = (VecDeque::new(), 0);
    for at in times {
        window.push_back(at);
        while window.front().is_some_and(|&first| first + WINDOW <= at) {
            window.pop_front();
        }
        most = most.max(window.len());
    }
    most
}

#[tokio::test(start_paused = true)]
async fn no_window_holds_too_much_over_a_wire_that_loses_and_delays() {
    let cases: u64 =
        std::env::var("LEDGER_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(8);
    for seed in 0..cases {
        let random = Arc::new(Mutex::new(Rng::with_seed(seed)));
        let wire = Wire { ledger: MemoryLedger::new(), random: Arc::clone(&random) };
        let counted = Arc::new(Mutex::new(Vec::new()));
        let even = seed % 2 == 1;
        let cost = |who: u32| 1 + who % 3 * 2;
        let mut members: Vec<_> =
            (0..5).map(|who| member(&wire, even, cost(who), &counted)).collect();
        for round in 0..10 {
            sleep(4 * SECOND).await;
            // One vanishes, with its driver, its queue and what is under way.
            let who = random.lock().unwrap().usize(0..members.len());
            members[who] = member(&wire, even, cost(round), &counted);
            if seed % 4 == 3 && round == 5 {
                wire.ledger.forget();
            }
        }
        drop(members);
        let (most, sent) = (most_in_a_window(&counted), counted.lock().unwrap().len());
        assert!(most <= LIMIT as usize, "seed {seed}: {most} in one window");
        assert!(sent > 400, "seed {seed}: only {sent} units were sent");
    }
}
