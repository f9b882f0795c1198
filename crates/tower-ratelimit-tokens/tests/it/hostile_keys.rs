//! Keys that come and go while calls wait for them, hold them or give back.

use std::time::Duration;

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{
    assert_pending, assert_ready_err, assert_ready_ok,
    task::{self, Spawn},
};
use tower_ratelimit_tokens::{
    Acquire, AnchoredClock, Budget, BudgetId, Charge, Key, Limiter, Observation, RefusedKind,
    ScopeId, Settle, Ticket,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn ask(limiter: &Limiter, charge: Charge) -> Spawn<Acquire> {
    let mut task = task::spawn(limiter.acquire(charge, None));
    assert_pending!(task.poll());
    task
}

/// One keyed budget, for one key at a time, that forgets at once.
fn forgetful(own: Budget) -> (Limiter, ScopeId, BudgetId, BudgetId) {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", own.per(user));
    let all = limits.budget("all", Budget::concurrency(1));
    let clock = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
    let limits = limits.max_keys(1).idle_after(Duration::ZERO).wall_clock(clock);
    (limits.build().unwrap(), user, own, all)
}

#[tokio::test(start_paused = true)]
async fn a_key_for_which_somebody_waits_elsewhere_is_not_forgotten() {
    let (limiter, user, own, all) = forgetful(Budget::concurrency(3));
    let key = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let held = limiter.try_acquire(Charge::new().with(all, 1), None).unwrap();
    // Its own budget is untouched; it waits for the one that all share.
    let mut waits = ask(&limiter, key(1).with(all, 1));
    assert!(limiter.try_acquire(key(2), None).is_err(), "there is no room for another key");
    drop(held);
    let ticket = assert_ready_ok!(waits.poll());
    assert_eq!(limiter.key_status(own, &key(1)).unwrap().used, 1);
    assert_eq!(limiter.key_status(own, &key(2)), None);
    drop(ticket);
    // Nobody waits any more, so it can go.
    let other = limiter.try_acquire(key(2), None).unwrap();
    assert_eq!(limiter.key_status(own, &key(2)).unwrap().used, 1);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_two_keyed_budgets_does_not_forget_its_own_first_key_for_its_second() {
    for keys in 1..4 {
        let mut limits = Limiter::builder();
        let (user, zone) = (limits.scope("user"), limits.scope("zone"));
        let own = limits.budget("own", Budget::concurrency(3).per(user));
        let near = limits.budget("near", Budget::concurrency(5).per(zone));
        let limiter = limits.max_keys(keys).idle_after(Duration::ZERO).build().unwrap();
        for n in 0..3_u64 {
            let charge = Charge::new().with(own, 2).with(near, 3);
            let charge = charge.key(user, Key::from(n)).key(zone, Key::from(n));
            let Ok(ticket) = limiter.try_acquire(charge, None) else {
                assert_eq!(keys, 1, "there is room for both");
                continue;
            };
            assert_eq!(limiter.key_status(own, &charge).unwrap().used, 2);
            assert_eq!(limiter.key_status(near, &charge).unwrap().used, 3);
            drop(ticket);
        }
    }
}

/// A ticket outlives what its key knew; what it gives back was given back by time.
#[tokio::test(start_paused = true)]
async fn a_refund_to_a_key_that_was_forgotten_in_between_opens_nothing() {
    for own in [
        Budget::bucket(4, 1, SECOND),
        Budget::rolling(4, SECOND),
        Budget::fixed(4, SECOND),
        Budget::calendar_day(4, TimeZone::UTC, Time::midnight()),
    ] {
        let (limiter, user, id, _) = forgetful(own.clone());
        let key = |n: u64, of| Charge::new().with(id, of).key(user, Key::from(n));
        let mut old: Ticket = limiter.try_acquire(key(1, 4), None).unwrap();
        old.sent(Instant::now());
        advance(24 * HOUR).await;
        // The key is at rest and is forgotten for another, which is forgotten too.
        drop(limiter.try_acquire(key(2, 1), None));
        advance(SECOND).await;
        let Ok(spent) = limiter.try_acquire(key(1, 4), None) else {
            continue; // one that is under way is not forgotten
        };
        let mut spent = spent;
        spent.sent(Instant::now());
        old.answered(Instant::now(), Settle::Refund);
        assert_eq!(limiter.key_status(id, &key(1, 1)).unwrap().used, 4, "{own:?}");
        assert!(limiter.try_acquire(key(1, 1), None).is_err(), "{own:?}");
        drop(spent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_outlives_its_day_is_paid_on_the_next() {
    let (limiter, user, own, _) =
        forgetful(Budget::calendar_day(4, TimeZone::UTC, Time::midnight()));
    let key = |n: u64, of| Charge::new().with(own, of).key(user, Key::from(n));
    let mut held = limiter.try_acquire(key(1, 3), None).unwrap();
    advance(24 * HOUR).await;
    // Another key comes, and there is room for one only.
    let _ = limiter.try_acquire(key(2, 1), None);
    held.sent(Instant::now());
    assert!(limiter.try_acquire(key(1, 2), None).is_err(), "three of four are spent");
}

fn days() -> (Limiter, impl Fn(u64) -> Charge, BudgetId) {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let day = Budget::calendar_day(2, TimeZone::UTC, Time::midnight()).per(user);
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).max_wait(48 * HOUR).build().unwrap();
    (limiter, move |n: u64| Charge::new().with(day, 1).key(user, Key::from(n)), day)
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_the_server_names_for_a_key_is_that_keys_reset() {
    // At noon; the calendar's day ends in twelve hours.
    for named in [1, 18] {
        let (limiter, call, day) = days();
        let mut ticket = limiter.try_acquire(call(1), None).unwrap();
        ticket.sent(Instant::now());
        let gone = Observation::Exhausted { budget: day, retry_after: Some(named * HOUR) };
        ticket.observed_one(Instant::now(), gone, Settle::Keep);
        assert!(limiter.try_acquire(call(2), None).is_ok(), "another key's is untouched");
        let start = Instant::now();
        limiter.acquire(call(1), None).await.unwrap().answered(Instant::now(), Settle::Keep);
        let waited = start.elapsed();
        let expected = named * HOUR..named * HOUR + 3 * SECOND;
        assert!(expected.contains(&waited), "named {named} h, waited {waited:?}");
        assert_eq!(limiter.key_status(day, &call(1)).unwrap().used, 1, "a new day");
    }
}

/// A wall clock that can be set.
#[derive(Clone, Debug)]
struct Settable(std::sync::Arc<std::sync::Mutex<(AnchoredClock, Duration)>>);

impl tower_ratelimit_tokens::WallClock for Settable {
    fn now(&self) -> Timestamp {
        let (clock, ahead) = *self.0.lock().unwrap();
        tower_ratelimit_tokens::WallClock::now(&clock) + ahead
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_that_begins_sooner_than_foreseen_lets_the_keys_go_that_wait_for_it() {
    let start = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
    let clock = Settable(std::sync::Arc::new(std::sync::Mutex::new((start, Duration::ZERO))));
    for keyed in [false, true] {
        clock.0.lock().unwrap().1 = Duration::ZERO;
        let mut limits = Limiter::builder();
        let user = limits.scope("user");
        let day = Budget::calendar_day(2, TimeZone::UTC, Time::midnight());
        let day = limits.budget("day", if keyed { day.per(user) } else { day });
        let other = limits.budget("other", Budget::concurrency(1));
        let limits = limits.wall_clock(clock.clone()).max_wait(48 * HOUR);
        let limits = limits.after_gate(Duration::ZERO, Duration::ZERO);
        let limiter = limits.build().unwrap();
        let two = Charge::new().with(day, 2).key(user, Key::from(7));
        limiter.try_acquire(two, None).unwrap().answered(Instant::now(), Settle::Keep);
        let mut waits = ask(&limiter, two);
        clock.0.lock().unwrap().1 = 13 * HOUR;
        advance(61 * SECOND).await;
        drop(limiter.try_acquire(Charge::new().with(other, 1), None).unwrap());
        assert!(waits.is_woken(), "keyed: {keyed}");
        drop(assert_ready_ok!(waits.poll()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_gives_no_key_a_new_day() {
    for hours in [1, 13, 37, 61] {
        let start = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
        let clock = Settable(std::sync::Arc::new(std::sync::Mutex::new((start, 62 * HOUR))));
        let mut limits = Limiter::builder();
        let user = limits.scope("user");
        let day = Budget::calendar_day(2, TimeZone::UTC, Time::midnight()).per(user);
        let day = limits.budget("day", day);
        let limiter = limits.wall_clock(clock.clone()).build().unwrap();
        let two = Charge::new().with(day, 2).key(user, Key::from(7));
        limiter.try_acquire(two, None).unwrap().answered(Instant::now(), Settle::Keep);
        clock.0.lock().unwrap().1 = (62 - hours) * HOUR;
        for _ in 0..5 {
            advance(61 * SECOND).await;
            assert!(limiter.try_acquire(two, None).is_err(), "{hours} h back");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_server_sends_away_stays_away_for_that_long() {
    for own in [
        Budget::rolling(2, SECOND),
        Budget::bucket(2, 2, SECOND),
        Budget::fixed(2, SECOND),
        Budget::concurrency(2),
    ] {
        let mut limits = Limiter::builder();
        let user = limits.scope("user");
        let id = limits.budget("own", own.clone().per(user));
        let limiter = limits.idle_after(Duration::ZERO).build().unwrap();
        let call = |n: u64| Charge::new().with(id, 1).key(user, Key::from(n));
        let mut ticket = limiter.try_acquire(call(1), None).unwrap();
        ticket.sent(Instant::now());
        let gone = Observation::Burst { budget: id, retry_after: Some(30 * SECOND) };
        ticket.observed_one(Instant::now(), gone, Settle::Keep);
        let start = Instant::now();
        advance(10 * SECOND).await;
        drop(limiter.try_acquire(call(2), None).expect("the gate is not closed for others"));
        assert!(limiter.try_acquire(call(1), None).is_err(), "{own:?}");
        drop(limiter.acquire(call(1), None).await.unwrap());
        let waited = start.elapsed();
        assert!((30 * SECOND..31 * SECOND).contains(&waited), "{own:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_the_server_says_is_gone_stays_closed_until_the_time_that_it_names() {
    for budget in [Budget::rolling(2, SECOND), Budget::bucket(2, 2, SECOND)] {
        let mut limits = Limiter::builder();
        let id = limits.budget("all", budget.clone());
        let other = limits.budget("other", Budget::concurrency(1));
        let limiter = limits.build().unwrap();
        let start = Instant::now();
        limiter.observe(&Observation::Exhausted { budget: id, retry_after: Some(30 * SECOND) });
        advance(10 * SECOND).await;
        drop(limiter.try_acquire(Charge::new().with(other, 1), None).expect("not the gate"));
        drop(limiter.acquire(Charge::new().with(id, 1), None).await.unwrap());
        let waited = start.elapsed();
        assert!((30 * SECOND..31 * SECOND).contains(&waited), "{budget:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_that_waits_for_its_window_slows_nobody_else() {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", Budget::fixed(10, SECOND).per(user));
    let limiter = limits.build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    for _ in 0..10 {
        limiter.try_acquire(call(1), None).unwrap().answered(Instant::now(), Settle::Keep);
    }
    let mut waits = ask(&limiter, call(1));
    advance(SECOND + MS).await;
    assert_ready_ok!(waits.poll()).answered(Instant::now(), Settle::Keep);
    for n in 100..200 {
        let ticket = limiter.try_acquire(call(n), None).expect("its own window is empty");
        ticket.answered(Instant::now(), Settle::Keep);
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_can_fill_its_share_of_the_queue_and_no_more_whatever_it_asks_for() {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", Budget::concurrency(1).per(user));
    let all = limits.budget("all", Budget::concurrency(1));
    let limiter = limits.max_waiting_per_key(3).build().unwrap();
    let key = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let held = limiter.try_acquire(Charge::new().with(all, 1), None).unwrap();
    let _own = limiter.try_acquire(key(1), None).unwrap();
    let mut waiting = vec![];
    // Light and heavy, urgent and not: they do not all stand in one line.
    for charge in [key(1), key(1).with(all, 1), key(1)] {
        waiting.push(ask(&limiter, charge));
    }
    for charge in [key(1), key(1).with(all, 1)] {
        let refused = assert_ready_err!(task::spawn(limiter.acquire(charge, None)).poll());
        assert_eq!(refused.kind(), RefusedKind::QueueFull);
    }
    // Others, and calls of no key, are not counted with it.
    waiting.push(ask(&limiter, key(2).with(all, 1)));
    for _ in 0..10 {
        waiting.push(ask(&limiter, Charge::new().with(all, 1)));
    }
    // Whoever leaves makes room for another.
    drop(waiting.remove(0));
    waiting.push(ask(&limiter, key(1)));
    drop((waiting, held));
    assert_eq!(limiter.status().waiting, 0);
}
