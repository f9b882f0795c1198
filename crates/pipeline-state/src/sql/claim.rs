//! Leases: who holds which items, and how they come back.

use jiff::{SignedDuration, Timestamp};

use super::{
    Result,
    tx::{Arg, Run, Tx},
};
use crate::{
    Claim, Item, Lease, LeaseId, PipelineId, StateError,
    plan::{Code, Delta},
    store::ClaimRequest,
};

pub(super) async fn claim(
    tx: &mut Tx,
    now: Timestamp,
    pipeline: PipelineId,
    request: &ClaimRequest<'_>,
) -> Result<Claim> {
    let run = tx.lock(pipeline).await?;
    let phase = tx.phase(pipeline, request.phase).await?;
    reclaim(tx, now, &run, request.max_lost_leases).await?;

    // Who finds nothing writes nothing.
    let pending = Code::Pending as i64;
    let sql =
        format!("SELECT id FROM pipeline_state WHERE phase = $1 AND state = {pending} LIMIT 1");
    if tx.row(sql, &[Arg::Int(phase)], |row| row.int(0)).await?.is_none() {
        let sql = "SELECT min(ends_at) FROM pipeline_leases WHERE pipeline = $1 AND phase = $2";
        let args = [pipeline.into(), Arg::Int(phase)];
        let ends = tx.row(sql.to_owned(), &args, |row| row.opt_int(0)).await?.flatten();
        let others_until = ends.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        return Ok(Claim { others_until, ..Claim::default() });
    }

    let length = SignedDuration::try_from(request.lease).unwrap_or(SignedDuration::MAX);
    let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
    let lease =
        Lease { id: insert_lease(tx, pipeline, phase, request.worker, until).await?, until };
    let sql = format!(
        "UPDATE pipeline_state SET state = {held}, lease = $1, attempts = attempts + 1, updated_at = $2
         WHERE id IN (SELECT id FROM pipeline_state WHERE phase = $3 AND state = {pending}
                      ORDER BY id LIMIT $4)
         RETURNING id, name, attempts",
        held = Code::Processing as i64,
    );
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let args = [Arg::Int(lease.id.0), now.into(), Arg::Int(phase), Arg::Int(limit)];
    let mut rows =
        tx.rows(sql, &args, |row| Ok((row.int(0)?, row.text(1)?, row.number(2)?))).await?;
    rows.sort_unstable_by_key(|(id, ..)| *id);
    let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) else {
        return Err(StateError::Content("a pending item that cannot be claimed".to_owned()));
    };
    let sql = "UPDATE pipeline_leases SET first_item = $2, last_item = $3, remaining = $4
               WHERE id = $1";
    let count = rows.len() as u64;
    let args =
        [Arg::Int(lease.id.0), Arg::Int(*first), Arg::Int(*last), Arg::Int(count.cast_signed())];
    tx.execute(sql.to_owned(), &args).await?;
    tx.count(phase, Delta::default().moved(Code::Pending, Code::Processing, count)).await?;
    let item = |(id, name, attempt): (i64, String, u32)| Item {
        id: id.into(),
        name,
        attempt,
        lease: lease.id,
        pipeline,
        phase,
    };
    let items = rows.into_iter().map(item).collect();
    Ok(Claim { lease: Some(lease), items, others_until: None })
}

async fn insert_lease(
    tx: &mut Tx,
    pipeline: PipelineId,
    phase: i64,
    worker: &str,
    until: Timestamp,
) -> Result<LeaseId> {
    let sql = "INSERT INTO pipeline_leases (pipeline, phase, worker, ends_at)
               VALUES ($1, $2, $3, $4) RETURNING id";
    let args = [pipeline.into(), Arg::Int(phase), Arg::Text(worker), until.into()];
    let id = tx.row(sql.to_owned(), &args, |row| row.int(0)).await?;
    Ok(LeaseId(id.unwrap_or_default()))
}

async fn delete_lease(tx: &mut Tx, lease: i64) -> Result<()> {
    let sql = "DELETE FROM pipeline_leases WHERE id = $1".to_owned();
    tx.execute(sql, &[Arg::Int(lease)]).await?;
    Ok(())
}

pub(super) async fn renew(
    tx: &mut Tx,
    pipeline: PipelineId,
    lease: LeaseId,
    until: Timestamp,
) -> Result<()> {
    let sql = "UPDATE pipeline_leases SET ends_at = $3 WHERE id = $1 AND pipeline = $2";
    let args = [Arg::Int(lease.0), pipeline.into(), until.into()];
    match tx.execute(sql.to_owned(), &args).await? {
        0 => Err(StateError::LeaseLost),
        _ => Ok(()),
    }
}

