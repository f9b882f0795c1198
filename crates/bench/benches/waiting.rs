//! Those who wait: 2,000 at a bucket of one per millisecond, ours beside the
//! peers, and a million of ours.
//!
//! Says the order, the processor's time (of all threads, the peers' helpers
//! included) and the time by the clock. `BENCH_REPEATS` (5) changes the size;
//! words on the command line choose rows.

use std::{
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bench::{
    Echo,
    counting::{Counting, counted},
    rounds::{median, setting, wanted},
};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{
    Acquire, Budget, Charge, GateReason, Limiter, Priority, Settle, TokenLimitLayer,
};
use tower_resilience_ratelimiter::RateLimiterLayer;

#[global_allocator]
static ALLOC: Counting = Counting;

const WAITERS: usize = 2_000;
const GAP: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Makes one waiter after the other, with how many go before it whatever their
/// number: zero, unless there are priorities.
type Waits = Box<dyn FnMut() -> (u8, Wait)>;

fn main() {
    two_thousand();
    for waiters in [1_000, 1_000_000] {
        for (name, priorities) in [("one priority", 1), ("eleven priorities", 11)] {
            let table = format!("{waiters} of ours, {name}");
            if wanted("million", &table) {
                println!("\n{table}");
                many(waiters, priorities);
            }
        }
        let table =
            format!("{waiters} of ours as tasks of one thread, a bucket of one per microsecond");
        if wanted("million", &table) {
            println!("\n{table}");
            by_the_clock(waiters as u32);
        }
    }
}

fn contenders() -> Vec<(&'static str, fn() -> Waits)> {
    vec![
        ("ours: service", || {
            let (limiter, charge) = ours(GAP, 1);
            let service = TokenLimitLayer::new(limiter, charge).layer(Echo);
            Box::new(move || {
                let call = service.clone().oneshot(());
                (0, call.map(|result| result.expect("none is refused")).boxed())
            })
        }),
        ("ours, eleven priorities mixed: acquire", || {
            let (limiter, charge) = ours(GAP, 1);
            let mut n = 0_u8;
            Box::new(move || {
                n = (n + 1) % 11;
                let acquire = limiter.acquire(charge, Priority::new(n));
                let wait = async { acquire.await.expect("none is refused").sent(now()) };
                (10 - n, Box::pin(wait))
            })
        }),
        ("governor: until_ready", || {
            let quota = governor::Quota::with_period(GAP).expect("not zero");
            let quota = quota.allow_burst(NonZeroU32::MIN);
            let limiter = Arc::new(governor::RateLimiter::direct(quota));
            Box::new(move || {
                let limiter = Arc::clone(&limiter);
                (0, Box::pin(async move { limiter.until_ready().await }))
            })
        }),
        ("leaky-bucket: acquire", || {
            let limiter = leaky_bucket::RateLimiter::builder()
                .max(1)
                .initial(1)
                .refill(1)
                .interval(GAP)
                .build();
            let limiter = Arc::new(limiter);
            Box::new(move || (0, Box::pin(Arc::clone(&limiter).acquire_owned(1))))
        }),
        ("tower RateLimit behind a Buffer", || {
            let service = ServiceBuilder::new().buffer(WAITERS).rate_limit(1, GAP).service(Echo);
            Box::new(move || {
                let call = service.clone().oneshot(());
                (0, call.map(|result| result.expect("none is refused")).boxed())
            })
        }),
        ("tower-resilience, bucket", || {
            let layer = RateLimiterLayer::builder()
                .limit_for_period(1)
                .refresh_period(GAP)
                .burst_size(0)
                .timeout_duration(MINUTE);
            let service = layer.build().expect("valid").layer(Echo);
            Box::new(move || {
                let call = service.clone().oneshot(());
                (0, call.map(|result| assert!(result.is_ok())).boxed())
            })
        }),
    ]
}

fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

fn ours(gap: Duration, refill: u64) -> (Limiter, Charge) {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::bucket(1, refill, gap));
    let limits = limits.max_waiting(usize::MAX).level_every(Duration::from_secs(30));
    let limits = limits.after_gate(Duration::ZERO, Duration::ZERO);
    (limits.build().expect("valid"), Charge::new().with(calls, 1))
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[derive(Debug)]
struct Run {
    inverted: f64,
    cpu: f64,
    wall: f64,
}

fn two_thousand() {
    let ideal = (WAITERS - 1) as f64;
    println!("\n{WAITERS} waiters, one per millisecond; the ideal is {ideal} ms");
    println!("{:>9} {:>15} {:>15} {:>6}", "inverted", "CPU, ms", "wall, ms", "over");
    println!("{:>9} {:>7} {:>7} {:>7} {:>7}", "pairs", "least", "median", "least", "median");
    for (name, set_up) in contenders() {
        for (threads, runtime) in [("1", one_thread as fn() -> Runtime), ("2", two_threads)] {
            let name = format!("{name}, {threads} executor thread(s)");
            if !wanted("two thousand", &name) {
                continue;
            }
            let runs: Vec<Run> =
                (0..setting("BENCH_REPEATS", 5)).map(|_| run(&runtime(), set_up)).collect();
            let of = |of: fn(&Run) -> f64| -> Vec<f64> { runs.iter().map(of).collect() };
            let least = |all: Vec<f64>| all.into_iter().fold(f64::INFINITY, f64::min);
            let most = of(|run| run.inverted).into_iter().fold(0.0, f64::max);
            println!(
                "{:>8.3}% {:>7.1} {:>7.1} {:>7.0} {:>7.0} {:>5.1}%  {name}",
                most * 100.0,
                least(of(|run| run.cpu)),
                median(of(|run| run.cpu)),
                least(of(|run| run.wall)),
                median(of(|run| run.wall)),
                (least(of(|run| run.wall)) / ideal - 1.0) * 100.0,
            );
        }
    }
}

/// All come at once; is each let in when it is its turn?
fn run(runtime: &Runtime, set_up: fn() -> Waits) -> Run {
    let order = Arc::new(Mutex::new(Vec::with_capacity(WAITERS)));
    let (wall, cpu) = runtime.block_on(async {
        let mut wait = set_up();
        let (start, before) = (Instant::now(), cpu());
        let arrivals = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..WAITERS)
            .map(|_| {
                let ((before, mut wait), order, arrivals) =
                    (wait(), order.clone(), arrivals.clone());
                tokio::spawn(async move {
                    // Whoever is polled first came first.
                    let first = std::future::poll_fn(|cx| {
                        let mut arrivals = arrivals.lock().expect("nothing panics");
                        *arrivals += 1;
                        Poll::Ready((*arrivals, wait.as_mut().poll(cx)))
                    });
                    let (number, polled) = first.await;
                    if polled.is_pending() {
                        wait.await;
                    }
                    order.lock().expect("nothing panics").push((before, number));
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("nothing panics");
        }
        (start.elapsed(), cpu() - before)
    });
    let order: Vec<(u8, usize)> = order.lock().expect("nothing panics").clone();
    let inverted: usize = order
        .iter()
        .enumerate()
        .map(|(at, n)| order[at..].iter().filter(|later| *later < n).count())
        .sum();
    let pairs = WAITERS * (WAITERS - 1) / 2;
    Run {
        inverted: inverted as f64 / pairs as f64,
        cpu: cpu.as_secs_f64() * 1e3,
        wall: wall.as_secs_f64() * 1e3,
    }
}

/// The processor's time of all threads of this process. The kernel brings a
/// thread's figure up to date when it sleeps.
fn cpu() -> Duration {
    std::thread::sleep(Duration::from_micros(50));
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Remembers that somebody was woken.
#[derive(Default)]
struct Woken(Mutex<Vec<usize>>);

struct Bell {
    at: usize,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().expect("nothing panics").push(self.at);
    }
}

/// Very many wait, polled by hand: what each costs, of the processor's time, while
/// it joins, waits, leaves and is let in by the end of another.
fn many(waiters: usize, priorities: u8) {
    let runtime = one_thread();
    let _context = runtime.enter();
    let woken = Arc::new(Woken::default());
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::concurrency(1));
    let limits = limits.max_waiting(usize::MAX).max_wait(60 * MINUTE);
    let limiter = limits.build().expect("valid");
    let charge = Charge::new().with(calls, 1);
    let held = limiter.try_acquire(charge, None).expect("nobody holds it");
    let terms = |at: usize| Priority::new((at % usize::from(priorities)) as u8);
    let mut all: Vec<Option<Pin<Box<Acquire>>>> =
        (0..waiters).map(|at| Some(Box::pin(limiter.acquire(charge, terms(at))))).collect();
    let bell = |at| Waker::from(Arc::new(Bell { at, woken: Arc::clone(&woken) }));
    let wakers: Vec<Waker> = (0..waiters).map(bell).collect();

    let start = cpu();
    let ((), allocated) = counted(|| {
        for (waiter, waker) in all.iter_mut().flatten().zip(&wakers) {
            assert!(waiter.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
    });
    let joined = (cpu() - start).as_nanos() as f64 / waiters as f64;
    let (bytes, future) = (allocated.bytes as f64 / waiters as f64, size_of::<Acquire>());
    println!("{bytes:>6.0} bytes of the queue for each waiter, besides the {future} of its future");
    println!("{joined:>6.0} ns to join");

    let leave: Vec<usize> = (5..waiters).step_by(10).collect();
    let start = cpu();
    leave.iter().for_each(|&at| all[at] = None);
    let left = (cpu() - start).as_nanos() as f64 / leave.len() as f64;
    println!("{left:>6.0} ns to leave from anywhere");

    let (mut served, mut polls) = (0_u32, 0_u32);
    let start = cpu();
    held.answered(now(), Settle::Keep);
    loop {
        let Some(at) = woken.0.lock().expect("nothing panics").pop() else { break };
        let Some(waiter) = &mut all[at] else { continue };
        polls += 1;
        if let Poll::Ready(ticket) = waiter.as_mut().poll(&mut Context::from_waker(&wakers[at])) {
            all[at] = None;
            served += 1;
            ticket.expect("none is refused").answered(now(), Settle::Keep);
        }
    }
    let nanos = (cpu() - start).as_nanos() as f64 / f64::from(served);
    let polls = f64::from(polls) / f64::from(served);
    assert_eq!(served as usize, waiters - leave.len(), "some were forgotten");
    println!("{nanos:>6.0} ns to be let in, with {polls:.2} polls, until the ticket has ended");
}

/// Very many tasks of an executor at a bucket of one per microsecond: what one
/// wake by the clock costs, the executor's part included.
fn by_the_clock(waiters: u32) {
    let runtime = one_thread();
    runtime.block_on(async {
        let (limiter, charge) = ours(Duration::from_millis(1), 1_000);
        limiter.close_until(now() + Duration::from_secs(4), GateReason::Manual);
        let tasks: Vec<_> = (0..waiters)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    limiter.acquire(charge, None).await.expect("none is refused").sent(now());
                })
            })
            .collect();
        tokio::task::yield_now().await;
        while limiter.status().waiting < waiters as usize {
            tokio::task::yield_now().await;
        }
        assert!(limiter.status().gate.is_some(), "the gate opened too early to measure");
        let (start, before) = (Instant::now(), cpu());
        for task in tasks {
            task.await.expect("nothing panics");
        }
        let cpu = (cpu() - before).as_nanos() as f64 / f64::from(waiters);
        let wall = start.elapsed().as_secs_f64();
        println!("{cpu:>6.0} ns of CPU to be let in by the clock, in {wall:.1} s");
    });
}
