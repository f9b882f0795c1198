//! Leases of a ledger, on a paused clock; the ledger is played by hand.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use jiff::{Timestamp, civil::Time, civil::date, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::Service;
use tower_ratelimit_tokens::{
    AnchoredClock, BoxError, Budget, BudgetId, Charge, LeasedUnits, Leases, Limiter, Observation,
    RefusedKind, Settle, Sizing, TokenLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const TRANSIT: Duration = Duration::from_millis(500);

fn burst() -> (Limiter, Leases, BudgetId) {
    let mut limits = Limiter::builder();
    let budget = Budget::rolling(10, 2 * SECOND).freed_by_answer(TRANSIT).leased();
    let burst = limits.budget("burst", budget);
    let limiter = limits.build().unwrap();
    (limiter.clone(), limiter.leases(), burst)
}

fn grant(leases: &Leases, burst: BudgetId, units: u64, from: Duration, until: Duration) {
    let now = Instant::now();
    leases.grant_slots(burst, units, now + from, now + until, 77);
}

/// `(dated, ends in, units)` of all that counts.
fn counting(leases: &Leases) -> Vec<(u64, Duration, u64)> {
    let now = Instant::now();
    let report = leases.report(now).unwrap();
    let LeasedUnits::Slots { counting, .. } = &report.budgets[0].units else { panic!("slots") };
    counting.iter().map(|c| (c.dated, c.ends - now, c.units)).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_without_a_slot_and_no_more_than_the_slots_hold() {
    let (limiter, leases, burst) = burst();
    let one = Charge::new().with(burst, 1);
    assert!(limiter.try_acquire(one, None).is_err());
    grant(&leases, burst, 3, Duration::ZERO, SECOND);
    let held: Vec<_> = (0..3).map(|_| limiter.try_acquire(one, None).unwrap()).collect();
    assert!(limiter.try_acquire(one, None).is_err());
    // Given back unsent, a slot can be taken again.
    drop(held);
    assert!(limiter.try_acquire(one.with(burst, 3), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_own_limit_holds_whatever_the_ledger_grants() {
    let (limiter, leases, burst) = burst();
    grant(&leases, burst, 50, Duration::ZERO, SECOND);
    for _ in 0..10 {
        limiter.try_acquire(Charge::new().with(burst, 1), None).unwrap().sent(Instant::now());
    }
    assert!(limiter.try_acquire(Charge::new().with(burst, 1), None).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_valid_from_its_beginning_until_its_end() {
    let (limiter, leases, burst) = burst();
    grant(&leases, burst, 1, 100 * MS, 300 * MS);
    let one = Charge::new().with(burst, 1);
    let mut call = task::spawn(limiter.acquire(one, None));
    assert_pending!(call.poll());
    advance(99 * MS).await;
    assert_pending!(call.poll());
    advance(2 * MS).await;
    drop(assert_ready_ok!(call.poll()));
    advance(199 * MS).await;
    let refused = limiter.try_acquire(one, None).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::NoLease);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_goes_when_a_grant_comes() {
    let (limiter, leases, burst) = burst();
    let mut wanted = task::spawn(leases.wanted());
    assert_pending!(wanted.poll());
    let mut call = task::spawn(limiter.acquire(Charge::new().with(burst, 2), None));
    assert_pending!(call.poll());
    assert!(wanted.is_woken());
    assert!(assert_ready!(wanted.poll()));
    let report = leases.report(Instant::now()).unwrap();
    assert_eq!((report.budgets[0].wanted, report.budgets[0].first), (2, 2));
    grant(&leases, burst, 1, Duration::ZERO, SECOND);
    assert_pending!(call.poll());
    grant(&leases, burst, 1, Duration::ZERO, SECOND);
    assert!(call.is_woken());
    drop(assert_ready_ok!(call.poll()));
}

#[tokio::test(start_paused = true)]
async fn a_report_states_all_that_counts_until_its_latest_end() {
    let (limiter, leases, burst) = burst();
    grant(&leases, burst, 4, Duration::ZERO, SECOND);
    grant(&leases, burst, 1, 200 * MS, 1_500 * MS);
    let one = Charge::new().with(burst, 1);
    let held = limiter.try_acquire(one, None).unwrap();
    let mut sent = limiter.try_acquire(one, None).unwrap();
    sent.sent(Instant::now());
    let over = 2 * SECOND + TRANSIT;
    let states = counting(&leases);
    let of = |dated: u64, ends: Duration| -> u64 {
        let found = states.iter().filter(|s| s.0 == dated && s.1 >= ends && s.1 < ends + 20 * MS);
        found.map(|s| s.2).sum()
    };
    assert_eq!(of(0, SECOND + over), 3, "two free and one held: as if sent at the end");
    assert_eq!(of(77, 1_500 * MS + over), 1, "dated, as the ledger called it");
    assert_eq!(of(0, over), 1, "under way: window and transit after the sending");
    sent.answered(Instant::now(), Settle::Keep);
    drop(held);
    advance(SECOND).await;
    // The free ones ran out unused: they count no more.
    let states = counting(&leases);
    assert_eq!(states.iter().map(|s| s.2).sum::<u64>(), 2);
    assert!(states.iter().any(|s| s.1 > SECOND && s.1 < SECOND + 20 * MS), "one window after");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_not_sent() {
    let (limiter, leases, burst) = burst();
    grant(&leases, burst, 1, Duration::ZERO, 100 * MS);
    let mut ticket = limiter.try_acquire(Charge::new().with(burst, 1), None).unwrap();
    assert_eq!(ticket.send_before(), Some(Instant::now() + 100 * MS));
    advance(100 * MS).await;
    let error = ticket.try_sent(Instant::now()).unwrap_err();
    assert!(error.to_string().contains("acquire anew"));
    assert!(!ticket.is_sent());
    drop(ticket);
    assert!(counting(&leases).is_empty());
    // What has no lease in it can be sent at any time.
    let free = limiter.try_acquire(Charge::new(), None).unwrap();
    assert_eq!(free.send_before(), None);
}

/// Ready when the test says so; each call is written down.
#[derive(Clone)]
struct Slow(Rc<RefCell<(bool, Vec<Instant>)>>);

impl Service<()> for Slow {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        cx.waker().wake_by_ref();
        if self.0.borrow().0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.borrow_mut().1.push(Instant::now());
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_ready_too_late_waits_for_another_lease() {
    let (limiter, leases, burst) = burst();
    let slow = Slow(Rc::new(RefCell::new((true, vec![]))));
    let layer = TokenLimitLayer::new(limiter.clone(), Charge::new().with(burst, 1));
    let mut service = tower::Layer::layer(&layer, slow.clone());
    let mut call = task::spawn(service.call(()));
    assert_pending!(call.poll());
    slow.0.borrow_mut().0 = false;
    grant(&leases, burst, 1, Duration::ZERO, 100 * MS);
    assert_pending!(call.poll());
    assert_eq!(leases.report(Instant::now()).unwrap().budgets[0].in_hand, 0, "admitted");
    advance(150 * MS).await;
    slow.0.borrow_mut().0 = true;
    assert_pending!(call.poll());
    assert!(slow.0.borrow().1.is_empty(), "not sent on a lease that ran out");
    grant(&leases, burst, 1, Duration::ZERO, 100 * MS);
    assert_ready_ok!(call.poll());
    assert_eq!(slow.0.borrow().1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_anew_keeps_its_deadline() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(10, SECOND).leased());
    let limiter = limits.max_wait(SECOND).build().unwrap();
    let leases = limiter.leases();
    let slow = Slow(Rc::new(RefCell::new((true, vec![]))));
    let layer = TokenLimitLayer::new(limiter.clone(), Charge::new().with(burst, 1));
    let mut service = tower::Layer::layer(&layer, slow.clone());
    let mut call = task::spawn(service.call(()));
    assert_pending!(call.poll());
    slow.0.borrow_mut().0 = false;
    grant(&leases, burst, 1, Duration::ZERO, 100 * MS);
    assert_pending!(call.poll());
    advance(600 * MS).await;
    slow.0.borrow_mut().0 = true;
    assert_pending!(call.poll());
    advance(401 * MS).await;
    assert!(assert_ready!(call.poll()).is_err(), "one second after it came");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_in_hand_follows_the_rate() {
    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(10_000, 2 * SECOND).leased());
    let limiter = limits.build().unwrap();
    let leases = limiter.leases();
    let now = Instant::now();
    leases.grant_slots(burst, 10_000, now, now + 60 * SECOND, 0);
    for _ in 0..300 {
        for _ in 0..10 {
            limiter.try_acquire(Charge::new().with(burst, 1), None).unwrap().sent(Instant::now());
        }
        advance(10 * MS).await;
        let _ = leases.report(Instant::now());
    }
    leases.give_up();
    let wanted = leases.report(Instant::now()).unwrap().budgets[0].wanted;
    assert!((150..=210).contains(&wanted), "200 ms of 1,000 per second: {wanted}");
    leases.size(burst, Sizing { most: 20, ..leases.sizing(burst).unwrap() });
    assert_eq!(leases.report(Instant::now()).unwrap().budgets[0].wanted, 20);
    leases.size(burst, Sizing { most: u64::MAX, ..leases.sizing(burst).unwrap() });
    advance(20 * SECOND).await;
    let report = leases.report(Instant::now()).unwrap();
    assert!(report.budgets[0].wanted <= 5, "it fades: {}", report.budgets[0].wanted);
}

#[tokio::test(start_paused = true)]
async fn others_spending_does_not_fill_the_own_window() {
    let (limiter, leases, burst) = burst();
    grant(&leases, burst, 5, Duration::ZERO, SECOND);
    let mut ticket = limiter.try_acquire(Charge::new().with(burst, 1), None).unwrap();
    ticket.sent(Instant::now());
    // The server counts nine: the others' eight are the ledger's matter.
    let level = Observation::Level { budget: burst, limit: None, remaining: 1, reset: None };
    ticket.observed_one(Instant::now(), level, Settle::Keep);
    assert!(limiter.try_acquire(Charge::new().with(burst, 4), None).is_ok());
    let report = leases.report(Instant::now()).unwrap();
    assert_eq!(report.budgets[0].level.map(|level| level.counted), Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_server_is_stated_as_a_full_window() {
    let (limiter, leases, burst) = burst();
    limiter.observe(&Observation::Burst { budget: burst, retry_after: Some(SECOND) });
    let states = counting(&leases);
    assert_eq!(states.iter().map(|s| s.2).sum::<u64>(), 10);
    assert!(states.iter().all(|s| s.1 >= SECOND && s.1 < SECOND + 20 * MS));
}

fn day(start: &str) -> (Limiter, Leases, BudgetId) {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased();
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new(start.parse::<Timestamp>().unwrap());
    let limiter = limits.wall_clock(clock).build().unwrap();
    (limiter.clone(), limiter.leases(), day)
}

fn counts(leases: &Leases) -> (u64, u64, u64) {
    match leases.report(Instant::now()).unwrap().budgets[0].units {
        LeasedUnits::Counts { spent, held, settled, .. } => (spent, held, settled),
        _ => panic!("a count"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_is_leased_by_counts_that_end_with_the_lease_and_with_the_day() {
    let (limiter, leases, day) = day("2026-11-23T23:59:50Z");
    let today = date(2026, 11, 23);
    let ten = Charge::new().with(day, 10);
    assert!(limiter.try_acquire(ten, None).is_err());
    assert!(!leases.grant_count(day, date(2026, 11, 22), 50, Instant::now() + SECOND));
    assert!(leases.grant_count(day, today, 50, Instant::now() + SECOND));
    let mut ticket = limiter.try_acquire(ten, None).unwrap();
    assert_eq!(counts(&leases), (10, 40, 0));
    ticket.sent(Instant::now());
    ticket.answered(Instant::now(), Settle::Actual(Charge::new().with(day, 4)));
    assert_eq!(counts(&leases), (4, 46, 4));
    advance(SECOND).await;
    assert!(limiter.try_acquire(ten, None).is_err(), "not renewed");
    leases.grant_count(day, today, 0, Instant::now() + 20 * SECOND);
    let mut under_way = limiter.try_acquire(ten, None).unwrap();
    under_way.sent(Instant::now());
    advance(10 * SECOND).await;
    assert_eq!(counts(&leases), (10, 0, 0), "what is under way may count in the new day");
    assert!(limiter.try_acquire(ten, None).is_err());
}

/// They had waited for a lease that nobody could give, until they had waited too long.
#[tokio::test(start_paused = true)]
async fn who_needs_more_than_others_have_left_of_the_day_hears_at_once_when_the_next_begins() {
    let (limiter, leases, day) = day("2026-11-23T12:00:00Z");
    let today = date(2026, 11, 23);
    let ten = Charge::new().with(day, 10);
    leases.grant_count(day, today, 16, Instant::now() + 60 * SECOND);
    let mut ticket = limiter.try_acquire(ten, None).unwrap();
    ticket.sent(Instant::now());
    let mut waiting = task::spawn(limiter.acquire(ten, None));
    assert_pending!(waiting.poll());
    leases.spent_elsewhere(day, date(2026, 11, 22), 1_000);
    leases.spent_elsewhere(day, today, 980);
    assert_pending!(waiting.poll(), "ten are left, though others hold them");
    leases.spent_elsewhere(day, today, 981);
    let refused = assert_ready!(waiting.poll()).unwrap_err();
    assert_eq!(refused.kind(), RefusedKind::BudgetExhausted);
    assert_eq!(refused.retry_after(), Some(12 * 3_600 * SECOND));
    // What is in hand can be spent all the same.
    assert!(limiter.try_acquire(Charge::new().with(day, 6), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_takes_the_day_over_from_a_treasurer() {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased();
    let day = limits.budget("day", day);
    let limiter = limits.build().unwrap();
    limiter.lease(day).unwrap().grant(500);
    assert!(limiter.try_acquire(Charge::new().with(day, 10), None).is_ok());
    let leases = limiter.leases();
    assert!(limiter.try_acquire(Charge::new().with(day, 10), None).is_err());
    let period = limiter.lease(day).unwrap().day();
    leases.grant_count(day, period, 100, Instant::now() + SECOND);
    assert!(limiter.try_acquire(Charge::new().with(day, 10), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_wants_hears_of_the_limiters_end() {
    let (limiter, leases, _) = burst();
    let mut wanted = task::spawn(leases.wanted());
    let mut closed = task::spawn(leases.closed());
    assert_pending!(wanted.poll());
    assert_pending!(closed.poll());
    drop(limiter);
    assert!(wanted.is_woken() && closed.is_woken());
    assert!(!assert_ready!(wanted.poll()));
    assert_ready!(closed.poll());
    assert!(leases.report(Instant::now()).is_none());
}

/// The driver of a ledger would ask for it again and again, as nothing is granted.
#[tokio::test(start_paused = true)]
async fn nothing_is_wanted_of_a_budget_that_is_switched_off_until_it_is_on_again() {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased();
    let day = limits.budget("day", day);
    let limiter = limits.build().unwrap();
    let leases = limiter.leases();
    assert!(assert_ready!(task::spawn(leases.wanted()).poll()));
    limiter.set_limit(day, 0);
    let mut wanted = task::spawn(leases.wanted());
    assert_pending!(wanted.poll());
    limiter.set_limit(day, 1_000);
    assert!(wanted.is_woken());
    assert!(assert_ready!(wanted.poll()));
}

#[tokio::test(start_paused = true)]
async fn calls_through_the_layer_ask_for_more_before_a_lease_is_gone() {
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight());
    let day = limits.budget("day", day.leased().low_water(10));
    let limiter = limits.build().unwrap();
    let lease = limiter.lease(day).unwrap();
    lease.grant(100);
    let layer = TokenLimitLayer::new(limiter, Charge::new().with(day, 1));
    let mut service = tower::Layer::layer(
        &layer,
        tower::service_fn(|()| std::future::ready(Ok::<_, BoxError>(()))),
    );
    let mut wanted = task::spawn(lease.wanted());
    assert_pending!(wanted.poll());
    let mut call = |times: u32| {
        for _ in 0..times {
            assert_ready_ok!(
                service.poll_ready(&mut Context::from_waker(std::task::Waker::noop()))
            );
            assert_ready_ok!(task::spawn(service.call(())).poll());
        }
    };
    call(89);
    assert!(!wanted.is_woken(), "eleven are left");
    call(2);
    assert!(wanted.is_woken());
    assert_eq!(assert_ready!(wanted.poll()), 91 + 2 * 10);
}
