//! What both databases share: one transaction type, and the statements on it.

mod claim;
mod file;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod resume;
mod schema;
mod sqlite;
mod tx;
mod write;

use std::fmt;

use jiff::Timestamp;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::sqlite::SqliteStore;
pub(crate) use self::tx::Tx;
use crate::{
    Added, Checkpoint, Claim, FailedItem, ItemId, LeaseId, PipelineId, PipelineInfo, Progress,
    Resume, Resumed, Settled, StateError, Store, Update,
    plan::Plan,
    store::{CheckpointInfo, ClaimRequest, SettleRequest},
};

type Result<T, E = StateError> = std::result::Result<T, E>;

/// Implemented here and nowhere else.
pub trait Sealed {}

impl<B: Backend> Sealed for B {}

/// A database that can begin a transaction; the rest is the same for all.
pub(crate) trait Backend: fmt::Debug + Clone + Send + Sync + 'static {
    /// To write.
    fn begin(&self) -> impl Future<Output = Result<Tx>> + Send;
    /// To write what need not be on the disk before the next [`begin`](Self::begin) is.
    fn begin_lightly(&self) -> impl Future<Output = Result<Tx>> + Send {
        self.begin()
    }
    /// To read, all of it as it is at one moment; keeps nobody waiting.
    fn look(&self) -> impl Future<Output = Result<Tx>> + Send;
    fn clock(&self) -> impl Future<Output = Result<Timestamp>> + Send;
}

impl<B: Backend> Store for B {
    async fn now(&self) -> Result<Timestamp> {
        self.clock().await
    }

    async fn create(&self, now: Timestamp, name: &str, phases: &[&str]) -> Result<PipelineId> {
        let mut tx = self.begin().await?;
        let id = write::create(&mut tx, now, name, phases).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn info(&self, pipeline: PipelineId) -> Result<PipelineInfo> {
        let mut tx = self.look().await?;
        read::info(&mut tx, pipeline).await
    }

    async fn pipelines(
        &self,
        below: Option<PipelineId>,
        limit: usize,
    ) -> Result<Vec<PipelineInfo>> {
        let mut tx = self.look().await?;
        read::pipelines(&mut tx, below, limit).await
    }

    async fn remove(&self, pipeline: PipelineId) -> Result<()> {
        let mut tx = self.begin().await?;
        write::remove(&mut tx, pipeline).await?;
        tx.commit().await
    }

    async fn add(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        phase: &str,
        names: &[&str],
    ) -> Result<Added> {
        let mut tx = self.begin().await?;
        let run = tx.lock(pipeline).await?;
        let added = write::add(&mut tx, now, &run, phase, names).await?;
        tx.commit().await?;
        Ok(Added { added, known: names.len() as u64 - added })
    }

    async fn claim(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        request: &ClaimRequest<'_>,
    ) -> Result<Claim> {
        let mut tx = self.begin_lightly().await?;
        let claim = claim::claim(&mut tx, now, pipeline, request).await?;
        tx.commit().await?;
        Ok(claim)
    }

    async fn renew(&self, pipeline: PipelineId, lease: LeaseId, until: Timestamp) -> Result<()> {
        let mut tx = self.begin_lightly().await?;
        claim::renew(&mut tx, pipeline, lease, until).await?;
        tx.commit().await
    }

    async fn revoke(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        worker: Option<&str>,
    ) -> Result<u64> {
        let mut tx = self.begin().await?;
        let count = claim::revoke(&mut tx, now, pipeline, worker).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn settle(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        request: &SettleRequest<'_>,
    ) -> Result<Settled> {
        let plan = Plan::new(request.updates);
        let mut tx = self.begin().await?;
        if let Some(mut settled) = write::settle(&mut tx, now, pipeline, &plan, request).await? {
            tx.commit().await?;
            settled.stale = plan.repeated;
            return Ok(settled);
        }
        // Some are held no more. It is undone, those are left out, and it is done again.
        tx.rollback().await?;
        let mut tx = self.begin().await?;
        let held = write::held(&mut tx, pipeline, &plan).await?;
        let is_held = |update: &&Update| held.contains(&(update.lease, update.item));
        let (ours, lost): (Vec<_>, Vec<_>) = request.updates.iter().partition(is_held);
        let mut stale: Vec<_> = lost.iter().map(|update| update.item).collect();
        let plan = Plan::new(ours);
        stale.extend(&plan.repeated);
        let settled = write::settle(&mut tx, now, pipeline, &plan, request).await?;
        let settled = settled.ok_or_else(|| {
            StateError::Content("an item that changes while it is locked".to_owned())
        })?;
        tx.commit().await?;
        Ok(Settled { stale, ..settled })
    }

    async fn reset_failed(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        phase: Option<&str>,
        category: Option<&str>,
    ) -> Result<u64> {
        let mut tx = self.begin().await?;
        let count = resume::reset_failed(&mut tx, now, pipeline, phase, category).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn resume(
        &self,
        now: Timestamp,
        pipeline: PipelineId,
        from: &Resume,
        max_lost_leases: u32,
    ) -> Result<Resumed> {
        let mut tx = self.begin().await?;
        let resumed = resume::resume(&mut tx, now, pipeline, from, max_lost_leases).await?;
        tx.commit().await?;
        Ok(resumed)
    }

    async fn progress(&self, pipeline: PipelineId) -> Result<Progress> {
        let mut tx = self.look().await?;
        Ok(read::progress(&mut tx, pipeline).await?.1)
    }

    async fn failed(
        &self,
        pipeline: PipelineId,
        phase: Option<&str>,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<FailedItem>> {
        let mut tx = self.look().await?;
        read::failed(&mut tx, pipeline, phase, after, limit).await
    }

    async fn failures(&self, pipeline: PipelineId) -> Result<Vec<(String, u64)>> {
        let mut tx = self.look().await?;
        read::failures(&mut tx, pipeline).await
    }

    async fn checkpoint(
        &self,
        pipeline: PipelineId,
        seq: Option<u32>,
    ) -> Result<Option<Checkpoint>> {
        let mut tx = self.look().await?;
        tx.find(pipeline).await?;
        read::checkpoint(&mut tx, pipeline, seq).await
    }

    async fn checkpoints(&self, pipeline: PipelineId) -> Result<Vec<CheckpointInfo>> {
        let mut tx = self.look().await?;
        tx.find(pipeline).await?;
        read::checkpoints(&mut tx, pipeline).await
    }

    async fn forget_checkpoint(&self, pipeline: PipelineId, seq: u32) -> Result<bool> {
        let mut tx = self.begin().await?;
        let was_there = write::forget_checkpoint(&mut tx, pipeline, seq).await?;
        tx.commit().await?;
        Ok(was_there)
    }
}
