use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Added, Checkpoint, Claim, FailedItem, ItemId, Lease, MAX_BATCH, MAX_PAYLOAD, Outcome,
    PipelineId, PipelineInfo, Progress, Settled, StateError, StateTracker, Store, Update,
    bounds::Problems,
    store::{CheckpointInfo, ClaimRequest, SettleRequest},
};

/// One pipeline, as one worker sees it.
///
/// # What is shared
///
/// Everything: clones and other processes that [joined](StateTracker::join) work on the same items,
/// and no item is given to two of them.
///
/// # Cancellation
///
/// Every call is one transaction, or several where it says so. A future that is dropped has written the
/// transaction it was in, or has not; in doubt say it again: what was written is then `stale` or `known`.
/// What a [claim](Self::claim) whose answer nobody took had got comes back when its lease runs out.
#[derive(Clone, Debug)]
pub struct Pipeline<S = crate::AnyStore> {
    tracker: StateTracker<S>,
    id: PipelineId,
}

impl<S: Store> Pipeline<S> {
    pub(crate) const fn new(tracker: StateTracker<S>, id: PipelineId) -> Self {
        Self { tracker, id }
    }

    /// Its number, to [go on](StateTracker::resume) with it later.
    #[must_use]
    pub const fn id(&self) -> PipelineId {
        self.id
    }

    pub(crate) const fn lease_time(&self) -> Duration {
        self.tracker.config.lease()
    }

    pub(crate) async fn now(&self) -> Result<Timestamp, StateError> {
        self.tracker.now().await
    }

