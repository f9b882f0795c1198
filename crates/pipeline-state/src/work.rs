//! A worker: claims in batches, works on several items at once, writes in batches.

use std::{collections::VecDeque, future::Future, pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::{Item, Lease, MAX_BATCH, Pipeline, StateError, Store, Update, bounds::Problems};

/// How often a call that failed for a passing reason is said again before the worker gives up.
const RETRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest that an idle worker waits before it looks whether there is something to do.
const IDLE: Duration = Duration::from_secs(1);

/// How a worker goes about it: see [`Pipeline::work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// Items worked on at once. From 1 to [`MAX_BATCH`]. Default: 8.
    pub concurrency: usize,
    /// Items of one claim, and updates after which they are written at the latest. From 1 to
    /// [`MAX_BATCH`]. Default: 100.
    pub batch: usize,
    /// The longest that a finished item waits for others to be written with it. Default: 1 s.
    pub linger: Duration,
}

impl Default for WorkOptions {
    fn default() -> Self {
        Self { concurrency: 8, batch: 100, linger: Duration::from_secs(1) }
    }
}

impl WorkOptions {
    fn check(&self) -> Result<(), StateError> {
        let mut problems = Problems::default();
        for (what, value) in [("concurrency", self.concurrency), ("batch", self.batch)] {
            if !(1..=MAX_BATCH).contains(&value) {
                problems.add(|| format!("`{what}` is {value}, and must be from 1 to {MAX_BATCH}"));
            }
        }
        problems.finish()
    }
}

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Items whose updates were written.
    pub applied: u64,
    /// Items whose updates were not, as they had gone to others: the worker's leases ran out, or the
    /// answer to a write was lost and it was said twice.
    pub stale: u64,
    /// Items that the updates produced and that are new.
    pub produced: u64,
}

