//! Limiters, drivers and a ledger in one process, on a paused clock.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use ratelimit_ledger::{
    Driver, Exchange, Ledger, LedgerError, MemoryLedger, Reply, WhenUnreachable,
};
use tokio::time::{Instant, sleep};
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, BudgetId, Charge, Limiter, Observation, RefusedKind, Settle,
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_secs(2);

/// A memory ledger on a wire that can be cut, with a latency.
#[derive(Clone, Default)]
struct Wire {
    ledger: MemoryLedger,
    cut: Arc<AtomicBool>,
    latency: Duration,
    asked: Arc<AtomicU64>,
    last: Arc<Mutex<Option<Exchange>>>,
}

impl Ledger for Wire {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap() = Some(exchange.clone());
        sleep(self.latency).await;
        if self.cut.load(Ordering::Relaxed) {
            return Err(LedgerError::Unreachable("the wire is cut".into()));
        }
        let reply = self.ledger.exchange(exchange).await;
        sleep(self.latency).await;
        reply
    }
}

impl Wire {
    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

fn burst(limit: u64) -> (Limiter, BudgetId) {
    let mut limits = Limiter::builder();
    let budget = Budget::rolling(limit, WINDOW).freed_by_answer(300 * MS).leased();
    let burst = limits.budget("burst", budget);
    (limits.max_wait(600 * SECOND).build().unwrap(), burst)
}

type Times = Arc<Mutex<Vec<Instant>>>;

/// Asks as often as it may; each call takes `rtt`, and is counted in the middle.
fn work(limiter: &Limiter, charge: Charge, workers: usize, rtt: Duration, times: &Times) {
    for _ in 0..workers {
        let (limiter, times) = (limiter.clone(), Arc::clone(times));
        tokio::spawn(async move {
            while let Ok(mut ticket) = limiter.acquire(charge, None).await {
                if ticket.try_sent(Instant::now()).is_err() {
                    continue;
                }
                sleep(rtt / 2).await;
                times.lock().unwrap().push(Instant::now());
                sleep(rtt / 2).await;
                ticket.answered(Instant::now(), Settle::Keep);
            }
        });
    }
}

fn most_in_a_window(times: &Times) -> usize {
    let times = times.lock().unwrap();
    let (mut first, mut most) = (0, 0);
    for (last, &at) in times.iter().enumerate() {
        while times[first] + WINDOW <= at {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn eight_limiters_share_one_window_and_use_it() {
    let wire = Wire { latency: 2 * MS, ..Wire::default() };
    let times = Times::default();
    let mut limiters = Vec::new();
    for _ in 0..8 {
        let (limiter, burst) = burst(100);
        tokio::spawn(Driver::new(&limiter, wire.clone()).run());
        work(&limiter, Charge::new().with(burst, 1), 16, 20 * MS, &times);
        limiters.push(limiter);
    }
    sleep(60 * SECOND).await;
    let used = times.lock().unwrap().len() as f64 / (30.0 * 100.0);
    assert!(most_in_a_window(&times) <= 100);
    assert!(used > 0.95, "{:.1} % used", 100.0 * used);
    let trips = wire.asked.load(Ordering::Relaxed) as f64 / times.lock().unwrap().len() as f64;
    assert!(trips < 1.5, "{trips:.2} round trips for each request");
}

#[tokio::test(start_paused = true)]
async fn heavy_calls_are_not_starved_by_the_light_ones_of_other_members() {
    let wire = Wire { latency: MS, ..Wire::default() };
    let (light, heavy) = (Times::default(), Times::default());
    let (a, budget) = burst(100);
    let (b, _) = burst(100);
    tokio::spawn(Driver::new(&a, wire.clone()).run());
    tokio::spawn(Driver::new(&b, wire.clone()).run());
    work(&a, Charge::new().with(budget, 1), 64, 20 * MS, &light);
    work(&b, Charge::new().with(budget, 40), 2, 20 * MS, &heavy);
    sleep(60 * SECOND).await;
    let heavy = heavy.lock().unwrap().len();
    assert!(heavy >= 15, "{heavy} heavy calls in a minute");
    assert!(light.lock().unwrap().len() > 500);
}

#[tokio::test(start_paused = true)]
async fn closed_means_that_nothing_goes_once_the_leases_have_run_out() {
    let wire = Wire { latency: MS, ..Wire::default() };
    let (limiter, burst) = burst(100);
    let driver = Driver::new(&limiter, wire.clone());
    let status = driver.status();
    tokio::spawn(driver.run());
    let times = Times::default();
    work(&limiter, Charge::new().with(burst, 1), 8, 20 * MS, &times);
    sleep(5 * SECOND).await;
    assert!(status.borrow().connected);
    wire.cut(true);
    sleep(2 * SECOND).await;
    let before = times.lock().unwrap().len();
    sleep(60 * SECOND).await;
    assert_eq!(times.lock().unwrap().len(), before);
    let told = status.borrow().clone();
    assert!(!told.connected && told.error.is_some() && told.overshoot() == 0);
    assert!((50..200).contains(&told.failures), "about one a second: {}", told.failures);
    wire.cut(false);
    sleep(4 * SECOND).await;
    assert!(times.lock().unwrap().len() > before + 100, "it goes on by itself");
    assert!(status.borrow().connected);
}

#[tokio::test(start_paused = true)]
async fn open_lets_so_many_through_in_a_window_and_reports_them() {
    let wire = Wire { latency: MS, ..Wire::default() };
    let (limiter, burst) = burst(100);
    let policy = WhenUnreachable::Open { at_most: 30 };
    let driver = Driver::new(&limiter, wire.clone()).when_unreachable(policy);
    let status = driver.status();
    tokio::spawn(driver.run());
    let times = Times::default();
    work(&limiter, Charge::new().with(burst, 1), 8, 20 * MS, &times);
    sleep(5 * SECOND).await;
    assert_eq!(status.borrow().overshoot(), 0);
    wire.cut(true);
    sleep(4 * SECOND).await;
    times.lock().unwrap().clear();
    let reported = status.borrow().overshoot();
    sleep(28 * SECOND).await;
    let most = most_in_a_window(&times);
    let (sent, reported) =
        (times.lock().unwrap().len() as u64, status.borrow().overshoot() - reported);
    assert!((20..=30).contains(&most), "{most} in a window");
    assert!(sent > 200 && sent <= reported + 30, "{sent} sent, {reported} reported");
}

#[tokio::test(start_paused = true)]
async fn a_settled_share_is_a_part_of_the_limit() {
    let wire = Wire { latency: MS, ..Wire::default() };
    wire.cut(true);
    let (limiter, burst) = burst(100);
    let policy = WhenUnreachable::Share { fraction: 0.25 };
    tokio::spawn(Driver::new(&limiter, wire.clone()).when_unreachable(policy).run());
    let times = Times::default();
    work(&limiter, Charge::new().with(burst, 1), 8, 20 * MS, &times);
    sleep(20 * SECOND).await;
    let most = most_in_a_window(&times);
    assert!((20..=25).contains(&most), "{most} in a window");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_hangs_does_not_stop_who_goes_alone() {
    let wire = Wire { latency: 10 * SECOND, ..Wire::default() };
    let (limiter, burst) = burst(100);
    let policy = WhenUnreachable::Open { at_most: 50 };
    tokio::spawn(Driver::new(&limiter, wire).when_unreachable(policy).run());
    let times = Times::default();
    sleep(SECOND).await;
    work(&limiter, Charge::new().with(burst, 1), 1, 200 * MS, &times);
    sleep(10 * SECOND).await;
    let gaps: Vec<_> = times.lock().unwrap().windows(2).map(|two| two[1] - two[0]).collect();
    let longest = gaps.iter().max().unwrap();
    assert!(*longest < 300 * MS, "one waited for {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_was_lost_is_waited_for_and_never_over() {
    let wire = Wire { latency: 2 * MS, ..Wire::default() };
    let times = Times::default();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let (limiter, burst) = burst(60);
        let driver = Driver::new(&limiter, wire.clone());
        statuses.push(driver.status());
        tokio::spawn(driver.run());
        work(&limiter, Charge::new().with(burst, 1), 16, 20 * MS, &times);
    }
    for _ in 0..5 {
        sleep(7 * SECOND).await;
        wire.ledger.forget();
    }
    sleep(7 * SECOND).await;
    assert!(most_in_a_window(&times) <= 60);
    assert!(statuses.iter().all(|status| status.borrow().memory_lost >= 4));
    assert!(times.lock().unwrap().len() > 500);
}

#[tokio::test(start_paused = true)]
async fn a_day_is_shared_to_its_last_token_and_no_further() {
    let wire = Wire { latency: 2 * MS, ..Wire::default() };
    let times = Times::default();
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut limits = Limiter::builder();
        let day = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased();
        let day = limits.budget("day", day);
        let clock = AnchoredClock::new("2026-11-25T10:00:00Z".parse::<Timestamp>().unwrap());
        let limiter = limits.wall_clock(clock).build().unwrap();
        tokio::spawn(Driver::new(&limiter, wire.clone()).run());
        work(&limiter, Charge::new().with(day, 1), 4, 20 * MS, &times);
        kept.push(limiter);
    }
    sleep(60 * SECOND).await;
    let spent = times.lock().unwrap().len();
    assert!((990..=1_000).contains(&spent), "{spent} of 1,000");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_day_of_which_too_little_is_left_for_his_calls() {
    let wire = Wire { latency: 2 * MS, ..Wire::default() };
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut limits = Limiter::builder();
        let day = Budget::calendar_day(995, TimeZone::UTC, Time::midnight()).leased();
        let day = limits.budget("day", day);
        let clock = AnchoredClock::new("2026-11-25T10:00:00Z".parse::<Timestamp>().unwrap());
        let limiter = limits.wall_clock(clock).max_wait(600 * SECOND).build().unwrap();
        tokio::spawn(Driver::new(&limiter, wire.clone()).run());
        ends.push(tokio::spawn(async move {
            let mut spent = 0;
            loop {
                match limiter.acquire(Charge::new().with(day, 10), None).await {
                    Ok(mut ticket) => ticket.sent(Instant::now()),
                    Err(refused) => return (spent, refused.kind(), Instant::now()),
                }
                spent += 10;
                sleep(20 * MS).await;
            }
        }));
    }
    let began = Instant::now();
    let mut all = 0;
    for end in ends {
        let (spent, why, at) = end.await.unwrap();
        assert_eq!(why, RefusedKind::BudgetExhausted);
        assert!(at - began < 30 * SECOND, "{:?}", at - began);
        all += spent;
    }
    assert_eq!(all, 990, "of 995, in calls of 10");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_counts_of_others_is_left_to_them() {
    let wire = Wire { latency: 2 * MS, ..Wire::default() };
    let mut limits = Limiter::builder();
    let day =
        limits.budget("day", Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased());
    let limiter = limits.build().unwrap();
    tokio::spawn(Driver::new(&limiter, wire.clone()).run());
    let mut spent = 0;
    loop {
        let deadline = Instant::now() + SECOND;
        let Ok(mut ticket) = limiter.acquire(Charge::new().with(day, 10), Some(deadline)).await
        else {
            break;
        };
        ticket.sent(Instant::now());
        sleep(10 * MS).await;
        spent += 10;
        // Somebody else has spent 600.
        let remaining = 1_000_u64.saturating_sub(600 + spent);
        let level = Observation::Level { budget: day, limit: None, remaining, reset: None };
        ticket.observed_one(Instant::now(), level, Settle::Keep);
    }
    assert_eq!(spent, 400);
    let last = wire.last.lock().unwrap().clone().unwrap();
    let used = wire.ledger.exchange(&last).await;
    assert!(matches!(used, Err(LedgerError::Stale)), "told by the driver itself");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_stopped_gives_back_what_is_in_hand() {
    let wire = Wire::default();
    let (limiter, burst) = burst(100);
    let driver = Driver::new(&limiter, wire.clone());
    let stopper = driver.stopper();
    let driver = tokio::spawn(driver.run());
    for _ in 0..20 {
        drop(limiter.acquire(Charge::new().with(burst, 5), None).await.unwrap());
    }
    stopper.stop();
    driver.await.unwrap();
    let last = wire.last.lock().unwrap().clone().unwrap();
    assert_eq!((last.asks[0].held, last.asks[0].want), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_driver_ends_with_the_last_handle_of_its_limiter() {
    let (limiter, _) = burst(100);
    let clone = limiter.clone();
    let driver = tokio::spawn(Driver::new(&limiter, MemoryLedger::new()).run());
    drop(limiter);
    sleep(SECOND).await;
    assert!(!driver.is_finished());
    drop(clone);
    sleep(MS).await;
    assert!(driver.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_idle_driver_leaves_the_store_alone() {
    let wire = Wire::default();
    let (limiter, burst) = burst(100);
    tokio::spawn(Driver::new(&limiter, wire.clone()).run());
    for _ in 0..50 {
        let ticket = limiter.acquire(Charge::new().with(burst, 1), None).await.unwrap();
        ticket.answered(Instant::now(), Settle::Keep);
        sleep(10 * MS).await;
    }
    sleep(20 * SECOND).await;
    let before = wire.asked.load(Ordering::Relaxed);
    sleep(600 * SECOND).await;
    assert!(wire.asked.load(Ordering::Relaxed) - before <= 11);
}

#[tokio::test(start_paused = true)]
async fn who_would_rather_not_start_without_a_ledger_hears_why() {
    let wire = Wire::default();
    wire.cut(true);
    let (limiter, _) = burst(100);
    let mut driver = Driver::new(&limiter, wire.clone());
    let error = driver.connect().await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"));
    wire.cut(false);
    driver.connect().await.unwrap();
    assert!(driver.status().borrow().connected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_wire_makes_leases_shorter_and_never_longer() {
    let wire = Wire { latency: 100 * MS, ..Wire::default() };
    let (limiter, burst) = burst(100);
    tokio::spawn(Driver::new(&limiter, wire).slot_life(500 * MS).run());
    sleep(SECOND).await;
    let asked = Instant::now();
    let ticket = limiter.acquire(Charge::new().with(burst, 1), None).await.unwrap();
    // The ledger decided at some moment between the asking and the answer.
    assert!(asked.elapsed() >= 200 * MS);
    let until = ticket.send_before().unwrap() - asked;
    assert!(until > 450 * MS && until <= 510 * MS, "{until:?}");
}
