//! Budgets that each key has for itself.

use std::{collections::HashSet, task::Poll, time::Duration};

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, BudgetId, Charge, Cost, Key, Limiter, LimiterBuilder, Observation,
    RefusedKind, ScopeId, Settle, TokenLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);

/// Two calls per second and user; ten per second in all.
fn users() -> (LimiterBuilder, ScopeId, BudgetId, BudgetId) {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", Budget::rolling(2, SECOND).per(user));
    let all = limits.budget("all", Budget::rolling(10, SECOND));
    (limits, user, own, all)
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_and_all_share_the_rest() {
    let (limits, user, own, all) = users();
    let limiter = limits.build().unwrap();
    let call = |name: &str| Charge::new().with(own, 1).with(all, 1).key(user, Key::of(name));
    let mut tickets = vec![];
    for name in ["a", "b", "c", "d", "e", "f"] {
        for _ in 0..2 {
            tickets.extend(limiter.try_acquire(call(name), None));
        }
    }
    assert_eq!(tickets.len(), 10);
    let refused = limiter.try_acquire(call("a"), None).unwrap_err();
    assert_eq!(refused.budget(), Some("own"));
    let refused = limiter.try_acquire(call("f"), None).unwrap_err();
    assert_eq!(refused.budget(), Some("all"));
    assert_eq!(limiter.key_status(own, &call("a")).unwrap().remaining, 0);
    assert_eq!(limiter.key_status(own, &call("nobody")), None);
    assert_eq!(limiter.status().budgets[0].keys, Some(6));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_own_budget_blocks_nobody_else() {
    let (limits, user, own, all) = users();
    let limiter = limits.build().unwrap();
    let call = |name: &str| Charge::new().with(own, 1).with(all, 1).key(user, Key::of(name));
    let _held: Vec<_> = (0..2).map(|_| limiter.try_acquire(call("a"), None).unwrap()).collect();
    let mut waits = task::spawn(limiter.acquire(call("a"), None));
    assert_pending!(waits.poll());
    assert!(limiter.try_acquire(call("b"), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn shared_budgets_go_to_the_ready_heads_in_the_order_in_which_they_came() {
    let (limits, user, own, all) = users();
    let limiter = limits.build().unwrap();
    let call = |name: &str| Charge::new().with(own, 1).with(all, 1).key(user, Key::of(name));
    let mut held: Vec<_> =
        (0..10).map(|_| limiter.try_acquire(Charge::new().with(all, 1), None).unwrap()).collect();
    let mut waiting: Vec<_> = ["x", "y", "x", "z"]
        .into_iter()
        .map(|name| {
            let mut task = task::spawn(limiter.acquire(call(name), None));
            assert_pending!(task.poll());
            (name, task)
        })
        .collect();
    let mut tickets = vec![];
    let mut order = vec![];
    while let Some(ticket) = held.pop() {
        drop(ticket);
        for (name, task) in &mut waiting {
            if task.is_woken() {
                if let Poll::Ready(result) = task.poll() {
                    tickets.push(result.unwrap());
                    order.push(*name);
                }
            }
        }
        waiting
            .retain(|(name, _)| order.iter().filter(|n| *n == name).count() == 0 || *name == "x");
    }
    assert_eq!(order[..4], ["x", "y", "x", "z"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_inside_another_tells_the_same_name_apart() {
    let mut limits = Limiter::builder();
    let account = limits.scope("account");
    let endpoint = limits.scope_within("endpoint", account);
    let calls = limits.budget("calls", Budget::concurrency(1).per(endpoint));
    let limiter = limits.build().unwrap();
    let call = |of: &str, at: &str| {
        Charge::new().with(calls, 1).key(account, Key::of(of)).key(endpoint, Key::of(at))
    };
    let _one = limiter.try_acquire(call("acme", "/deals"), None).unwrap();
    assert!(limiter.try_acquire(call("acme", "/deals"), None).is_err());
    assert!(limiter.try_acquire(call("acme", "/persons"), None).is_ok());
    assert!(limiter.try_acquire(call("apex", "/deals"), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn idle_keys_are_forgotten_and_busy_ones_are_not() {
    let (limits, user, own, _) = users();
    let limiter = limits.max_keys(100).idle_after(60 * SECOND).build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let busy = limiter.acquire(call(1_000_000), None).await.unwrap();
    for n in 0..10_000 {
        advance(SECOND).await;
        limiter.acquire(call(n), None).await.unwrap().answered(Instant::now(), Settle::Keep);
    }
    let keys = limiter.status().budgets[0].keys.unwrap();
    assert!((1..=100).contains(&keys), "{keys}");
    assert_eq!(limiter.key_status(own, &call(1_000_000)).unwrap().used, 1);
    drop(busy);
    assert_eq!(limiter.key_status(own, &call(1_000_000)).unwrap().used, 0);
}

#[tokio::test(start_paused = true)]
async fn one_key_too_many_is_refused_and_never_lets_another_forget() {
    let (limits, user, own, _) = users();
    let limiter = limits.max_keys(3).build().unwrap();
    let call = |n: u64| Charge::new().with(own, 2).key(user, Key::from(n));
    for n in 0..3 {
        limiter.acquire(call(n), None).await.unwrap().answered(Instant::now(), Settle::Keep);
    }
    let refused = limiter.try_acquire(call(3), None).unwrap_err();
    assert_eq!((refused.kind(), refused.budget()), (RefusedKind::TooManyKeys, Some("own")));
    assert!(limiter.acquire(call(3), None).await.is_err());
    // When the windows are over, the first of them makes room.
    advance(2 * SECOND).await;
    assert!(limiter.try_acquire(call(3), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn limits_change_for_all_keys_or_for_one() {
    let (limits, user, own, _) = users();
    let limiter = limits.build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    assert!(limiter.set_limit_for(own, &call(7), 5));
    limiter.set_limit(own, 1);
    let fit = |n| {
        (0..9)
            .take_while(|_| limiter.try_acquire(call(n), None).map(std::mem::forget).is_ok())
            .count()
    };
    assert_eq!((fit(7), fit(8)), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_calendar_day_of_its_own() {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let day = Budget::calendar_day(2, TimeZone::UTC, Time::midnight()).per(user);
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new("2026-11-25T23:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).max_wait(7_200 * SECOND).build().unwrap();
    let call = |n: u64| Charge::new().with(day, 1).key(user, Key::from(n));
    for n in [1, 1, 2] {
        limiter.acquire(call(n), None).await.unwrap().answered(Instant::now(), Settle::Keep);
    }
    assert!(limiter.try_acquire(call(1), None).is_err());
    assert!(limiter.try_acquire(call(2), None).is_ok());
    // Whoever waits goes when the day is over.
    let start = Instant::now();
    limiter.acquire(call(1), None).await.unwrap().answered(Instant::now(), Settle::Keep);
    let waited = start.elapsed();
    assert!((3_600 * SECOND..3_602 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(limiter.key_status(day, &call(1)).unwrap().used, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_is_held_against_the_key_that_asked() {
    let (limits, user, own, _) = users();
    let limiter = limits.build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let mut ticket = limiter.try_acquire(call(1), None).unwrap();
    ticket.sent(Instant::now());
    let gone = Observation::Burst { budget: own, retry_after: Some(5 * SECOND) };
    ticket.observed_one(Instant::now(), gone, Settle::Keep);
    assert!(limiter.try_acquire(call(1), None).is_err());
    assert!(limiter.try_acquire(call(2), None).is_ok(), "the gate is not closed for others");
    advance(6 * SECOND).await;
    assert!(limiter.try_acquire(call(1), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_about_one_key_is_held_against_that_key() {
    let (limits, user, own, _) = users();
    let limiter = limits.build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let gone = Observation::Level { budget: own, limit: None, remaining: 0, reset: None };
    limiter.observe_for(&call(1), &gone);
    limiter.observe(&gone);
    assert!(limiter.try_acquire(call(1), None).is_err());
    assert!(limiter.try_acquire(call(2), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_layer_names_the_payer_by_a_function_of_the_request() {
    let (limits, user, own, all) = users();
    let limiter = limits.max_wait(Duration::ZERO).build().unwrap();
    let cost = Charge::new().with(own, 1).with(all, 1).keyed(user, |name: &&str| Key::of(*name));
    let mut service = TokenLimitLayer::new(limiter, cost)
        .layer(service_fn(|name: &'static str| async move { Ok::<_, &str>(name) }));
    let mut answered = HashSet::new();
    for name in ["ann", "ann", "ann", "bob"] {
        answered.insert((name, service.ready().await.unwrap().call(name).await.is_ok()));
    }
    let expected = [("ann", true), ("ann", false), ("bob", true)];
    assert_eq!(answered, HashSet::from(expected));
}

/// Waiters of very many keys at once: each goes when its own time comes.
#[tokio::test(start_paused = true)]
async fn twenty_thousand_keys_wait_each_for_itself() {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", Budget::bucket(1, 1, SECOND).per(user));
    let limiter = limits.max_waiting(100_000).build().unwrap();
    let call = |n: u64| Charge::new().with(own, 1).key(user, Key::from(n));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40_000 {
        let limiter = limiter.clone();
        let charge = call(n % 20_000);
        tasks.spawn(async move {
            let mut ticket = limiter.acquire(charge, None).await.unwrap();
            ticket.sent(Instant::now());
        });
    }
    tasks.join_all().await;
    let took = start.elapsed();
    assert!((SECOND..SECOND + Duration::from_millis(20)).contains(&took), "{took:?}");
}
