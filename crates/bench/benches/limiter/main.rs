//! The limiter beside its peers, in one run: the way straight through, keyed
//! budgets, two threads, refusals, the queue.
//!
//! Words on the command line choose tables and rows; `BENCH_ROUNDS` and
//! `BENCH_CALLS` change the size. Ours is always the service around one that
//! answers at once; each peer is what its name says, as near as its API comes.

mod contended;
mod hot;
mod keyed;
mod peers;
mod refusal;
mod waits;

use std::time::Duration;

use tower_ratelimit_tokens::{Budget, BudgetId, LimiterBuilder};

#[global_allocator]
static ALLOC: bench::counting::Counting = bench::counting::Counting;

fn main() {
    // Some make timers; none of them may fire here.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    hot::run();
    keyed::run();
    contended::run();
    refusal::run();
    waits::run();
}

/// More than any run spends.
const PLENTY: u32 = 4_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The first `count` of eight budgets of different kinds.
fn budgets(limits: &mut LimiterBuilder, count: usize) -> Vec<BudgetId> {
    let limit = u64::from(PLENTY);
    let day = |zone| Budget::calendar_day(limit, zone, jiff::civil::Time::midnight());
    let all = [
        ("burst", Budget::rolling(limit, 2 * SECOND)),
        ("minute", Budget::fixed(limit, 60 * SECOND)),
        ("day", day(jiff::tz::TimeZone::UTC)),
        ("tokens", Budget::bucket(limit, limit, SECOND)),
        ("ten", Budget::rolling(limit, 10 * SECOND)),
        ("hour", Budget::fixed(limit, HOUR)),
        ("day east", day(jiff::tz::TimeZone::fixed(jiff::tz::offset(9)))),
        ("units", Budget::bucket(limit, limit, HOUR)),
    ];
    all.into_iter().take(count).map(|(name, budget)| limits.budget(name, budget)).collect()
}
