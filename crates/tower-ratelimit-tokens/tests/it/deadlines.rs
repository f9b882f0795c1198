//! A wait that cannot end in time is refused at once; one that can is not.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_ok, task, task::Spawn};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, Limiter, LimiterBuilder, Pace, Priority, RefusedKind,
    Settle, Terms,
};

const SECOND: Duration = Duration::from_secs(1);

fn ask(limiter: &Limiter, charge: Charge, terms: impl Into<Terms>) -> Spawn<Acquire> {
    let mut task = task::spawn(limiter.acquire(charge, terms));
    assert_pending!(task.poll());
    task
}

fn within(priority: Priority, seconds: u32) -> Terms {
    Terms::from(priority).deadline(Some(Instant::now() + seconds * SECOND))
}

/// Why such a call is refused at once, and in how many seconds it could go.
fn refused(limiter: &Limiter, charge: Charge, terms: Terms) -> Option<(RefusedKind, u64)> {
    match task::spawn(limiter.acquire(charge, terms)).poll() {
        std::task::Poll::Ready(Err(refused)) => {
            let retry_at = refused.retry_at().expect("says when");
            Some((refused.kind(), (retry_at - Instant::now()).as_secs_f64().round() as u64))
        }
        std::task::Poll::Ready(Ok(_)) => panic!("let through"),
        std::task::Poll::Pending => None,
    }
}

/// One a second, and the first has been spent.
fn one_a_second(limits: &mut LimiterBuilder) -> BudgetId {
    limits.budget("slow", Budget::bucket(1, 1, SECOND))
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_held_against_those_who_really_stand_before() {
    let mut limits = Limiter::builder();
    let slow = one_a_second(&mut limits);
    let limiter = limits.build().unwrap();
    limiter.set_used(slow, 1);
    let one = Charge::new().with(slow, 1);
    let _normal: Vec<_> = (0..5).map(|_| ask(&limiter, one, None)).collect();
    let _low = ask(&limiter, one, Priority::LOW);
    let late = refused(&limiter, one, within(Priority::NORMAL, 3));
    assert_eq!(late, Some((RefusedKind::DeadlineTooNear, 6)));
    assert_eq!(refused(&limiter, one, within(Priority::NORMAL, 7)), None);
    assert_eq!(refused(&limiter, one, within(Priority::HIGH, 2)), None, "it goes first");
}

#[tokio::test(start_paused = true)]
async fn those_who_have_grown_old_count_though_they_are_less_urgent() {
    let mut limits = Limiter::builder().level_every(SECOND);
    let slow = limits.budget("slow", Budget::bucket(1, 1, 10 * SECOND));
    let limiter = limits.build().unwrap();
    limiter.set_used(slow, 1);
    let one = Charge::new().with(slow, 1);
    let _old: Vec<_> = (0..3).map(|_| ask(&limiter, one, Priority::LOW)).collect();
    let soon = within(Priority::NORMAL, 15);
    assert_eq!(refused(&limiter, one, soon), None, "as yet they would let it pass");
    advance(4 * SECOND).await;
    let late = refused(&limiter, one, within(Priority::NORMAL, 15));
    assert_eq!(late, Some((RefusedKind::DeadlineTooNear, 36)));
}

#[tokio::test(start_paused = true)]
async fn those_who_may_not_touch_the_reserve_do_not_count_for_one_who_may() {
    let mut limits = Limiter::builder().level_every(SECOND / 10);
    let budget = Budget::bucket(10, 1, SECOND).keep(0.2, Priority::HIGH);
    let slow = limits.budget("slow", budget);
    let limiter = limits.build().unwrap();
    limiter.set_used(slow, 10);
    let came = Instant::now();
    let one = Charge::new().with(slow, 1);
    let _barred: Vec<_> = (0..5).map(|_| ask(&limiter, one, None)).collect();
    // They have grown older than it is urgent, and it stands before them all the same.
    advance(SECOND / 2).await;
    assert_eq!(refused(&limiter, one, within(Priority::HIGH, 2)), None);
    let _urgent: Vec<_> = (0..5).map(|_| ask(&limiter, one, Priority::HIGH)).collect();
    // So do these before the barred ones, however long those have waited.
    let retry = within(Priority::NORMAL, 9).arrived(Some(came));
    assert_eq!(refused(&limiter, one, retry), Some((RefusedKind::DeadlineTooNear, 13)));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_came_later_and_left_hides_nobody() {
    let mut limits = Limiter::builder();
    let slow = limits.budget("slow", Budget::bucket(1, 1, 10 * SECOND));
    let limiter = limits.build().unwrap();
    limiter.set_used(slow, 1);
    let came = Instant::now();
    advance(SECOND).await;
    let one = Charge::new().with(slow, 1);
    drop(ask(&limiter, one, None));
    let retry = Terms::from(Priority::NORMAL).arrived(Some(came));
    let _waits = ask(&limiter, one, retry);
    let late = refused(&limiter, one, within(Priority::NORMAL, 15).arrived(Some(came)));
    assert_eq!(late, Some((RefusedKind::DeadlineTooNear, 19)));
}

#[tokio::test(start_paused = true)]
async fn those_who_will_wait_elsewhere_soon_are_not_held_against_a_deadline() {
    let mut limits = Limiter::builder();
    let slow = limits.budget("slow", Budget::bucket(3, 1, SECOND));
    let places = limits.budget("places", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    limiter.set_used(slow, 3);
    let both = Charge::new().with(slow, 1).with(places, 1);
    let gone = ask(&limiter, both, None);
    let mut first = ask(&limiter, both, None);
    let _others: Vec<_> = (0..5).map(|_| ask(&limiter, both, None)).collect();
    drop(gone);
    let only = Charge::new().with(slow, 1);
    let mut newcomer = ask(&limiter, only, within(Priority::NORMAL, 4));
    advance(SECOND).await;
    // The only place is taken now, for as long as the first pleases.
    let _held = assert_ready_ok!(first.poll());
    assert_pending!(newcomer.poll());
    // One is kept for the next of them.
    advance(2 * SECOND).await;
    drop(assert_ready_ok!(newcomer.poll()));
    // One of their own stands behind all of them.
    let late = refused(&limiter, both, within(Priority::NORMAL, 3));
    assert_eq!(late.map(|(kind, _)| kind), Some(RefusedKind::DeadlineTooNear));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spread_over_its_period_slows_nobody_who_does_not_need_it() {
    let mut limits = Limiter::builder().after_gate(SECOND, 60 * SECOND);
    let spread = limits.budget("spread", Budget::fixed(100, 100 * SECOND).pace(Pace::Even));
    let other = limits.budget("other", Budget::concurrency(10));
    let limiter = limits.build().unwrap();
    advance(50 * SECOND).await;
    let one = Charge::new().with(spread, 1);
    limiter.try_acquire(one, None).unwrap().answered(Instant::now(), Settle::Keep);
    let mut waits = ask(&limiter, one, None);
    advance(SECOND).await;
    drop(assert_ready_ok!(waits.poll()));
    let other = Charge::new().with(other, 1);
    let _first = limiter.try_acquire(other, None).unwrap();
    let _second = limiter.try_acquire(other, None).expect("not slowed");
}
