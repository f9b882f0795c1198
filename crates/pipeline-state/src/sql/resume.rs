//! How a pipeline that stopped goes on.

use jiff::Timestamp;

use super::{
    Result, claim, read,
    tx::{Arg, Run, Tx},
};
use crate::{
    Checkpoint, Counts, PipelineId, Progress, Resume, Resumed, StateError,
    plan::{Code, Delta},
};

/// What an item that is to be tried again forgets.
const AGAIN: &str =
    "state = 0, lease = NULL, lost_leases = 0, category = NULL, message = NULL, updated_at = $2";

/// Makes items of a phase that are in one state, and of which `also` is true, pending.
async fn again(
    tx: &mut Tx,
    now: Timestamp,
    phase: i64,
    from: Code,
    (also, arg): (&str, Arg<'_>),
) -> Result<u64> {
    let from_code = from as i64;
    let sql = format!(
        "UPDATE pipeline_state SET {AGAIN} WHERE phase = $1 AND state = {from_code} AND {also}"
    );
    let count = tx.execute(sql, &[Arg::Int(phase), now.into(), arg]).await?;
    tx.count(phase, Delta::default().moved(from, Code::Pending, count)).await?;
    Ok(count)
}

/// Of all items.
const ANY: (&str, Arg<'_>) = ("CAST($3 AS BIGINT) = 0", Arg::Int(0));

pub(super) async fn reset_failed(
    tx: &mut Tx,
    now: Timestamp,
    pipeline: PipelineId,
    phase: Option<&str>,
    category: Option<&str>,
) -> Result<u64> {
    tx.lock(pipeline).await?;
    let phases = match phase {
        Some(phase) => vec![tx.phase(pipeline, phase).await?],
        None => read::progress(tx, pipeline).await?.0,
    };
    let which = category.map_or(ANY, |category| ("category = $3", Arg::Text(category)));
    let mut count = 0;
    for phase in phases {
        count += again(tx, now, phase, Code::Failed, which).await?;
    }
    Ok(count)
}

pub(super) async fn resume(
    tx: &mut Tx,
    now: Timestamp,
    pipeline: PipelineId,
    from: &Resume,
    max_lost_leases: u32,
) -> Result<Resumed> {
    let run = tx.lock(pipeline).await?;
    let (phases, progress) = read::progress(tx, pipeline).await?;
    let recounted = recount(tx, &phases, &progress).await?;
    claim::reclaim(tx, now, &run, max_lost_leases).await?;
    let (reset, checkpoint) = match from {
        Resume::FailedOnly => {
            let checkpoint = read::checkpoint(tx, pipeline, None).await?;
            (failed_only(tx, now, &phases).await?, checkpoint)
        }
        Resume::All => {
            let checkpoint = read::checkpoint(tx, pipeline, None).await?;
            let mut reset = 0;
            for phase in &phases {
                reset += again(tx, now, *phase, Code::Failed, ANY).await?;
                again(tx, now, *phase, Code::Waiting, ANY).await?;
            }
            (reset, checkpoint)
        }
        Resume::Checkpoint(seq) => {
            let checkpoint = read::checkpoint(tx, pipeline, Some(*seq)).await?;
            let none = StateError::NoCheckpoint { pipeline, seq: *seq };
            let checkpoint = checkpoint.ok_or(none)?;
            (go_back(tx, now, &run, &phases, *seq).await?, Some(checkpoint))
        }
        Resume::Phase(phase) => {
            let first = tx.phase(pipeline, phase).await?;
            let first = phases.iter().position(|id| *id == first).unwrap_or(0);
            (from_phase(tx, now, &run, &phases[first..]).await?, None)
        }
    };
    let payload = payload(tx, pipeline, from, checkpoint.as_ref()).await?;
    let (_, progress) = read::progress(tx, pipeline).await?;
    let Counts { pending, waiting, processing, .. } = progress.whole();
    tracing::info!(
        target: "pipeline_state", event = "pipeline_resumed",
        pipeline = pipeline.0, reset, pending, waiting, processing,
    );
    Ok(Resumed { reset, pending, waiting, processing, recounted, checkpoint, payload })
}

async fn payload(
    tx: &mut Tx,
    pipeline: PipelineId,
    from: &Resume,
    checkpoint: Option<&Checkpoint>,
) -> Result<Option<Vec<u8>>> {
    if let Some(payload) = checkpoint.and_then(|checkpoint| checkpoint.payload.clone()) {
        return Ok(Some(payload));
    }
    // A phase is begun anew, and no checkpoint is asked what it thinks of that.
    if matches!(from, Resume::Phase(_)) {
        return Ok(None);
    }
    // Those that came after the one that was gone back to are there no more.
    let Some(seq) = read::with_payload(tx, pipeline).await? else { return Ok(None) };
    Ok(read::checkpoint(tx, pipeline, Some(seq)).await?.and_then(|checkpoint| checkpoint.payload))
}

async fn failed_only(tx: &mut Tx, now: Timestamp, phases: &[i64]) -> Result<u64> {
    let mut reset = 0;
    for phase in phases {
        let sql = format!(
            "UPDATE pipeline_state SET state = {}, updated_at = $2
             WHERE phase = $1 AND state = {} AND attempts = 0",
            Code::Waiting as i64,
            Code::Pending as i64
        );
        let waiting = tx.execute(sql, &[Arg::Int(*phase), now.into()]).await?;
        tx.count(*phase, Delta::default().moved(Code::Pending, Code::Waiting, waiting)).await?;
        reset += again(tx, now, *phase, Code::Failed, ANY).await?;
    }
    Ok(reset)
}

async fn go_back(tx: &mut Tx, now: Timestamp, run: &Run, phases: &[i64], seq: u32) -> Result<u64> {
    let mut reset = claim::end_all(tx, now, run, phases).await?;
    for phase in phases {
        for state in [Code::Completed, Code::Failed, Code::Skipped] {
            let later = ("epoch >= $3", Arg::Int(seq.into()));
            reset += again(tx, now, *phase, state, later).await?;
        }
        again(tx, now, *phase, Code::Waiting, ANY).await?;
    }
    let sql = "DELETE FROM pipeline_checkpoints WHERE pipeline = $1 AND seq > $2";
    tx.execute(sql.to_owned(), &[run.id.into(), Arg::Int(seq.into())]).await?;
    let sql = "UPDATE pipeline_runs SET settled = 0, checkpoint_at = $2 WHERE id = $1";
    tx.execute(sql.to_owned(), &[run.id.into(), now.into()]).await?;
    Ok(reset)
}

async fn from_phase(tx: &mut Tx, now: Timestamp, run: &Run, phases: &[i64]) -> Result<u64> {
    let mut reset = claim::end_all(tx, now, run, phases).await?;
    for phase in phases {
        for state in [Code::Completed, Code::Failed, Code::Skipped, Code::Waiting] {
            let count = again(tx, now, *phase, state, ANY).await?;
            reset += if state == Code::Waiting { 0 } else { count };
        }
    }
    Ok(reset)
}

/// Counts the items of each phase, and puts the counts right that do not fit. Returns whose.
async fn recount(tx: &mut Tx, phases: &[i64], told: &Progress) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (phase, told) in phases.iter().zip(&told.phases) {
        let sql = "SELECT state, count(*) FROM pipeline_state WHERE phase = $1 GROUP BY state";
        let args = [Arg::Int(*phase)];
        let states = tx.rows(sql.to_owned(), &args, |row| Ok((row.int(0)?, row.count(1)?))).await?;
        let count = |code: Code| {
            let found = states.iter().find(|(state, _)| *state == code as i64);
            found.map_or(0, |(_, count)| *count)
        };
        let counts = Counts {
            pending: count(Code::Pending),
            waiting: count(Code::Waiting),
            processing: count(Code::Processing),
            completed: count(Code::Completed),
            failed: count(Code::Failed),
            skipped: count(Code::Skipped),
        };
        if counts != told.counts {
            let missing = |count: u64, told: u64| count.cast_signed() - told.cast_signed();
            let (found, told_counts) = (&counts, &told.counts);
            let delta = Delta([
                missing(found.pending, told_counts.pending),
                missing(found.processing, told_counts.processing),
                missing(found.completed, told_counts.completed),
                missing(found.failed, told_counts.failed),
                missing(found.skipped, told_counts.skipped),
                missing(found.waiting, told_counts.waiting),
            ]);
            tx.count(*phase, delta).await?;
            wrong.push(told.phase.clone());
        }
    }
    Ok(wrong)
}