    /// Its name, its phases, when it was made.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn info(&self) -> Result<PipelineInfo, StateError> {
        self.tracker.store.info(self.id).await
    }

    /// Adds items to a phase. Names that the phase has already are left as they are, so this may be
    /// said again. One transaction for each [`MAX_BATCH`] names.
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] lists every name that is empty, too long or holds a NUL: nothing is added
    /// then. [`StateError::NoPhase`]; the store's.
    pub async fn add<N: AsRef<str>>(&self, phase: &str, names: &[N]) -> Result<Added, StateError> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let mut problems = Problems::default();
        names.iter().for_each(|name| problems.name("item", name));
        problems.finish()?;
        let (store, now) = (&self.tracker.store, self.tracker.now().await?);
        let mut sum = Added::default();
        for batch in names.chunks(MAX_BATCH) {
            let added = store.add(now, self.id, phase, batch).await?;
            sum = Added { added: sum.added + added.added, known: sum.known + added.known };
        }
        Ok(sum)
    }

    /// Claims up to `limit` pending items of a phase, the oldest first, for this worker and the
    /// configured [lease](crate::PipelineConfig::lease). Takes back what dead workers held first.
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] for a limit of 0 or above [`MAX_BATCH`]; [`StateError::NoPhase`]; the store's.
    #[doc(alias = "get_pending_items")]
    pub async fn claim(&self, phase: &str, limit: usize) -> Result<Claim, StateError> {
        let StateTracker { store, config, worker, .. } = &self.tracker;
        let mut problems = Problems::default();
        problems.name("worker", worker);
        problems.at_most("items in a claim", limit, MAX_BATCH);
        if limit == 0 {
            problems.add(|| "a claim of no items".to_owned());
        }
        problems.finish()?;
        let (lease, max_lost_leases) = (config.lease(), config.max_lost_leases());
        let request = ClaimRequest { phase, worker, limit, lease, max_lost_leases };
        store.claim(self.tracker.now().await?, self.id, &request).await
    }

    /// Lets a lease hold for its whole time again, from now on.
    ///
    /// # Errors
    ///
    /// [`StateError::LeaseLost`] if it has run out and its items went elsewhere; the store's.
    pub async fn renew(&self, lease: Lease) -> Result<Lease, StateError> {
        let now = self.tracker.now().await?;
        let length = SignedDuration::try_from(self.tracker.config.lease());
        let until = now.checked_add(length.unwrap_or(SignedDuration::MAX));
        let until = until.unwrap_or(Timestamp::MAX);
        self.tracker.store.renew(self.id, lease.id, until).await?;
        Ok(Lease { until, ..lease })
    }

    /// Ends the leases of the worker of this name, known to be dead, or of all: their items are
    /// pending at once. Whoever still works on them finds its updates `stale`. Returns how many.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn revoke(&self, worker: Option<&str>) -> Result<u64, StateError> {
        self.tracker.store.revoke(self.tracker.now().await?, self.id, worker).await
    }

    /// Writes what became of items in one transaction, with a checkpoint if one is due.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use pipeline_state::{PipelineConfig, StateTracker};
    /// let tracker = StateTracker::open("sqlite::memory:", PipelineConfig::default()).await?;
    /// let pipeline = tracker.initialize("nightly", &["search", "company"]).await?;
    /// pipeline.add("search", &["rust", "tower"]).await?;
    /// let claim = pipeline.claim("search", 100).await?;
    /// let done = pipeline
    ///     .update(&[
    ///         claim.items[0].completed().produces("company", ["rust-lang.org"]),
    ///         claim.items[1].failed("rate_limit", "429 Too Many Requests"),
    ///     ])
    ///     .await?;
    /// assert_eq!((done.applied, done.produced), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] lists every category or name that cannot be kept, and items of another
    /// pipeline; more than [`MAX_BATCH`] updates or produced names are refused. [`StateError::NoPhase`]
    /// for a phase that gets items and is none. The store's.
    #[doc(alias = "update_state")]
    pub async fn update(&self, updates: &[Update]) -> Result<Settled, StateError> {
        self.settle(updates, None).await
    }

    /// Makes a checkpoint, at a boundary that the caller knows. The label is a word of his; the payload
    /// is what he wants back when the pipeline is resumed.
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] for a label that is empty or too long or a payload of more than
    /// [`MAX_PAYLOAD`] bytes; the store's.
    #[doc(alias = "create_checkpoint")]
    pub async fn checkpoint(&self, label: &str, payload: Option<&[u8]>) -> Result<u32, StateError> {
        self.update_with_checkpoint(&[], label, payload)
            .await
            .map(|settled| settled.checkpoint.unwrap_or_default())
    }

    /// [Writes updates](Self::update) and makes a [checkpoint](Self::checkpoint) in one transaction:
    /// the items of a page and the cursor of the next, say.
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub async fn update_with_checkpoint(
        &self,
        updates: &[Update],
        label: &str,
        payload: Option<&[u8]>,
    ) -> Result<Settled, StateError> {
        self.settle(updates, Some((label, payload))).await
    }

    async fn settle(
        &self,
        updates: &[Update],
        checkpoint: Option<(&str, Option<&[u8]>)>,
    ) -> Result<Settled, StateError> {
        self.check(updates, checkpoint)?;
        let cadence = self.tracker.config.cadence();
        let request = SettleRequest { updates, cadence, checkpoint };
        self.tracker.store.settle(self.tracker.now().await?, self.id, &request).await
    }

    fn check(
        &self,
        updates: &[Update],
        checkpoint: Option<(&str, Option<&[u8]>)>,
    ) -> Result<(), StateError> {
        let mut problems = Problems::default();
        problems.at_most("updates in a batch", updates.len(), MAX_BATCH);
        let mut produced = 0;
        for update in updates {
            if update.pipeline != self.id {
                problems.add(|| format!("item {} is of pipeline {}", update.item, update.pipeline));
            }
            if let Outcome::Failed(failure) = &update.outcome {
                problems.category(&failure.category);
            }
            for (_, names) in &update.produces {
                names.iter().for_each(|name| problems.name("item", name));
                produced += names.len();
            }
        }
        problems.at_most("produced items in a batch", produced, MAX_BATCH);
        if let Some((label, payload)) = checkpoint {
            problems.name("label", label);
            problems.at_most("bytes of payload", payload.map_or(0, <[u8]>::len), MAX_PAYLOAD);
        }
        problems.finish()
    }

    /// Makes failed items pending: all, or those of a phase, of a category or of both. Returns how many.
    ///
    /// # Errors
    ///
    /// [`StateError::NoPhase`]; the store's.
    #[doc(alias = "reset_failed_items")]
    pub async fn reset_failed(
        &self,
        phase: Option<&str>,
        category: Option<&str>,
    ) -> Result<u64, StateError> {
        let now = self.tracker.now().await?;
        self.tracker.store.reset_failed(now, self.id, phase, category).await
    }

    /// How far it has come, by phase.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn progress(&self) -> Result<Progress, StateError> {
        self.tracker.store.progress(self.id).await
    }

    /// Failed items by their number, of a phase or of all; the next page is that `after` its last.
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] for a limit above [`MAX_BATCH`]; [`StateError::NoPhase`]; the store's.
    pub async fn failed(
        &self,
        phase: Option<&str>,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<FailedItem>, StateError> {
        let mut problems = Problems::default();
        problems.at_most("items in a page", limit, MAX_BATCH);
        problems.finish()?;
        self.tracker.store.failed(self.id, phase, after, limit).await
    }

    /// How many items failed of each category, the most frequent first.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn failures(&self) -> Result<Vec<(String, u64)>, StateError> {
        self.tracker.store.failures(self.id).await
    }

    /// A checkpoint, or the newest, verified.
    ///
    /// # Errors
    ///
    /// [`StateError::CorruptCheckpoint`]; the store's.
    pub async fn read_checkpoint(
        &self,
        seq: Option<u32>,
    ) -> Result<Option<Checkpoint>, StateError> {
        self.tracker.store.checkpoint(self.id, seq).await
    }

    /// The checkpoints that are kept, the oldest first, and whether each is sound.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn checkpoints(&self) -> Result<Vec<CheckpointInfo>, StateError> {
        self.tracker.store.checkpoints(self.id).await
    }

    /// Removes a checkpoint: one that is corrupt, so that the pipeline can be resumed. Whether it was
    /// there.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn forget_checkpoint(&self, seq: u32) -> Result<bool, StateError> {
        self.tracker.store.forget_checkpoint(self.id, seq).await
    }
}
