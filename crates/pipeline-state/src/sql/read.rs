//! What is only looked at.

use super::{
    Result,
    tx::{Arg, Fields, Tx},
};
use crate::{
    Checkpoint, Counts, FailedItem, Failure, ItemId, PhaseProgress, PipelineId, PipelineInfo,
    Progress, StateError, checkpoint::corrupt, plan::Code, store::CheckpointInfo,
};

pub(super) async fn info(tx: &mut Tx, pipeline: PipelineId) -> Result<PipelineInfo> {
    let below = PipelineId(pipeline.0.saturating_add(1));
    let found = pipelines(tx, Some(below), 1).await?.pop();
    found.filter(|info| info.id == pipeline).ok_or(StateError::NoPipeline(pipeline))
}

pub(super) async fn pipelines(
    tx: &mut Tx,
    below: Option<PipelineId>,
    limit: usize,
) -> Result<Vec<PipelineInfo>> {
    let sql =
        "SELECT id, name, created_at FROM pipeline_runs WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let below = Arg::Int(below.map_or(i64::MAX, |below| below.0));
    let args = [below, Arg::Int(i64::try_from(limit).unwrap_or(i64::MAX))];
    let runs = tx.rows(sql.to_owned(), &args, |row| {
        Ok(PipelineInfo {
            id: row.int(0)?.into(),
            name: row.text(1)?,
            created_at: row.time(2)?,
            phases: Vec::new(),
        })
    });
    let mut runs = runs.await?;
    for run in &mut runs {
        let phases = progress(tx, run.id).await?.1.phases;
        run.phases = phases.into_iter().map(|phase| phase.phase).collect();
    }
    Ok(runs)
}

/// The numbers of the phases, in order, and how far each has come.
pub(super) async fn progress(tx: &mut Tx, pipeline: PipelineId) -> Result<(Vec<i64>, Progress)> {
    let sql = "SELECT id, name, pending, waiting, processing, completed, failed, skipped
               FROM pipeline_phases WHERE pipeline = $1 ORDER BY ordinal";
    let args = [pipeline.into()];
    let phases = tx.rows(sql.to_owned(), &args, |row| {
        let counts = Counts {
            pending: row.count(2)?,
            waiting: row.count(3)?,
            processing: row.count(4)?,
            completed: row.count(5)?,
            failed: row.count(6)?,
            skipped: row.count(7)?,
        };
        Ok((row.int(0)?, PhaseProgress { phase: row.text(1)?, counts }))
    });
    let (ids, phases): (Vec<_>, Vec<_>) = phases.await?.into_iter().unzip();
    // No pipeline is without phases.
    if ids.is_empty() {
        return Err(StateError::NoPipeline(pipeline));
    }
    Ok((ids, Progress { phases }))
}

pub(super) async fn failed(
    tx: &mut Tx,
    pipeline: PipelineId,
    phase: Option<&str>,
    after: Option<ItemId>,
    limit: usize,
) -> Result<Vec<FailedItem>> {
    tx.find(pipeline).await?;
    if let Some(phase) = phase {
        tx.phase(pipeline, phase).await?;
    }
    let sql = format!(
        "SELECT item.id, phase.name, item.name, attempts, category, message, updated_at
         FROM pipeline_phases AS phase JOIN pipeline_state AS item ON item.phase = phase.id
         WHERE phase.pipeline = $1 AND (CAST($2 AS TEXT) IS NULL OR phase.name = $2)
             AND item.state = {} AND item.id > $3
         ORDER BY item.id LIMIT $4",
        Code::Failed as i64
    );
    let args = [
        pipeline.into(),
        Arg::OptText(phase),
        Arg::Int(after.map_or(0, |after| after.0)),
        Arg::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
    ];
    tx.rows(sql, &args, |row| {
        Ok(FailedItem {
            id: row.int(0)?.into(),
            phase: row.text(1)?,
            name: row.text(2)?,
            attempts: row.number(3)?,
            failure: Failure { category: row.text(4)?, message: row.text(5)? },
            at: row.time(6)?,
        })
    })
    .await
}

