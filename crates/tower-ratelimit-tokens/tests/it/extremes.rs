//! Numbers, ids and times that no sane caller would use.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_ratelimit_tokens::{
    Acquire, Admission, Budget, BudgetId, Charge, GateReason, Key, Limiter, Observation, Priority,
    RefusedKind, Settle, Terms,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const CENTURIES: Duration = Duration::from_secs(u32::MAX as u64);

/// The ids of a limiter that was never built: most are unknown anywhere.
fn foreign_ids() -> Vec<BudgetId> {
    let mut limits = Limiter::builder();
    let ids = (0..300).map(|n| limits.budget(&n.to_string(), Budget::concurrency(1))).collect();
    limits.build().unwrap_err();
    ids
}

#[tokio::test(start_paused = true)]
async fn ids_of_another_limiter_harm_nothing() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(places, 1);
    for budget in foreign_ids().into_iter().skip(1) {
        for said in [
            Observation::Level { budget, limit: Some(9), remaining: 1, reset: Some(SECOND) },
            Observation::Burst { budget, retry_after: Some(SECOND) },
            Observation::Exhausted { budget, retry_after: Some(SECOND) },
        ] {
            limiter.observe(&said);
            let ticket = limiter.try_acquire(one, None).unwrap();
            ticket.observed_one(Instant::now(), said, Settle::Keep);
        }
        limiter.set_limit(budget, 0);
        limiter.set_used(budget, 1);
        let _ = (limiter.set_limit_for(budget, &one, 1), limiter.key_status(budget, &one));
        let _ = (limiter.forecast(budget), limiter.lease(budget), limiter.quota_report(budget));
        let strange = one.with(budget, 1);
        if strange != one {
            assert_eq!(limiter.would_admit(&strange, None), Admission::Never { budget: None });
            let refused = limiter.acquire(strange, None).await.unwrap_err();
            assert_eq!(refused.kind(), RefusedKind::NeverFits);
        }
    }
    assert_eq!(limiter.status().budgets[0].used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_smooth_window_survives_any_change_of_its_limit() {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::rolling(4_000_000_000, 31 * DAY).even());
    let limiter = limits.build().unwrap();
    let many = Charge::new().with(tokens, 4_000_000_000);
    let ticket = limiter.try_acquire(many, None).unwrap();
    limiter.set_limit(tokens, 1);
    drop(ticket);
    assert_eq!(limiter.status().budgets[0].used, 0);
    limiter.set_limit(tokens, u64::MAX);
    drop(limiter.try_acquire(many, None).unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_instant_of_the_future_does_not_move_the_limiters_time() {
    let mut limits = Limiter::builder();
    let window = limits.budget("window", Budget::rolling(1, SECOND));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(window, 1);
    for ahead in [DAY, CENTURIES] {
        advance(2 * SECOND).await;
        let mut ticket = limiter.try_acquire(one, None).unwrap();
        ticket.sent(Instant::now() + ahead);
        ticket.answered(Instant::now() + ahead, Settle::Keep);
        limiter.try_acquire(one, None).expect_err("the window has just begun");
        advance(SECOND / 2).await;
        limiter.try_acquire(one, None).expect_err("and is not over");
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_arrivals_of_any_age_are_taken_as_far_as_they_go() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(1));
    for every in [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)] {
        let mut limits = Limiter::builder();
        limits.budget("places", Budget::concurrency(1));
        let limiter = limits.level_every(every).build().unwrap();
        advance(SECOND).await;
        let one = Charge::new().with(places, 1);
        let mut held = Some(limiter.try_acquire(one, None).unwrap());
        let now = Instant::now();
        let times = [now + CENTURIES, now, now.checked_sub(CENTURIES / 1_000).unwrap_or(now)];
        let mut waiting = vec![];
        for at in times {
            for level in [0, 10] {
                let terms = Terms::new().priority(Priority::new(level)).arrived(Some(at));
                let deadline = Some(now + CENTURIES);
                let mut waits = task::spawn(limiter.acquire(one, terms.deadline(deadline)));
                assert_pending!(waits.poll());
                waiting.push(waits);
                let past = terms.deadline(Some(times[2]));
                assert!(task::spawn(limiter.acquire(one, past)).poll().is_ready());
            }
        }
        while !waiting.is_empty() {
            drop(held.take());
            let mut woken = (0..waiting.len()).filter(|&n| waiting[n].is_woken());
            let at = woken.next().expect("somebody is next");
            if let std::task::Poll::Ready(ticket) = waiting[at].poll() {
                held = Some(ticket.unwrap());
                drop(waiting.remove(at));
            }
        }
        assert_eq!(limiter.status().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_closed_for_ever_refuses_all_at_once() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(1));
    let limiter = limits.build().unwrap();
    let one = Charge::new().with(places, 1);
    let held = limiter.try_acquire(one, None).unwrap();
    let mut waits = task::spawn(limiter.acquire(one, None));
    assert_pending!(waits.poll());
    limiter
        .observe(&Observation::Closed { reason: GateReason::Banned, retry_after: Duration::MAX });
    limiter.close_until(Instant::now() + CENTURIES, GateReason::Manual);
    assert!(waits.is_woken());
    let std::task::Poll::Ready(Err(refused)) = waits.poll() else { panic!("waits for ever") };
    assert_eq!(refused.kind(), RefusedKind::GateClosed);
    drop(held);
    assert_eq!(limiter.acquire(one, None).await.unwrap_err().kind(), RefusedKind::GateClosed);
    assert!(matches!(limiter.would_admit(&one, None), Admission::At { when: Some(_), .. }));
    assert_eq!(limiter.status().budgets[0].used, 0);
}

#[tokio::test(start_paused = true)]
async fn limits_below_what_is_held_refuse_those_who_cannot_fit_and_let_the_rest_go_in_time() {
    let mut limits = Limiter::builder();
    let places = limits.budget("places", Budget::concurrency(10));
    let limiter = limits.build().unwrap();
    let n = |n| Charge::new().with(places, n);
    let held = limiter.try_acquire(n(10), None).unwrap();
    let mut heavy = task::spawn(limiter.acquire(n(5), Priority::HIGH));
    let mut light = task::spawn(limiter.acquire(n(1), None));
    assert_pending!(heavy.poll());
    assert_pending!(light.poll());
    for limit in [3, 0, 3] {
        limiter.set_limit(places, limit);
    }
    assert!(heavy.is_woken());
    let std::task::Poll::Ready(Err(refused)) = heavy.poll() else { panic!("never fits") };
    assert_eq!(refused.kind(), RefusedKind::NeverFits);
    // The light one was refused too, when the limit was nothing.
    assert!(light.is_woken());
    assert!(light.poll().is_ready());
    let mut patient = task::spawn(limiter.acquire(n(3), None));
    assert_pending!(patient.poll());
    assert_eq!(limiter.status().budgets[0].remaining, 0);
    drop(held);
    drop(assert_ready_ok!(patient.poll()));
    assert_eq!(limiter.status().budgets[0].used, 0);
}

#[tokio::test(start_paused = true)]
async fn eight_budgets_in_four_scopes_one_inside_the_other_hold_together() {
    let mut limits = Limiter::builder().level_every(SECOND);
    let mut scopes = vec![limits.scope("s0")];
    for n in 1..4 {
        scopes.push(limits.scope_within(&format!("s{n}"), scopes[n - 1]));
    }
    let ids: Vec<_> = (0..8)
        .map(|n| {
            let budget =
                if n % 2 == 0 { Budget::concurrency(3) } else { Budget::bucket(3, 3, SECOND) };
            limits.budget(&format!("b{n}"), budget.per(scopes[n % 4]))
        })
        .collect();
    let limiter = limits.max_keys(1_000).build().unwrap();
    let charge = |n: u64| {
        let charge = ids.iter().fold(Charge::new(), |charge, &id| charge.with(id, 1));
        let keys = (0..4).map(|s| Key::from(n / (1 << s)));
        scopes.iter().zip(keys).fold(charge, |charge, (&scope, key)| charge.key(scope, key))
    };
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..400_u64 {
        let limiter = limiter.clone();
        let charge = charge(n % 16);
        calls.spawn(async move {
            let terms = Terms::from(Priority::new((n % 11) as u8));
            let mut ticket = limiter.acquire(charge, terms).await.unwrap();
            ticket.sent(Instant::now());
            tokio::time::sleep(Duration::from_millis(n % 7)).await;
            ticket.answered(Instant::now(), Settle::Keep);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let status = limiter.status();
    assert_eq!(status.waiting, 0);
    for n in 0..16 {
        for id in ids.iter().step_by(2) {
            assert_eq!(limiter.key_status(*id, &charge(n)).map_or(0, |key| key.used), 0);
        }
    }
}

/// Asks the limiter when it is woken, and when it is dropped.
struct Nosy(Limiter, Charge);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        drop(self.0.try_acquire(self.1, Priority::CRITICAL));
        self.0.shed(Priority::LOWEST, "");
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let _ = self.0.status();
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_call_the_limiter_whenever_it_is_used_or_dropped() {
    // In a thread of its own, as a lock that is taken twice is never given back.
    let run = tokio::runtime::Handle::current();
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _inside = run.enter();
        let mut limits = Limiter::builder();
        let places = limits.budget("places", Budget::concurrency(1));
        let limiter = limits.build().unwrap();
        let one = Charge::new().with(places, 1);
        let poll = |call: &mut Pin<Box<Acquire>>| {
            let nosy = Waker::from(Arc::new(Nosy(limiter.clone(), one)));
            call.as_mut().poll(&mut Context::from_waker(&nosy))
        };
        let ask = |priority: Priority| Box::pin(limiter.acquire(one, priority));
        let held = limiter.try_acquire(one, None).unwrap();
        let mut calls = [ask(Priority::HIGH), ask(Priority::NORMAL), ask(Priority::LOW)];
        // Each with one waker, and then with another.
        assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
        assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
        // One is woken to be refused, one to go; one goes by its own poll.
        limiter.shed(Priority::NORMAL, "nosy");
        assert!(matches!(poll(&mut calls[2]), Poll::Ready(Err(_))));
        drop(held);
        let Poll::Ready(Ok(ticket)) = poll(&mut calls[0]) else { panic!("it is let through") };
        limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
        drop(ticket);
        assert!(poll(&mut calls[1]).is_pending());
        done.send(calls).unwrap();
    });
    let Ok(mut calls) = finished.recv_timeout(Duration::from_secs(20)) else {
        panic!("a waker was used or dropped under the lock")
    };
    advance(2 * SECOND).await;
    let last = calls[1].as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(last, Poll::Ready(Ok(_))));
}
