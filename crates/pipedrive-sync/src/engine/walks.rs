//! All walks at once, and the one writer beside them.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    DayLease, Job, Outcome,
    busy::Busy,
    plan::{self, Plan},
    record::Record,
    walk::{Walk, WalkEnd},
    writer::Writer,
};
use crate::{
    exit::{Code, Failure},
    progress::Event,
    store::{FailedWalk, WalkState},
    wall,
};

/// Walks until all have ended. What ends one of them only is in the outcome.
pub(super) async fn walk_all(
    job: &mut Job,
    plan: Plan,
    lease: &mut DayLease,
    outcome: &mut Outcome,
    record: &mut Record,
) -> Result<(), Failure> {
    let quarantined = job.store.quarantined().await?;
    // One flag ends all: the user's signal, or the first walk that cannot go on.
    let (halt, halted) = watch::channel(false);
    let halt = Arc::new(halt);
    record.until(halted.clone());
    let (sender, receiver) = mpsc::channel(2 * plan.walks.len().max(1));
    let places = Arc::new(Semaphore::new(job.settings.concurrency.max(1)));
    let busy = Arc::new(Busy::new(plan.walks.len()));
    let mut tasks = JoinSet::new();
    // Closed when the walk ends.
    let (mut open, ends): (Vec<_>, Vec<_>) =
        plan.walks.iter().map(|_| watch::channel(())).map(|(open, end)| (Some(open), end)).unzip();
    for (index, walk) in plan.walks.iter().enumerate() {
        let open = open[index].take();
        let after = plan::after(&plan.walks, index).map(|before| ends[before].clone());
        job.progress.event(&Event::Started {
            walk: walk.state.walk.clone(),
            rows: walk.rows_expected,
            resumed: walk.resumed,
            sweep: walk.sweep,
        });
        let walk = Walk {
            index,
            plan: walk.clone(),
            client: job.client.clone(),
            settings: job.settings.clone(),
            pages: sender.clone(),
            stop: halted.clone(),
            progress: Arc::clone(&job.progress),
            places: Arc::clone(&places),
            after,
        };
        let (busy, halt) = (Arc::clone(&busy), Arc::clone(&halt));
        tasks.spawn(async move {
            let (end, finals) = walk.run().await;
            drop(open);
            busy.one_less();
            let failure = match end {
                WalkEnd::Failed(error) => {
                    let failure = Failure::from(&error);
                    let category = error.class().name().to_owned();
                    // Another page may still come; one for a token that is wrong may not.
                    if failure.code.ends_all() {
                        halt.send_replace(true);
                    }
                    Some((failure, category))
                }
                _ => None,
            };
            (index, failure, finals)
        });
    }
    drop(sender);
    let mut signal = job.stop.clone();
    let relay = {
        let halt = Arc::clone(&halt);
        tokio::spawn(async move {
            if signal.wait_for(|stop| *stop).await.is_ok() {
                halt.send_replace(true);
            }
        })
    };
    let mut walks = plan.walks;
    let pages = job.client.pages().clone();
    let writer = Writer {
        quarantined,
        begun: Instant::now(),
        store: &mut job.store,
        lease,
        page_size: &|| Some(pages.size()),
        progress: &*job.progress,
        record: &mut *record,
    };
    let written = writer.run(&mut walks, receiver).await;
    // Before all are told to end.
    record.keep_last(&mut job.store).await;
    relay.abort();
    // If the writer failed, nobody leases any more: walks that wait for tokens would wait for ever.
    halt.send_replace(true);
    let mut failures = Vec::new();
    let mut failed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (index, failure, finals) = ended
            .map_err(|error| Failure::new(Code::Other, format!("a walk broke off: {error}")))?;
        if let Some((failure, category)) = failure {
            failed.push((index, category, failure.line.clone()));
            failures.push(failure);
        }
        outcome.finals.asked += finals.asked;
        outcome.finals.failed += finals.failed;
        outcome.finals.refused += finals.refused;
    }
    outcome.busy = busy.interval();
    outcome.walks = written?;
    for (index, category, reason) in failed {
        let WalkState { walk, entity, .. } = walks[index].state.clone();
        let (at, run) = (wall::now_text(), outcome.run);
        let failed = FailedWalk { walk, entity, category, reason, at, run };
        job.store.note_failed_walk(&failed).await?;
    }
    // The most telling one: what a person must put right goes before what time may heal.
    failures.sort_by_key(|failure| match failure.code {
        Code::Auth => 0,
        Code::Budget => 1,
        Code::Usage => 2,
        Code::Unavailable => 3,
        Code::Other | Code::Done => 4,
    });
    let signalled = *job.stop.borrow();
    outcome.failure = failures.into_iter().next().or_else(|| signalled.then(Failure::interrupted));
    Ok(())
}
