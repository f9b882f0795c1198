use std::{fmt, future::Future, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Cadence, Checkpoint, FailedItem, Item, ItemId, LeaseId, PipelineId, Progress, StateError,
    Update,
};

/// The version of the tables. A change that older programs could not read raises it.
pub const SCHEMA_VERSION: i64 = 1;

/// What is known of a pipeline but its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineInfo {
    /// Its number.
    pub id: PipelineId,
    /// Its name. Several may have the same.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its phases, in order.
    pub phases: Vec<String>,
}

/// What [adding](crate::Pipeline::add) items did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Items that are new.
    pub added: u64,
    /// Items that the phase had already, and that were left as they are.
    pub known: u64,
}

/// The right of one worker to the items of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Until when it holds, by the store's clock.
    pub until: Timestamp,
}

/// What a worker got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The lease, if there was anything to claim.
    pub lease: Option<Lease>,
    /// Its items, the oldest first.
    pub items: Vec<Item>,
    /// When nothing was there: when the first of the leases that others hold on the phase runs out. With
    /// `None` as well, the phase has nothing left to do.
    pub others_until: Option<Timestamp>,
}

/// What [writing updates](crate::Pipeline::update) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Updates that were written.
    pub applied: u64,
    /// Items whose updates were not written, as the worker held them no more: its lease ran out, or the
    /// item was settled before. Nothing that these updates produce was added.
    pub stale: Vec<ItemId>,
    /// Items that the updates produced and that are new.
    pub produced: u64,
    /// The number of the checkpoint that was made with them.
    pub checkpoint: Option<u32>,
}

/// From where a pipeline goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// The failed, and what was in work when it stopped. What was never tried waits.
    #[default]
    FailedOnly,
    /// The failed and all that is pending or waits.
    All,
    /// As it was at this checkpoint: items that were settled after it are pending again, and those in
    /// work are taken from their workers. Later checkpoints are dropped.
    Checkpoint(u32),
    /// From the start of this phase: all items of this phase and of those after it are pending again.
    Phase(String),
}

/// What [resuming](crate::StateTracker::resume) found and did.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// Items that were settled or in work and are pending again.
    pub reset: u64,
    /// Items that are pending now, those included.
    pub pending: u64,
    /// Items that were never tried and are left out: see [`Resume::FailedOnly`].
    pub waiting: u64,
    /// Items that other workers hold under leases that have not run out.
    pub processing: u64,
    /// Phases whose counts did not fit their items, and were counted anew.
    pub recounted: Vec<String>,
    /// The checkpoint that was gone back to, or the newest.
    pub checkpoint: Option<Checkpoint>,
    /// The payload of that checkpoint or of the newest before it that has one.
    pub payload: Option<Vec<u8>>,
}

/// A worker's request for items.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// The phase.
    pub phase: &'a str,
    /// Who asks.
    pub worker: &'a str,
    /// At most so many items.
    pub limit: usize,
    /// How long the lease holds.
    pub lease: Duration,
    /// See [`PipelineConfig::max_lost_leases`](crate::PipelineConfig::max_lost_leases).
    pub max_lost_leases: u32,
}

/// Updates that are written in one transaction.
#[derive(Clone, Copy, Debug)]
pub struct SettleRequest<'a> {
    /// What became of items.
    pub updates: &'a [Update],
    /// When a checkpoint is due.
    pub cadence: Option<Cadence>,
    /// A checkpoint to be made in any case: its label and payload.
    pub checkpoint: Option<(&'a str, Option<&'a [u8]>)>,
}

/// What a checkpoint says of itself without being read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Its number.
    pub seq: u32,
    /// When it was made, if that can be read.
    pub at: Option<Timestamp>,
    /// What made it.
    pub label: String,
    /// Whether its checksum fits.
    pub is_sound: bool,
}

