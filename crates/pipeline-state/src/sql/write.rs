//! What makes pipelines and items, and what settles them.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use super::{
    Result, read,
    tx::{Arg, Run, Tx},
};
use crate::{
    Checkpoint, ItemId, KEPT_CHECKPOINTS, LeaseId, PipelineId, Settled, StateError,
    plan::{Code, Delta, Group, Plan},
    store::SettleRequest,
};

pub(super) async fn create(
    tx: &mut Tx,
    now: Timestamp,
    name: &str,
    phases: &[&str],
) -> Result<PipelineId> {
    let sql = "INSERT INTO pipeline_runs (name, created_at, checkpoint_at) VALUES ($1, $2, $2)
               RETURNING id";
    let id = tx.row(sql.to_owned(), &[Arg::Text(name), now.into()], |row| row.int(0)).await?;
    let id = PipelineId(id.unwrap_or_default());
    for (ordinal, phase) in (0..).zip(phases) {
        let sql = "INSERT INTO pipeline_phases (pipeline, ordinal, name) VALUES ($1, $2, $3)";
        let args = [id.into(), Arg::Int(ordinal), Arg::Text(phase)];
        tx.execute(sql.to_owned(), &args).await?;
    }
    Ok(id)
}

pub(super) async fn remove(tx: &mut Tx, pipeline: PipelineId) -> Result<()> {
    tx.lock(pipeline).await?;
    for sql in [
        "DELETE FROM pipeline_state
         WHERE phase IN (SELECT id FROM pipeline_phases WHERE pipeline = $1)",
        "DELETE FROM pipeline_leases WHERE pipeline = $1",
        "DELETE FROM pipeline_checkpoints WHERE pipeline = $1",
        "DELETE FROM pipeline_phases WHERE pipeline = $1",
        "DELETE FROM pipeline_runs WHERE id = $1",
    ] {
        tx.execute(sql.to_owned(), &[pipeline.into()]).await?;
    }
    Ok(())
}

/// Returns how many are new.
pub(super) async fn add(
    tx: &mut Tx,
    now: Timestamp,
    run: &Run,
    phase: &str,
    names: &[&str],
) -> Result<u64> {
    let phase = tx.phase(run.id, phase).await?;
    let sql = format!(
        "INSERT INTO pipeline_state (phase, name, epoch, updated_at)
         SELECT CAST($1 AS BIGINT), value, CAST($2 AS BIGINT), CAST($3 AS BIGINT) FROM {}
         WHERE true ON CONFLICT (phase, name) DO NOTHING",
        tx.texts(4)
    );
    let args = [Arg::Int(phase), Arg::Int(run.epoch.into()), now.into(), Arg::Texts(names)];
    let added = tx.execute(sql, &args).await?;
    tx.count(phase, Delta::default().added(added)).await?;
    Ok(added)
}

/// `None` if some of the items are held no more; then the transaction must be undone.
pub(super) async fn settle(
    tx: &mut Tx,
    now: Timestamp,
    pipeline: PipelineId,
    plan: &Plan<'_>,
    request: &SettleRequest<'_>,
) -> Result<Option<Settled>> {
    let run = tx.lock(pipeline).await?;
    for group in &plan.groups {
        if move_group(tx, now, &run, group).await? != group.ids.len() as u64 {
            return Ok(None);
        }
        let moved = group.ids.len() as u64;
        let sql = "UPDATE pipeline_leases SET remaining = remaining - $2 WHERE id = $1";
        tx.execute(sql.to_owned(), &[Arg::Int(group.lease), Arg::Int(moved.cast_signed())]).await?;
        let sql = "DELETE FROM pipeline_leases WHERE id = $1 AND remaining <= 0";
        tx.execute(sql.to_owned(), &[Arg::Int(group.lease)]).await?;
        tx.count(group.phase, Delta::default().moved(Code::Processing, group.to, moved)).await?;
    }
    let mut produced = 0;
    for (phase, names) in &plan.produced {
        produced += add(tx, now, &run, phase, names).await?;
    }
    let run = Run { settled: run.settled + plan.settled(), ..run };
    let elapsed = now.duration_since(run.checkpoint_at);
    let elapsed = Duration::try_from(elapsed).unwrap_or_default();
    let due = request.cadence.and_then(|cadence| cadence.due(run.settled, elapsed));
    let checkpoint = match request.checkpoint.or(due.map(|label| (label, None))) {
        Some((label, payload)) => Some(make_checkpoint(tx, now, &run, label, payload).await?),
        None => {
            let sql = "UPDATE pipeline_runs SET settled = $2 WHERE id = $1";
            let args = [run.id.into(), Arg::Int(run.settled.cast_signed())];
            tx.execute(sql.to_owned(), &args).await?;
            None
        }
    };
    Ok(Some(Settled { applied: plan.applied(), stale: Vec::new(), produced, checkpoint }))
}

