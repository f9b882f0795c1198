//! Futures polled, handed on and dropped by plain threads, while the limits change.
//!
//! `cancellation.rs` tries all orders of whole operations; here they meet.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::time::Instant;
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, GateReason, Key, Limiter, Observation, Priority, ScopeId,
    Settle, Terms, Ticket, WhenFull,
};

const MS: Duration = Duration::from_millis(1);
const THREADS: u64 = 4;
const CALLS: usize = 3_000;
/// The most places that there ever are.
const PLACES: u64 = 4;

struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}

enum End {
    Through(Box<Ticket>),
    Refused,
    Left(Pin<Box<Acquire>>),
}

/// What all threads share.
struct World {
    limiter: Limiter,
    user: ScopeId,
    places: BudgetId,
    tokens: BudgetId,
    own: BudgetId,
    held: AtomicUsize,
    /// Futures that somebody has polled and left to whoever takes them.
    left: Mutex<Vec<Pin<Box<Acquire>>>>,
    refused: AtomicUsize,
    granted: AtomicUsize,
}

impl World {
    fn new() -> Self {
        let mut limits = Limiter::builder();
        let user = limits.scope("user");
        let places = limits.budget("places", Budget::concurrency(PLACES));
        let tokens = limits.budget("tokens", Budget::bucket(200, 20, MS));
        let own = Budget::rolling(20, 5 * MS).freed_by_answer(5 * MS).resolution(MS).per(user);
        let own = limits.budget("own", own);
        let limits = limits.max_keys(8).idle_after(MS).max_waiting(64).max_wait(500 * MS);
        let limits = limits.when_full(WhenFull::EvictLowest).after_gate(MS / 100, MS);
        let limiter = limits.build().expect("these are good");
        let (held, refused, granted) = Default::default();
        Self { limiter, user, places, tokens, own, held, left: Mutex::default(), refused, granted }
    }

    fn charge(&self, random: &mut fastrand::Rng) -> Charge {
        let charge = Charge::new().with(self.tokens, random.u32(1..5));
        let charge = charge.key(self.user, Key::from(random.u64(0..12)));
        match random.u8(..4) {
            0 => charge,
            1 => charge.with(self.own, random.u32(1..4)),
            2 => charge.with(self.places, 1),
            _ => charge.with(self.places, random.u32(1..3)).with(self.own, 1),
        }
    }

    /// Polls until it is through, or so many times at most.
    fn wait(&self, mut call: Pin<Box<Acquire>>, polls: usize) -> End {
        let woken = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let begun = Instant::now();
        for n in 1..=polls {
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(ticket)) => return End::Through(ticket.into()),
                Poll::Ready(Err(_)) => return End::Refused,
                Poll::Pending if n == polls => break,
                Poll::Pending => {}
            }
            while !woken.1.swap(false, Ordering::SeqCst) {
                // Its own longest wait, one deaf timekeeper after the other, and a slow machine.
                assert!(begun.elapsed() < 30_000 * MS, "it has been forgotten");
                thread::park_timeout(1_000 * MS);
            }
        }
        End::Left(call)
    }

    fn spend(&self, mut ticket: Ticket, random: &mut fastrand::Rng) {
        let places = ticket.charge().of(self.places) as usize;
        let before = self.held.fetch_add(places, Ordering::SeqCst);
        assert!(before + places <= PLACES as usize, "{before} and {places} places at once");
        let way = random.u8(..5);
        if way > 0 {
            ticket.sent(Instant::now());
        }
        if random.bool() {
            thread::yield_now();
        }
        self.held.fetch_sub(places, Ordering::SeqCst);
        match way {
            0 | 1 => drop(ticket),
            2 => ticket.answered(Instant::now(), Settle::Refund),
            _ => ticket.answered(Instant::now(), Settle::Keep),
        }
    }

    fn caller(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..CALLS {
            let terms = Terms::from(Priority::new(random.u8(0..11)));
            let terms = if random.u8(..8) == 0 { terms.no_wait() } else { terms };
            let charge = self.charge(&mut random);
            let taken = if random.bool() { self.left.lock().unwrap().pop() } else { None };
            let call = taken.unwrap_or_else(|| Box::pin(self.limiter.acquire(charge, terms)));
            let polls = if random.u8(..4) == 0 { random.usize(1..3) } else { usize::MAX };
            match self.wait(call, polls) {
                End::Through(ticket) => {
                    self.granted.fetch_add(1, Ordering::Relaxed);
                    self.spend(*ticket, &mut random);
                }
                End::Refused => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                End::Left(call) if random.bool() => self.left.lock().unwrap().push(call),
                End::Left(call) => drop(call),
            }
        }
    }

    /// Changes everything that can be changed, until told to stop.
    fn manager(&self, stop: &AtomicBool) {
        let mut random = fastrand::Rng::with_seed(99);
        while !stop.load(Ordering::SeqCst) {
            match random.u8(..8) {
                0 => self.limiter.shed(Priority::new(random.u8(0..6)), "storm"),
                1 => self.limiter.shed(Priority::LOWEST, ""),
                2 => self.limiter.set_limit(self.places, random.u64(1..=PLACES)),
                3 => self.limiter.set_limit(self.tokens, random.u64(0..300)),
                4 => self.limiter.set_limit(self.own, random.u64(1..30)),
                5 => self.limiter.close_until(Instant::now() + MS / 2, GateReason::Manual),
                6 => {
                    let (budget, remaining) = (self.tokens, random.u64(0..300));
                    let (limit, reset) = (None, None);
                    let level = Observation::Level { budget, limit, remaining, reset };
                    self.limiter.observe(&level);
                }
                _ => drop(self.limiter.status()),
            }
            // Those left behind may be the ones who keep the time.
            if random.u8(..16) == 0 {
                let left = std::mem::take(&mut *self.left.lock().unwrap());
                drop(left);
            }
            thread::park_timeout(MS / 4);
        }
    }
}

#[test]
fn threads_that_poll_hand_on_and_drop_at_will_leave_nothing_behind_and_nobody_asleep() {
    let time = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let entered = time.enter();
    let world = World::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (world, time) = (&world, time.handle());
                scope.spawn(move || {
                    let _entered = time.enter();
                    world.caller(seed);
                })
            })
            .collect();
        let manager = scope.spawn(|| {
            let _entered = time.enter();
            world.manager(&stop);
        });
        let done: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        stop.store(true, Ordering::SeqCst);
        manager.join().expect("the manager is done");
        done.into_iter().for_each(|done| done.expect("a caller is done"));
    });
    world.left.lock().unwrap().clear();
    let (granted, refused) = (world.granted.into_inner(), world.refused.into_inner());
    assert!(granted > CALLS && refused > 0, "{granted} went through, {refused} were refused");
    let limiter = world.limiter;
    limiter.shed(Priority::LOWEST, "");
    limiter.set_limit(world.places, PLACES);
    let status = limiter.status();
    assert_eq!((status.waiting, status.waiting_by_priority), (0, [0; 11]));
    assert!(status.budgets.iter().all(|budget| budget.waiting == 0), "{status:?}");
    assert_eq!(status.budget("places").map(|places| places.used), Some(0));
    drop(entered);
}
