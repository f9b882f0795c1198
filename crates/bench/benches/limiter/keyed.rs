//! One call of one of many payers, each with a budget of its own.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    hint::black_box,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use bench::{
    Echo, one_call,
    rounds::{self, Case},
};
use tower::Layer;
use tower_ratelimit_tokens::{Budget, Charge, Cost, Key, Limiter, TokenLimitLayer};

use crate::{PLENTY, SECOND, peers};

pub fn run() {
    for count in [1, 1_000, 1_000_000] {
        table(count);
    }
}

/// As large as one of our accounts.
type State = [u64; 14];

/// The payers in a random order, again and again; each of them has called once
/// before `act` is measured.
fn in_turn<K: 'static>(keys: &Arc<[K]>, mut act: impl FnMut(&K)) -> impl FnMut() {
    let keys = Arc::clone(keys);
    keys.iter().for_each(&mut act);
    let mut at = 0;
    move || {
        act(&keys[at]);
        at = if at + 1 == keys.len() { 0 } else { at + 1 };
    }
}

fn ours(keys: &Arc<[u64]>, budget: Budget) -> impl FnMut() {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let own = limits.budget("own", budget.per(user));
    let limiter = limits.max_keys(2_000_000).build().expect("valid");
    let cost = Charge::new().with(own, 1).keyed(user, |payer: &u64| Key::from(*payer));
    let mut service = TokenLimitLayer::new(limiter, cost).layer(Echo);
    in_turn(keys, move |payer| {
        let _ = black_box(one_call(&mut service, *payer));
    })
}

/// What nobody can do without: the clock, a lock, the payer's state.
fn bare<S: BuildHasher + Default + 'static>(keys: &Arc<[u64]>) -> impl FnMut() {
    let map: Mutex<HashMap<u64, State, S>> = Mutex::default();
    in_turn(keys, move |payer| {
        let now = black_box(tokio::time::Instant::now());
        let mut map = map.lock().expect("nothing panics");
        let state = map.entry(*payer).or_default();
        state[0] += 1;
        state[13] = u64::from(now.elapsed_is_zero());
    })
}

/// Uses the time without another look at the clock.
trait Zero {
    fn elapsed_is_zero(&self) -> bool;
}

impl Zero for tokio::time::Instant {
    fn elapsed_is_zero(&self) -> bool {
        self.duration_since(*self).is_zero()
    }
}

fn table(count: usize) {
    let keys = payers(count);
    let names: Arc<[String]> = keys.iter().map(|key| format!("{key:016x}")).collect();
    let (keys, names) = (&keys, &names);
    let limit = u64::from(PLENTY);
    let quota = governor::Quota::per_second(NonZeroU32::MAX);
    let cases = vec![
        Case::new("a bare map: clock, mutex, std HashMap of 112 bytes", || {
            bare::<std::hash::RandomState>(keys)
        }),
        Case::new("the same with hashbrown's hasher", || {
            bare::<hashbrown::DefaultHashBuilder>(keys)
        }),
        Case::new("ours, bucket: service", || ours(keys, Budget::bucket(limit, limit, SECOND))),
        Case::new("ours, fixed window: service", || ours(keys, Budget::fixed(limit, SECOND))),
        Case::new("ours, rolling window: service", || ours(keys, Budget::rolling(limit, SECOND))),
        Case::new("governor, DashMap: check_key, no service", || {
            let limiter = governor::RateLimiter::dashmap(quota);
            in_turn(keys, move |payer| assert!(limiter.check_key(payer).is_ok()))
        }),
        Case::new("governor, mutex and HashMap: check_key, no service", || {
            let limiter = governor::RateLimiter::hashmap(quota);
            in_turn(keys, move |payer| assert!(limiter.check_key(payer).is_ok()))
        }),
        Case::new("trypema, rolling window: inc, no service, keys are strings", || {
            let (limiter, rate) = (peers::trypema(1), peers::trypema_plenty());
            in_turn(names, move |name| {
                black_box(limiter.absolute().inc(name, &rate, 1));
            })
        }),
        Case::new("limitador: check and update with a context made for it, no service", || {
            let limitador = peers::Limitador::new(1, u64::MAX >> 1, 2_000_000, true);
            in_turn(names, move |name| {
                let values = HashMap::from([("user".to_owned(), name.clone())]);
                assert!(limitador.check(&values.into()));
            })
        }),
    ];
    let title = format!("keyed, {count} {}", if count == 1 { "key" } else { "keys" });
    rounds::run(&title, cases);
}

/// Numbers that do not follow one another, in an order that no cache can guess.
fn payers(count: usize) -> Arc<[u64]> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut keys: Vec<u64> = (0..count).map(|_| next()).collect();
    for at in (1..count).rev() {
        keys.swap(at, next() as usize % (at + 1));
    }
    keys.into()
}
