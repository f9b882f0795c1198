//! Very many that wait, in one line or each in its own: no step takes longer for
//! that. `-- --nocapture` prints how long; `SCALE_WAITERS` sets how many.

use std::{task::Poll, time::Duration};

use tokio::time::{Instant, advance};
use tokio_test::task::{self, Spawn};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, GateReason, Key, Limiter, Priority, ScopeId, Ticket,
};

const SECOND: Duration = Duration::from_secs(1);
/// What takes a time that grows with the square of the number takes longer, and
/// what grows with the number does not, even on a slow machine.
const MOST: Duration = Duration::from_secs(10);

fn many() -> usize {
    std::env::var("SCALE_WAITERS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures")]
fn timed<T>(what: &str, n: usize, run: impl FnOnce() -> T) -> T {
    let start = std::time::Instant::now();
    let result = run();
    let took = start.elapsed();
    eprintln!("{what:30} {n:8} in {took:10.1?}, {:9.2?} each", took / n.max(1) as u32);
    assert!(took < MOST, "{what}: {took:?}");
    result
}

struct Crowd {
    limiter: Limiter,
    user: ScopeId,
    places: BudgetId,
    own: BudgetId,
    all: Vec<Spawn<Acquire>>,
    held: Option<Ticket>,
}

impl Crowd {
    /// So many calls that wait for one place; each also for its own budget if they
    /// are `keyed`.
    fn new(n: usize, keyed: bool) -> Self {
        let mut limits = Limiter::builder().max_waiting(n).max_keys(n);
        let user = limits.scope("user");
        let places = limits.budget("places", Budget::concurrency(1));
        let own = limits.budget("own", Budget::bucket(1, 1, SECOND).per(user));
        let limiter = limits.build().unwrap();
        let held = limiter.try_acquire(Charge::new().with(places, 1), None).ok();
        let mut crowd = Self { limiter, user, places, own, all: vec![], held };
        timed("come", n, || {
            for n in 0..n as u64 {
                let priority = if n % 2 == 0 { Priority::LOW } else { Priority::HIGH };
                let charge = crowd.charge(n, keyed);
                let mut call = task::spawn(crowd.limiter.acquire(charge, priority));
                assert!(call.poll().is_pending());
                crowd.all.push(call);
            }
        });
        assert_eq!(crowd.limiter.status().waiting, n);
        crowd
    }

    fn charge(&self, n: u64, keyed: bool) -> Charge {
        let charge = Charge::new().with(self.places, 1).key(self.user, Key::from(n));
        if keyed { charge.with(self.own, 1) } else { charge }
    }

    /// Polls all who were woken; returns how many are through and how many refused.
    fn settle(&mut self) -> (usize, usize) {
        let (mut through, mut refused) = (0, 0);
        self.all.retain_mut(|call| {
            let polled = if call.is_woken() { call.poll() } else { Poll::Pending };
            match polled {
                Poll::Ready(Ok(_)) => through += 1,
                Poll::Ready(Err(_)) => refused += 1,
                Poll::Pending => {}
            }
            polled.is_pending()
        });
        (through, refused)
    }
}

async fn all_that_can_befall_a_crowd(n: usize, keyed: bool) {
    let mut crowd = Crowd::new(n, keyed);
    timed("status", 10, || (0..10).for_each(|_| drop(crowd.limiter.status())));
    timed("leave, the last first", n / 4, || crowd.all.truncate(3 * n / 4));
    timed("leave, the first first", n / 4, || drop(crowd.all.drain(..n / 4)));
    crowd.held = None;
    timed("go one after the other", n / 2, || while crowd.settle().0 > 0 {});
    assert_eq!(crowd.all.len(), 0);

    let mut crowd = Crowd::new(n, keyed);
    let limit = n as u64 + 1;
    timed("may all go", n, || crowd.limiter.set_limit(crowd.places, limit));
    timed("go", n, || while crowd.settle().0 > 0 {});
    assert_eq!(crowd.all.len(), 0);

    let mut crowd = Crowd::new(n, keyed);
    timed("are turned away, half of them", n, || crowd.limiter.shed(Priority::HIGH, "too many"));
    timed("hear of it", n, || assert_eq!(crowd.settle(), (0, n / 2)));

    let mut crowd = Crowd::new(n, keyed);
    timed("find the gate closed", n, || {
        crowd.limiter.close_until(Instant::now() + 1_000 * SECOND, GateReason::Manual);
    });
    timed("hear of it", n, || assert_eq!(crowd.settle(), (0, n)));

    let mut crowd = Crowd::new(n, keyed);
    crowd.limiter.close_until(Instant::now() + SECOND, GateReason::Manual);
    crowd.limiter.set_limit(crowd.places, limit);
    advance(100 * SECOND).await;
    timed("find the gate open", n, || while crowd.settle().0 > 0 {});
    assert_eq!(crowd.all.len(), 0);

    let mut crowd = Crowd::new(n, keyed);
    advance(301 * SECOND).await;
    timed("have waited for too long", n, || while crowd.settle().1 > 0 {});
    assert_eq!((crowd.all.len(), crowd.limiter.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_in_one_line_is_no_trouble() {
    all_that_can_befall_a_crowd(many(), false).await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_which_each_pays_for_himself_is_no_trouble() {
    all_that_can_befall_a_crowd(many(), true).await;
}