/// Where pipelines are kept; clones are handles of the same. Each method that writes is one transaction: it is there whole or not at
/// all, also when its future is dropped. `now` is the store's [`now`](Self::now), or a test's.
///
/// Implemented by [`SqliteStore`](crate::SqliteStore), by `PostgresStore` (feature `postgres`), and by
/// [`AnyStore`](crate::AnyStore), which is one of them by URL; by nothing else. Callers use it through
/// [`Pipeline`](crate::Pipeline), which also checks what is given to it.
///
/// # Errors
///
/// All methods: those of [`StateError`] that speak of the store; [`StateError::NoPipeline`] and its like
/// where a pipeline, phase or checkpoint is named that is not there.
#[allow(clippy::missing_errors_doc, reason = "told once, above")]
pub trait Store: fmt::Debug + Clone + Send + Sync + crate::sql::Sealed + 'static {
    /// The time by the clock that all who use the store have in common: the machine's for SQLite, the
    /// server's for PostgreSQL.
    fn now(&self) -> impl Future<Output = Result<Timestamp, StateError>> + Send;

    /// Makes a pipeline.
    fn create(
        &self,
        now: Timestamp,
        name: &str,
        phases: &[&str],
    ) -> impl Future<Output = Result<PipelineId, StateError>> + Send;

    /// What is known of a pipeline.
    fn info(
        &self,
        pipeline: PipelineId,
    ) -> impl Future<Output = Result<PipelineInfo, StateError>> + Send;

    /// Pipelines, the newest first, below a number if one is given.
    fn pipelines(
        &self,
        below: Option<PipelineId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<PipelineInfo>, StateError>> + Send;

    /// Removes a pipeline and all that belongs to it.
    fn remove(&self, pipeline: PipelineId) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Adds items to a phase.
    fn add(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        phase: &str,
        names: &[&str],
    ) -> impl Future<Output = Result<Added, StateError>> + Send;

    /// Takes back what leases that have run out held, then gives items to a worker.
    fn claim(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        request: &ClaimRequest<'_>,
    ) -> impl Future<Output = Result<Claim, StateError>> + Send;

    /// Lets a lease hold until a later time.
    fn renew(
        &self,
        pipeline: PipelineId,
        lease: LeaseId,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Ends the leases of a worker, or of all, and makes their items pending. Returns how many.
    fn revoke(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        worker: Option<&str>,
    ) -> impl Future<Output = Result<u64, StateError>> + Send;

    /// Writes what became of items, and a checkpoint when one is due or asked for.
    fn settle(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        request: &SettleRequest<'_>,
    ) -> impl Future<Output = Result<Settled, StateError>> + Send;

    /// Makes failed items pending: all, or those of a phase, a category or both. Returns how many.
    fn reset_failed(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        phase: Option<&str>,
        category: Option<&str>,
    ) -> impl Future<Output = Result<u64, StateError>> + Send;

    /// Gets a pipeline that stopped ready to go on.
    fn resume(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        from: &Resume,
        max_lost_leases: u32,
    ) -> impl Future<Output = Result<Resumed, StateError>> + Send;

    /// How far a pipeline has come.
    fn progress(
        &self,
        pipeline: PipelineId,
    ) -> impl Future<Output = Result<Progress, StateError>> + Send;

    /// Failed items by their number, of one phase or all, after one of them if one is given.
    fn failed(
        &self,
        pipeline: PipelineId,
        phase: Option<&str>,
        after: Option<ItemId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<FailedItem>, StateError>> + Send;

    /// How many items failed of each category, the most frequent first.
    fn failures(
        &self,
        pipeline: PipelineId,
    ) -> impl Future<Output = Result<Vec<(String, u64)>, StateError>> + Send;

    /// A checkpoint, or the newest, read back and verified.
    fn checkpoint(
        &self,
        pipeline: PipelineId,
        seq: Option<u32>,
    ) -> impl Future<Output = Result<Option<Checkpoint>, StateError>> + Send;

    /// The checkpoints that are kept, the oldest first.
    fn checkpoints(
        &self,
        pipeline: PipelineId,
    ) -> impl Future<Output = Result<Vec<CheckpointInfo>, StateError>> + Send;

    /// Removes a checkpoint: a corrupt one, say. Whether it was there.
    fn forget_checkpoint(
        &self,
        pipeline: PipelineId,
        seq: u32,
    ) -> impl Future<Output = Result<bool, StateError>> + Send;
}