/// A lease that is to be ended.
struct Ended {
    lease: i64,
    phase: i64,
    first: i64,
    last: i64,
}

fn ended(row: &dyn super::tx::Fields) -> Result<Ended> {
    Ok(Ended { lease: row.int(0)?, phase: row.int(1)?, first: row.int(2)?, last: row.int(3)? })
}

const LEASES: &str = "SELECT id, phase, first_item, last_item FROM pipeline_leases";

/// Takes back what leases that have run out held. Returns how many items are pending again.
pub(super) async fn reclaim(
    tx: &mut Tx,
    now: Timestamp,
    run: &Run,
    max_lost_leases: u32,
) -> Result<u64> {
    let sql = format!("{LEASES} WHERE pipeline = $1 AND ends_at <= $2 ORDER BY id");
    let dead = tx.rows(sql, &[run.id.into(), now.into()], ended).await?;
    let mut back = 0;
    for lease in dead {
        let (pending, failed) = end(tx, now, run, &lease, Some(max_lost_leases)).await?;
        back += pending;
        tracing::warn!(
            target: "pipeline_state", event = "lease_ran_out",
            pipeline = run.id.0, lease = lease.lease, pending, abandoned = failed,
        );
    }
    Ok(back)
}

pub(super) async fn revoke(
    tx: &mut Tx,
    now: Timestamp,
    pipeline: PipelineId,
    worker: Option<&str>,
) -> Result<u64> {
    let run = tx.lock(pipeline).await?;
    // PostgreSQL has to be told of what type a parameter is that may be absent.
    let sql = format!(
        "{LEASES} WHERE pipeline = $1 AND (CAST($2 AS TEXT) IS NULL OR worker = $2) ORDER BY id"
    );
    let leases = tx.rows(sql, &[pipeline.into(), Arg::OptText(worker)], ended).await?;
    let mut back = 0;
    for lease in leases {
        back += end(tx, now, &run, &lease, None).await?.0;
    }
    Ok(back)
}

/// How many are pending again, and how many have failed because they were lost too often. With no
/// bound given, the lease is ended by somebody and the items are not to blame.
async fn end(
    tx: &mut Tx,
    now: Timestamp,
    run: &Run,
    lease: &Ended,
    max_lost_leases: Option<u32>,
) -> Result<(u64, u64)> {
    let held = format!(
        "WHERE id BETWEEN $2 AND $3 AND lease = $4 AND state = {}",
        Code::Processing as i64
    );
    let [at, first, last] = [now.into(), Arg::Int(lease.first), Arg::Int(lease.last)];
    let id = Arg::Int(lease.lease);
    let mut failed = 0;
    if let Some(max) = max_lost_leases {
        let sql = format!(
            "UPDATE pipeline_state SET state = {}, lease = NULL, updated_at = $1, epoch = $6,
                 category = 'abandoned', message = 'the leases on it ran out too often'
             {held} AND lost_leases + 1 >= $5",
            Code::Failed as i64
        );
        let args = [at, first, last, id, Arg::Int(max.into()), Arg::Int(run.epoch.into())];
        failed = tx.execute(sql, &args).await?;
    }
    let sql = format!(
        "UPDATE pipeline_state SET state = {}, lease = NULL, updated_at = $1,
             lost_leases = lost_leases + $5 {held}",
        Code::Pending as i64
    );
    let lost = Arg::Int(i64::from(max_lost_leases.is_some()));
    let pending = tx.execute(sql, &[at, first, last, id, lost]).await?;
    delete_lease(tx, lease.lease).await?;
    let delta = Delta::default().moved(Code::Processing, Code::Pending, pending).moved(
        Code::Processing,
        Code::Failed,
        failed,
    );
    tx.count(lease.phase, delta).await?;
    Ok((pending, failed))
}

/// Ends all leases on some phases. Returns how many items are pending again.
pub(super) async fn end_all(tx: &mut Tx, now: Timestamp, run: &Run, phases: &[i64]) -> Result<u64> {
    let sql = format!("{LEASES} WHERE pipeline = $1 ORDER BY id");
    let mut leases = tx.rows(sql, &[run.id.into()], ended).await?;
    leases.retain(|lease| phases.contains(&lease.phase));
    let mut back = 0;
    for lease in leases {
        back += end(tx, now, run, &lease, None).await?.0;
    }
    Ok(back)
}
