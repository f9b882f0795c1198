//! What is left when nobody waits any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{Acquire, Budget, Key as Payer, Limiter, Terms};

impl Queue {
    /// How many things there is room for without asking for memory.
    fn room(&self) -> usize {
        let slots = self.slots.capacity() + self.free.capacity();
        let lines = self.lines.capacity() + self.free_lines.capacity() + self.up.capacity();
        slots + lines + self.line_of.capacity() + self.waiting_at.capacity() + self.stops.room()
    }

    /// Nobody waits, and nothing speaks of anybody who did.
    fn is_as_new(&self) -> bool {
        let sets = [self.all.len(), self.in_line.len(), self.deadlines.len(), self.stops.len()];
        let maps = [self.line_of.len(), self.waiting_at.len(), self.up.len()];
        let vecs = [self.slots.len() - self.free.len(), self.lines.len() - self.free_lines.len()];
        let none = |lens: &[usize]| lens.iter().all(|&len| len == 0);
        none(&sets)
            && none(&maps)
            && none(&vecs)
            && self.need == [0; MAX_BUDGETS]
            && none(&self.by_priority)
            && self.leader.is_none()
    }
}

fn limiter(most: usize) -> (Limiter, impl Fn(u64) -> Charge) {
    let mut limits = Limiter::builder().max_waiting(most).max_keys(2 * most);
    let user = limits.scope("user");
    let places = limits.budget("places", Budget::concurrency(2));
    let own = limits.budget("own", Budget::bucket(2, 1, Duration::from_secs(1)).per(user));
    let limiter = limits.build().unwrap();
    let charge = move |n: u64| {
        let charge = Charge::new().key(user, Payer::from(n));
        charge.with(places, (n % 3) as u32).with(own, (n % 2 + 1) as u32)
    };
    (limiter, charge)
}

type Polled = Poll<<Acquire as Future>::Output>;

fn poll(call: &mut Pin<Box<Acquire>>) -> Polled {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn queue<T>(limiter: &Limiter, look: impl FnOnce(&Queue) -> T) -> T {
    limiter.with(Instant::now(), |core, _, _| look(&core.queue))
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_has_gone_leaves_no_memory_behind() {
    let (limiter, charge) = limiter(30_000);
    let before = queue(&limiter, Queue::room);
    let _held = limiter.try_acquire(charge(5), None).unwrap();
    let mut crowd: Vec<_> =
        (0..30_000).map(|n| Box::pin(limiter.acquire(charge(6 * n + 2), None))).collect();
    assert!(crowd.iter_mut().all(|call| poll(call).is_pending()));
    assert!(queue(&limiter, Queue::room) > 30_000);
    drop(crowd);
    assert!(queue(&limiter, Queue::is_as_new));
    assert!(queue(&limiter, Queue::room) <= before + CROWD);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Calls that come, are polled, let through, refused and dropped in any order.
    #[test]
    fn the_queue_is_as_new_when_all_have_gone(
        steps in prop::collection::vec((0..5_u8, any::<usize>(), 0..9_u64, 0..11_u8), 1..80),
    ) {
        let run = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        run.block_on(async {
            let (limiter, charge) = limiter(8);
            let (mut calls, mut tickets) = (vec![], vec![]);
            for (step, at, n, level) in steps {
                match step {
                    0 => {
                        let terms = Terms::from(Priority::new(level));
                        calls.push(Box::pin(limiter.acquire(charge(n), terms)));
                    }
                    1 if !calls.is_empty() => {
                        let at = at % calls.len();
                        if let Poll::Ready(result) = poll(&mut calls[at]) {
                            tickets.extend(result);
                            drop(calls.swap_remove(at));
                        }
                    }
                    2 if !calls.is_empty() => drop(calls.swap_remove(at % calls.len())),
                    3 if !tickets.is_empty() => drop(tickets.swap_remove(at % tickets.len())),
                    _ => tokio::time::advance(Duration::from_millis(n * 100)).await,
                }
            }
            drop((calls, tickets));
            let left = queue(&limiter, |queue| (!queue.is_as_new()).then(|| format!("{queue:?}")));
            prop_assert_eq!(left, None);
            Ok(())
        })?;
    }
}
