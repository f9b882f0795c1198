//! Two threads call at once, each through a clone of its own.

use std::{hint::black_box, num::NonZeroU32, sync::Mutex};

use bench::{
    Echo, one_call,
    pairs::{self, both, shared},
};

use crate::{hot, peers};

pub fn run() {
    let mut resilience = peers::resilience(Echo);
    let pairs = vec![
        shared("a bare clock and mutex", Mutex::new(0_u64), |mutex| {
            black_box(tokio::time::Instant::now());
            *mutex.lock().expect("nothing panics") += 1;
        }),
        shared(
            "the same, but eight cache lines change under the mutex",
            Mutex::new([[0_u64; 8]; 8]),
            |mutex| {
                black_box(tokio::time::Instant::now());
                mutex.lock().expect("nothing panics").iter_mut().for_each(|line| line[0] += 1);
            },
        ),
        both("ours, 1 budget: service", hot::ours(1)),
        both("ours, 3 budgets: service", hot::ours(3)),
        both("ours, 8 budgets: service", hot::ours(8)),
        shared(
            "governor: check, no service",
            governor::RateLimiter::direct(governor::Quota::per_second(NonZeroU32::MAX)),
            |limiter| assert!(limiter.check().is_ok()),
        ),
        shared("leaky-bucket: try_acquire, no service", peers::leaky(), |limiter| {
            assert!(limiter.try_acquire(1));
        }),
        both("tower-resilience, 1 layer", move || {
            let _ = black_box(one_call(&mut resilience, black_box(())).is_ok());
        }),
        shared(
            "trypema: inc of one key, no service",
            (peers::trypema(60), peers::trypema_plenty()),
            |(limiter, rate)| {
                black_box(limiter.absolute().inc(black_box("one"), rate, 1));
            },
        ),
        shared(
            "limitador: check and update, no service",
            peers::Limitador::new(1, u64::MAX >> 1, 1_000, false),
            |limitador| assert!(limitador.check(&peers::no_values())),
        ),
    ];
    pairs::run("two threads", pairs);
}