impl<S: Store> Pipeline<S> {
    /// Works on a phase until nothing is left of it: not pending, and not held by others who may die
    /// yet. Claims in batches, keeps several items in work, renews its leases at a third of their time,
    /// and writes in batches while work goes on. Passing failures of the store are tried again for six
    /// seconds. Runs in the caller's task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use pipeline_state::{PipelineConfig, StateTracker, WorkOptions};
    ///
    /// let tracker = StateTracker::open("sqlite::memory:", PipelineConfig::default()).await?;
    /// let pipeline = tracker.initialize("nightly", &["search", "company"]).await?;
    /// pipeline.add("search", &["rust", "tower", "tokio"]).await?;
    /// let options = WorkOptions { concurrency: 2, ..WorkOptions::default() };
    /// let worked = pipeline
    ///     .work("search", options, async |item| match item.name.as_str() {
    ///         "tower" => item.failed("timeout", "no answer in 30 s"),
    ///         name => item.completed().produces("company", [format!("{name}.org")]),
    ///     })
    ///     .await?;
    /// assert_eq!((worked.applied, worked.produced), (3, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops what is in work; finished items that were not written yet are done again. Its
    /// items come back when its leases run out, or at once with [`revoke`](Self::revoke).
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] for options that cannot work; those of [`claim`](Self::claim) and
    /// [`update`](Self::update).
    pub async fn work<F, W>(
        &self,
        phase: &str,
        options: WorkOptions,
        work: W,
    ) -> Result<Worked, StateError>
    where
        W: FnMut(Item) -> F,
        F: Future<Output = Update>,
    {
        options.check()?;
        let mut desk = Desk {
            options,
            work,
            waiting: VecDeque::new(),
            at_work: FuturesUnordered::new(),
            finished: Vec::new(),
            since: Instant::now(),
        };
        let mut leases = Leases::default();
        let mut worked = Worked::default();
        let renew_every = (self.lease_time() / 3).max(Duration::from_millis(1));
        let mut renewals = interval_at(Instant::now() + renew_every, renew_every);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Whether the last claim found nothing: then the next one waits for something to be written.
        let mut dry = false;
        loop {
            desk.begin();
            if desk.waiting.is_empty() && desk.at_work.len() < options.concurrency && !dry {
                let claim = desk.beside(again(|| self.claim(phase, options.batch))).await?;
                dry = claim.items.is_empty();
                if dry && desk.is_empty() {
                    let Some(until) = claim.others_until else { return Ok(worked) };
                    let left = until.duration_since(again(|| self.now()).await?);
                    sleep(Duration::try_from(left).unwrap_or_default().min(IDLE)).await;
                    dry = false;
                }
                leases.add(claim.lease, claim.items.len());
                desk.waiting.extend(claim.items);
                continue;
            }
            if desk.should_write() {
                let updates = std::mem::take(&mut desk.finished);
                for updates in updates.chunks(MAX_BATCH) {
                    let settled = desk.beside(again(|| self.update(updates))).await?;
                    worked.applied += settled.applied;
                    worked.stale += settled.stale.len() as u64;
                    worked.produced += settled.produced;
                }
                leases.settle(&updates);
                // It may have produced items of this very phase.
                dry = false;
                continue;
            }
            tokio::select! {
                () = desk.next() => {}
                _ = renewals.tick() => desk.beside(self.renew_all(&mut leases)).await?,
            }
        }
    }

    async fn renew_all(&self, leases: &mut Leases) -> Result<(), StateError> {
        for lease in leases.0.iter_mut().map(|(lease, _)| lease) {
            match self.renew(*lease).await {
                Ok(renewed) => *lease = renewed,
                // Its items are others' now, and their updates will be stale.
                Err(StateError::LeaseLost) => {}
                // There is a next time before the lease runs out.
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is held, and how many items of each are not settled.
#[derive(Debug, Default)]
struct Leases(Vec<(Lease, usize)>);

impl Leases {
    fn add(&mut self, lease: Option<Lease>, items: usize) {
        self.0.extend(lease.map(|lease| (lease, items)));
    }

    fn settle(&mut self, updates: &[Update]) {
        for update in updates {
            // Few are held at a time: one or two claims' worth.
            if let Some((_, left)) = self.0.iter_mut().find(|(lease, _)| lease.id == update.lease) {
                *left = left.saturating_sub(1);
            }
        }
        self.0.retain(|(_, left)| *left > 0);
    }
}

/// What a worker has before it.
struct Desk<F, W> {
    options: WorkOptions,
    work: W,
    /// Claimed and not begun.
    waiting: VecDeque<Item>,
    at_work: FuturesUnordered<F>,
    finished: Vec<Update>,
    /// When the first of `finished` was.
    since: Instant,
}

impl<F, W> Desk<F, W>
where
    W: FnMut(Item) -> F,
    F: Future<Output = Update>,
{
    fn begin(&mut self) {
        while self.at_work.len() < self.options.concurrency {
            let Some(item) = self.waiting.pop_front() else { break };
            self.at_work.push((self.work)(item));
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.at_work.is_empty() && self.finished.is_empty()
    }

    fn should_write(&self) -> bool {
        let idle = self.at_work.is_empty() && self.waiting.is_empty();
        match self.finished.len() {
            0 => false,
            count => {
                count >= self.options.batch || idle || self.since.elapsed() >= self.options.linger
            }
        }
    }

    fn finish(&mut self, update: Update) {
        if self.finished.is_empty() {
            self.since = Instant::now();
        }
        self.finished.push(update);
        self.begin();
    }

    /// Until an item is finished, or those that are have waited long enough.
    async fn next(&mut self) {
        let linger = async {
            match self.finished.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep_until(self.since + self.options.linger).await,
            }
        };
        tokio::select! {
            biased;
            Some(update) = self.at_work.next() => self.finish(update),
            () = linger => {}
        }
    }

    /// Goes on with the work while something else is waited for.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                Some(update) = self.at_work.next() => self.finish(update),
            }
        }
    }
}

/// Says a call again that failed for a passing reason.
async fn again<T, F>(mut call: impl FnMut() -> F) -> Result<T, StateError>
where
    F: Future<Output = Result<T, StateError>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 0..RETRIES {
        match call().await {
            Err(error) if error.is_transient() => {
                tracing::warn!(
                    target: "pipeline_state", event = "store_retried",
                    error = %error, pause_ms = pause.as_millis(),
                );
                sleep(pause).await;
                pause *= 2;
            }
            done => return done,
        }
    }
    call().await
}
