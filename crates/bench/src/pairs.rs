//! Two threads that call at once, each through a clone of its own.

use std::{
    sync::{Arc, Barrier},
    time::Instant,
};

use crate::rounds::{median, setting, wanted};

const CALLS: u32 = 5_000;
const TRIES: u32 = 5;

/// Makes one call.
pub type Call = Box<dyn FnMut() + Send>;

/// The two callers of one state.
pub type Pair = (&'static str, [Call; 2]);

/// Two clones of a caller.
pub fn both<F: FnMut() + Clone + Send + 'static>(name: &'static str, call: F) -> Pair {
    (name, [Box::new(call.clone()), Box::new(call)])
}

/// Two callers of something that is shared as it is.
pub fn shared<T: Send + Sync + 'static>(
    name: &'static str,
    state: T,
    act: impl Fn(&T) + Copy + Send + 'static,
) -> Pair {
    let state = Arc::new(state);
    both(name, move || act(&state))
}

/// Measures the pairs in turns and prints them as a table. The ratios are to the first.
pub fn run(table: &str, pairs: Vec<Pair>) {
    let pairs = pairs.into_iter().filter(|(name, _)| wanted(table, name));
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
    println!("\n{table}, each call of each\n{:>8} {:>8} {:>7}", "least", "median", "ratio");
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
