//! Tries every order of what can happen, up to a number of steps.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::runtime::Runtime;

/// How many more steps than by default; `EXPLORE_DEEPER` in the environment.
fn deeper() -> usize {
    std::env::var("EXPLORE_DEEPER").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A small world that can be set up again and again.
pub(crate) trait World: Sized {
    type Step: Copy + std::fmt::Debug;

    fn new() -> Self;

    /// What can happen now, always in the same order.
    fn steps(&self) -> Vec<Self::Step>;

    async fn take(&mut self, step: Self::Step);

    /// Ends it in one of several ways, and checks that nothing is left.
    async fn end(self, way: usize);

    /// How many ways of ending there are.
    const WAYS: usize;
}

/// Says which way led there if a check fails.
struct Told<S: std::fmt::Debug>(Vec<S>, usize);

impl<S: std::fmt::Debug> Drop for Told<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {:?}, ended in way {}", self.0, self.1);
        }
    }
}

/// Goes through all orders of at most `depth` steps, and ends each in all ways.
/// Returns how many orders there were.
pub(crate) fn explore<W: World>(depth: usize) -> usize {
    let run = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut path = vec![];
    let mut orders = 0;
    go::<W>(&run, &mut path, depth + deeper(), &mut orders);
    orders
}

fn go<W: World>(run: &Runtime, path: &mut Vec<W::Step>, left: usize, orders: &mut usize) {
    *orders += 1;
    let mut next = vec![];
    for way in 0..W::WAYS {
        run.block_on(async {
            let _told = Told(path.clone(), way);
            let mut world = W::new();
            for step in path.iter() {
                world.take(*step).await;
            }
            next = world.steps();
            world.end(way).await;
        });
    }
    if left == 0 {
        return;
    }
    for step in next {
        path.push(step);
        go::<W>(run, path, left - 1, orders);
        path.pop();
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future and whether it has been woken since it was last polled.
pub(crate) struct Task<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
    waker: Waker,
}

impl<F: Future> Task<F> {
    pub(crate) fn new(future: F) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        Self { future: Box::pin(future), flag, waker }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.flag.0.store(false, Ordering::SeqCst);
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    /// Goes to another task: what the one before hears is of no use any more.
    #[allow(dead_code, reason = "not every world moves its tasks")]
    pub(crate) fn move_away(&mut self) {
        self.flag = Arc::new(Flag(AtomicBool::new(false)));
        self.waker = Waker::from(Arc::clone(&self.flag));
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }
}

/// Longer than any period of these worlds, and no multiple of one.
pub(crate) const STEP: Duration = Duration::from_millis(13);
/// The periods of these worlds.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);
/// The longest wait.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(50);
/// How many steps of time are surely longer than that, and than all periods.
pub(crate) const ALL_STEPS: usize = 6;