pub(super) async fn failures(tx: &mut Tx, pipeline: PipelineId) -> Result<Vec<(String, u64)>> {
    tx.find(pipeline).await?;
    let sql = format!(
        "SELECT category, count(*) AS items
         FROM pipeline_phases AS phase JOIN pipeline_state AS item ON item.phase = phase.id
         WHERE phase.pipeline = $1 AND item.state = {}
         GROUP BY category ORDER BY items DESC, category",
        Code::Failed as i64
    );
    tx.rows(sql, &[pipeline.into()], |row| Ok((row.text(0)?, row.count(1)?))).await
}

const CHECKPOINT: &str =
    "SELECT made_at, label, progress, payload, checksum FROM pipeline_checkpoints";

/// One checkpoint or the newest, verified.
pub(super) async fn checkpoint(
    tx: &mut Tx,
    pipeline: PipelineId,
    seq: Option<u32>,
) -> Result<Option<Checkpoint>> {
    let sql = "SELECT coalesce(max(seq), 0) FROM pipeline_checkpoints
               WHERE pipeline = $1 AND (CAST($2 AS BIGINT) IS NULL OR seq = $2)";
    let args = [pipeline.into(), Arg::OptInt(seq.map(i64::from))];
    let seq = tx.row(sql.to_owned(), &args, |row| row.number(0)).await?.unwrap_or(0);
    if seq == 0 {
        return Ok(None);
    }
    let sql = format!("{CHECKPOINT} WHERE pipeline = $1 AND seq = $2");
    let row = tx.row(sql, &[pipeline.into(), Arg::Int(seq.into())], raw).await;
    // What cannot even be decoded is as corrupt as what does not add up.
    let raw = match row {
        Err(StateError::Content(what)) => return Err(corrupt(pipeline, seq, what)),
        row => row?,
    };
    raw.map(|raw| whole(raw, pipeline, seq)).transpose()
}

type Raw = (jiff::Timestamp, String, String, Option<Vec<u8>>, Vec<u8>);

fn raw(row: &dyn Fields) -> Result<Raw> {
    Ok((row.time(0)?, row.text(1)?, row.text(2)?, row.opt_bytes(3)?, row.bytes(4)?))
}

fn whole(raw: Raw, pipeline: PipelineId, seq: u32) -> Result<Checkpoint> {
    let (at, label, progress, payload, checksum) = raw;
    let progress = serde_json::from_str(&progress)
        .map_err(|error| corrupt(pipeline, seq, format!("its progress cannot be read: {error}")))?;
    Checkpoint { pipeline, seq, at, label, progress, payload }.verified(&checksum)
}

/// The newest number of a checkpoint that has a payload.
pub(super) async fn with_payload(tx: &mut Tx, pipeline: PipelineId) -> Result<Option<u32>> {
    let sql = "SELECT coalesce(max(seq), 0) FROM pipeline_checkpoints
               WHERE pipeline = $1 AND payload IS NOT NULL";
    let seq = tx.row(sql.to_owned(), &[pipeline.into()], |row| row.number(0)).await?;
    Ok(seq.filter(|seq| *seq > 0))
}

pub(super) async fn checkpoints(tx: &mut Tx, pipeline: PipelineId) -> Result<Vec<CheckpointInfo>> {
    let sql = "SELECT seq FROM pipeline_checkpoints WHERE pipeline = $1 ORDER BY seq".to_owned();
    let seqs = tx.rows(sql, &[pipeline.into()], |row| row.number(0)).await?;
    let mut infos = Vec::with_capacity(seqs.len());
    for seq in seqs {
        infos.push(match checkpoint(tx, pipeline, Some(seq)).await {
            Ok(Some(Checkpoint { at, label, .. })) => {
                CheckpointInfo { seq, at: Some(at), label, is_sound: true }
            }
            Ok(None) => continue,
            Err(StateError::CorruptCheckpoint { what, .. }) => {
                CheckpointInfo { seq, at: None, label: what, is_sound: false }
            }
            Err(error) => return Err(error),
        });
    }
    Ok(infos)
}
