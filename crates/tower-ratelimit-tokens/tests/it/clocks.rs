//! Wall clocks that jump, days of every length, time zones that skip the reset.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, BudgetId, Charge, Limiter, Observation, Settle, WallClock,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Goes by Tokio's clock, and can be set besides.
#[derive(Clone, Debug)]
struct Settable(AnchoredClock, Arc<Mutex<SignedDuration>>);

impl Settable {
    fn jump(&self, by: SignedDuration) {
        *self.1.lock().unwrap() += by;
    }
}

impl WallClock for Settable {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(*self.1.lock().unwrap()).unwrap()
    }
}

struct Days {
    limiter: Limiter,
    clock: Settable,
    day: BudgetId,
}

/// Ten units a day, from `start` on.
fn days(start: &str, budget: Budget) -> Days {
    let clock = Settable(AnchoredClock::new(start.parse().unwrap()), Arc::default());
    let mut limits = Limiter::builder();
    let day = limits.budget("day", budget);
    let limits = limits.max_wait(HOUR * 24 * 366);
    Days { limiter: limits.wall_clock(clock.clone()).build().unwrap(), clock, day }
}

fn ten_a_day() -> Budget {
    Budget::calendar_day(10, TimeZone::UTC, Time::midnight())
}

impl Days {
    fn spend(&self, n: u32) -> bool {
        let ticket = self.limiter.try_acquire(Charge::new().with(self.day, n), None);
        ticket.map(|ticket| ticket.answered(Instant::now(), Settle::Keep)).is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_by_a_day_gives_no_day_twice() {
    let days = days("2026-11-23T12:00:00Z", ten_a_day());
    assert!(days.spend(10));
    days.clock.jump(-DAY);
    for _ in 0..35 {
        advance(HOUR).await; // until 23:00 of the day that it was
        assert!(!days.spend(1));
    }
    advance(HOUR + MINUTE).await;
    assert!(days.spend(10));
    assert!(!days.spend(1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_a_year_ahead_and_is_corrected_gives_one_day_too_many_at_most() {
    let days = days("2026-11-23T12:00:00Z", ten_a_day());
    assert!(days.spend(10));
    days.clock.jump(DAY * 365);
    advance(MINUTE).await;
    assert!(days.spend(10), "the clock is believed within a minute");
    days.clock.jump(-DAY * 365);
    for _ in 0..11 {
        advance(HOUR).await;
        assert!(!days.spend(1), "a correction begins no day");
    }
    advance(HOUR).await;
    assert!(days.spend(10), "the next midnight does");
    assert!(!days.spend(1));
}

#[tokio::test(start_paused = true)]
async fn a_leap_over_the_reset_with_leases_outstanding_asks_for_new_ones() {
    let days = days("2026-11-23T12:00:00Z", ten_a_day().leased().low_water(1));
    let lease = days.limiter.lease(days.day).unwrap();
    lease.grant(5);
    let before = lease.day();
    let sent = {
        let mut ticket = days.limiter.try_acquire(Charge::new().with(days.day, 3), None).unwrap();
        ticket.sent(Instant::now());
        ticket
    };
    let mut waiting = task::spawn(days.limiter.acquire(Charge::new().with(days.day, 4), None));
    assert_pending!(waiting.poll());
    assert_eq!(lease.wanted().await, 9);
    days.clock.jump(DAY);
    advance(MINUTE).await;
    assert!(!lease.grant_for(before, 9), "that day is over");
    assert_eq!((lease.granted(), lease.used()), (0, 3), "what is under way may count today");
    let mut wanted = task::spawn(lease.wanted());
    assert_eq!(assert_ready!(wanted.poll()), 9);
    assert!(lease.grant_for(lease.day(), 9));
    assert!(waiting.is_woken());
    drop(assert_ready_ok!(waiting.poll()));
    sent.answered(Instant::now(), Settle::Keep);
    assert_eq!(lease.used(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_the_server_named_is_not_missed_when_nobody_calls() {
    let days = days("2026-11-23T20:00:00Z", ten_a_day());
    let budget = days.day;
    // The server's day ends at 8, not at midnight.
    days.limiter.observe(&Observation::Exhausted { budget, retry_after: Some(12 * HOUR) });
    advance(5 * HOUR).await;
    assert!(!days.spend(1), "a look after our midnight and before the server's");
    advance(9 * HOUR).await;
    assert!(days.spend(10), "the server's day began two hours ago");
}

#[tokio::test(start_paused = true)]
async fn every_local_day_has_its_budget_once_wherever_the_clocks_change() {
    for (zone, reset) in [
        ("Europe/Tallinn", "03:30:00"), // inside the gap of spring, twice in autumn
        ("America/Sao_Paulo", "00:00:00"), // midnight itself was skipped
        ("Australia/Lord_Howe", "02:15:00"), // half an hour
        ("Africa/Cairo", "00:00:00"),
        ("America/St_Johns", "00:01:00"),
    ] {
        let zone = TimeZone::get(zone).unwrap();
        let reset: Time = reset.parse().unwrap();
        let start = "2016-01-01T12:00:00Z";
        let days = days(start, Budget::calendar_day(10, zone.clone(), reset));
        let mut begun = 0;
        for _ in 0..366 * 24 {
            begun += u32::from(days.spend(10));
            let left = days.limiter.status().budgets[0].resets_in.unwrap();
            assert!(left > Duration::ZERO && left <= 25 * HOUR, "{zone:?}: {left:?}");
            advance(HOUR).await;
        }
        assert_eq!(begun, 367, "{zone:?}: a leap year, begun and ended within a day");
    }
}

#[test]
fn at_the_end_of_time_nothing_spins() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            for end in [Timestamp::MIN, Timestamp::MAX] {
                let mut limits = Limiter::builder();
                let day = limits.budget("day", ten_a_day());
                let limiter = limits.wall_clock(AnchoredClock::new(end)).build().unwrap();
                limiter.set_used(day, 10);
                let one = limiter.acquire(Charge::new().with(day, 1), None);
                tokio::time::timeout(10 * SECOND, one).await.ok();
                done.send(()).unwrap();
            }
        });
    });
    for _ in 0..2 {
        finished.recv_timeout(Duration::from_secs(10)).expect("it hangs");
    }
}
