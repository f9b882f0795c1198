//! Two threads call at once, each through a clone of its own.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{Arc, Barrier, Mutex},
    time::Instant,
};

use bench::{
    Echo, one_call,
    rounds::{median, setting, wanted},
};

use crate::{hot, peers};

const TABLE: &str = "two threads";
const CALLS: u32 = 5_000;
const TRIES: u32 = 5;

type Call = Box<dyn FnMut() + Send>;

/// Makes the two callers of one state.
type Pair = (&'static str, [Call; 2]);

fn both<F: FnMut() + Clone + Send + 'static>(name: &'static str, call: F) -> Pair {
    (name, [Box::new(call.clone()), Box::new(call)])
}

fn shared<T: Send + Sync + 'static>(
    name: &'static str,
    state: T,
    act: impl Fn(&T) + Copy + Send + 'static,
) -> Pair {
    let state = Arc::new(state);
    both(name, move || act(&state))
}

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
    let pairs = pairs.into_iter().filter(|(name, _)| wanted(TABLE, name));
    let mut pairs: Vec<(Pair, Vec<f64>)> = pairs.map(|pair| (pair, Vec::new())).collect();
    for round in 0..setting("BENCH_ROUNDS", 300) as usize / 3 {
        let count = pairs.len();
        for turn in 0..count {
            let ((_, calls), nanos) = &mut pairs[(turn + round) % count];
            nanos.push(at_once(calls));
        }
    }
    let Some((_, first)) = pairs.first() else { return };
    let first = first.clone();
    println!("\n{TABLE}, each call of each\n{:>8} {:>8} {:>7}", "least", "median", "ratio");
    for ((name, _), nanos) in pairs {
        let ratios = nanos.iter().zip(&first).map(|(n, of)| n / of);
        // A round in which they never ran side by side is none.
        let ratio = median(ratios.filter(|ratio| ratio.is_normal()).collect());
        let nanos: Vec<f64> = nanos.into_iter().filter(|n| n.is_finite()).collect();
        let least = nanos.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{least:>8.1} {:>8.1} {ratio:>7.2} {:>7}  {name}", median(nanos), "");
    }
}

/// Nanoseconds of one call when both run side by side: the quickest of a few
/// tries, as one in which a thread had to make room for another program measures
/// that.
fn at_once([one, other]: &mut [Call; 2]) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        let barrier = Barrier::new(2);
        let ran = |call: &mut Call| {
            barrier.wait();
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            (start, Instant::now())
        };
        let (here, there) = std::thread::scope(|scope| {
            let there = scope.spawn(|| ran(other));
            (ran(one), there.join().expect("nothing panics"))
        });
        let both = here.1.min(there.1).saturating_duration_since(here.0.max(there.0));
        let all = here.1.max(there.1) - here.0.min(there.0);
        if both.as_secs_f64() > 0.8 * all.as_secs_f64() {
            least = least.min(all.as_nanos() as f64 / f64::from(CALLS));
        }
    }
    least
}