async fn move_group(tx: &mut Tx, now: Timestamp, run: &Run, group: &Group<'_>) -> Result<u64> {
    let (lease, epoch) = (Arg::Int(group.lease), Arg::Int(run.epoch.into()));
    let (to, held) = (group.to as i64, Code::Processing as i64);
    if group.to == Code::Failed {
        let sql = format!(
            "UPDATE pipeline_state SET state = {to}, lease = NULL, epoch = $2, updated_at = $3,
                 category = failures.category, message = failures.message
             FROM {}
             WHERE pipeline_state.id = failures.id AND lease = $1 AND state = {held}",
            tx.failures(4)
        );
        let failures = Arg::Failures(&group.ids, &group.failures);
        return tx.execute(sql, &[lease, epoch, now.into(), failures]).await;
    }
    let sql = format!(
        "UPDATE pipeline_state SET state = {to}, lease = NULL, epoch = $2, updated_at = $3
         WHERE {} AND lease = $1 AND state = {held}",
        tx.id_in(4)
    );
    tx.execute(sql, &[lease, epoch, now.into(), Arg::Ids(&group.ids)]).await
}

/// Which of the planned items their leases still hold.
pub(super) async fn held(
    tx: &mut Tx,
    pipeline: PipelineId,
    plan: &Plan<'_>,
) -> Result<HashSet<(LeaseId, ItemId)>> {
    tx.lock(pipeline).await?;
    let mut held = HashSet::new();
    for group in &plan.groups {
        let sql = format!(
            "SELECT id FROM pipeline_state WHERE {} AND lease = $1 AND state = {}",
            tx.id_in(2),
            Code::Processing as i64
        );
        let args = [Arg::Int(group.lease), Arg::Ids(&group.ids)];
        let ids = tx.rows(sql, &args, |row| row.int(0)).await?;
        held.extend(ids.into_iter().map(|id| (LeaseId(group.lease), ItemId(id))));
    }
    Ok(held)
}

async fn make_checkpoint(
    tx: &mut Tx,
    now: Timestamp,
    run: &Run,
    label: &str,
    payload: Option<&[u8]>,
) -> Result<u32> {
    let seq = run.epoch + 1;
    let (_, progress) = read::progress(tx, run.id).await?;
    let text = serde_json::to_string(&progress).map_err(|e| StateError::Content(e.to_string()))?;
    // As it is read back: the clock may be finer than what is kept.
    let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let payload = payload.map(<[u8]>::to_vec);
    let label = label.to_owned();
    let checkpoint = Checkpoint { pipeline: run.id, seq, at, label, progress, payload };
    let sql = "INSERT INTO pipeline_checkpoints
                   (pipeline, seq, made_at, label, progress, payload, checksum)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let checksum = checkpoint.checksum();
    let args = [
        run.id.into(),
        Arg::Int(seq.into()),
        at.into(),
        Arg::Text(&checkpoint.label),
        Arg::Text(&text),
        Arg::OptBytes(checkpoint.payload.as_deref()),
        Arg::Bytes(&checksum),
    ];
    tx.execute(sql.to_owned(), &args).await?;
    let sql = "DELETE FROM pipeline_checkpoints WHERE pipeline = $1 AND seq <= $2 AND seq <>
                   (SELECT coalesce(max(seq), 0) FROM pipeline_checkpoints
                    WHERE pipeline = $1 AND payload IS NOT NULL)";
    let oldest = i64::from(seq) - i64::from(KEPT_CHECKPOINTS);
    tx.execute(sql.to_owned(), &[run.id.into(), Arg::Int(oldest)]).await?;
    let sql = "UPDATE pipeline_runs SET epoch = $2, settled = 0, checkpoint_at = $3 WHERE id = $1";
    tx.execute(sql.to_owned(), &[run.id.into(), Arg::Int(seq.into()), at.into()]).await?;
    tracing::debug!(
        target: "pipeline_state", event = "checkpoint_made",
        pipeline = run.id.0, seq, label = checkpoint.label,
    );
    Ok(seq)
}

pub(super) async fn forget_checkpoint(tx: &mut Tx, pipeline: PipelineId, seq: u32) -> Result<bool> {
    tx.lock(pipeline).await?;
    let sql = "DELETE FROM pipeline_checkpoints WHERE pipeline = $1 AND seq = $2";
    Ok(tx.execute(sql.to_owned(), &[pipeline.into(), Arg::Int(seq.into())]).await? > 0)
}
