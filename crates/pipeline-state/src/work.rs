//! A worker: claims in batches, works on several items at once, writes in batches.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    time::Duration,
};

use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::{
    Item, Lease, MAX_BATCH, Pipeline, StateError, Store, Update, bounds::Problems, desk::Desk,
};

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
    fn check(&self, size: usize) -> Result<(), StateError> {
        let mut problems = Problems::default();
        for (what, value) in [("concurrency", self.concurrency), ("batch", self.batch)] {
            if !(1..=MAX_BATCH).contains(&value) {
                problems.add(|| format!("`{what}` is {value}, and must be from 1 to {MAX_BATCH}"));
            }
        }
        if !(1..=self.batch).contains(&size) {
            problems.add(|| format!("a group is of {size}, and must be from 1 to {}", self.batch));
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
        options.check(1)?;
        let mut work = work;
        self.drive(phase, options, 1, |items| {
            let works: Vec<F> = items.into_iter().map(&mut work).collect();
            async {
                let mut updates = Vec::with_capacity(works.len());
                for work in works {
                    updates.push(work.await);
                }
                updates
            }
        })
        .await
    }

    /// [Works](Self::work) on up to `size` items in one go, for services that take many in a call. The
    /// concurrency is that of groups. A claim is cut into groups, so the [batch](WorkOptions::batch)
    /// should be a multiple of the size; the last group of a claim may be smaller.
    ///
    /// An item that the updates say nothing of has failed, of category `no_update`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use pipeline_state::{PipelineConfig, StateTracker, WorkOptions};
    ///
    /// let tracker = StateTracker::open("sqlite::memory:", PipelineConfig::default()).await?;
    /// let pipeline = tracker.initialize("nightly", &["company"]).await?;
    /// pipeline.add("company", &["rust.org", "tower.org", "tokio.org"]).await?;
    /// let worked = pipeline
    ///     .work_in_groups("company", WorkOptions::default(), 25, async |items| {
    ///         // One call for all of them.
    ///         items.iter().map(|item| item.completed()).collect()
    ///     })
    ///     .await?;
    /// assert_eq!(worked.applied, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    ///
    /// As of [`work`](Self::work).
    ///
    /// # Errors
    ///
    /// As of [`work`](Self::work); [`StateError::Input`] for a size that is 0 or above the batch.
    pub async fn work_in_groups<F, W>(
        &self,
        phase: &str,
        options: WorkOptions,
        size: usize,
        work: W,
    ) -> Result<Worked, StateError>
    where
        W: FnMut(Vec<Item>) -> F,
        F: Future<Output = Vec<Update>>,
    {
        options.check(size)?;
        let mut work = work;
        let work = |items: Vec<Item>| {
            let asked = items.clone();
            let work = work(items);
            async move {
                let mut updates = work.await;
                let told: HashSet<_> = updates.iter().map(Update::item).collect();
                let left_out = asked.iter().filter(|item| !told.contains(&item.id));
                updates.extend(
                    left_out.map(|item| item.failed("no_update", "nothing was said of it")),
                );
                updates
            }
        };
        self.drive(phase, options, size, work).await
    }

    /// Works in groups, each of which says something of all its items.
    async fn drive<F, W>(
        &self,
        phase: &str,
        options: WorkOptions,
        size: usize,
        work: W,
    ) -> Result<Worked, StateError>
    where
        W: FnMut(Vec<Item>) -> F,
        F: Future<Output = Vec<Update>>,
    {
        let mut desk = Desk {
            options,
            size,
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
