//! What follows when all walks have ended: the look at recents, and the lists that it sends us to.

use super::{
    DayLease, Job, Outcome, Tally, deletions,
    plan::{self, Plan, WalkPlan},
    record::Record,
    walks::walk_all,
};
use crate::{exit::Failure, progress::Event, store::WalkState};

/// Looks for deleted rows, and for changes of the lists that were spared, unless the budget or the user has ended the sync.
/// Gives the lists that are to be read now; that they are is written down.
pub(super) async fn look(
    job: &mut Job,
    recents: WalkState,
    spared: Vec<WalkPlan>,
    lease: &mut DayLease,
    outcome: &mut Outcome,
) -> Result<Vec<WalkPlan>, Failure> {
    for walk in &spared {
        // Not complete, until the look is.
        outcome.walks.insert(walk.state.walk.clone(), Tally::default());
    }
    let over = outcome.failure.as_ref().is_some_and(|failure| failure.code.begins_nothing());
    if over || *job.stop.borrow() {
        return Ok(Vec::new());
    }
    let mut stop = job.stop.clone();
    let lists = spared.clone();
    let marked = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(Vec::new()),
        marked = deletions::mark(&job.client, &mut job.store, lease, &*job.progress, recents, lists) => marked?,
    };
    let error = match marked {
        Ok(looked) => {
            let lists: Vec<_> = looked.to_read().cloned().collect();
            outcome.walks.insert(plan::RECENTS.to_owned(), looked.recents);
            for list in looked.spared {
                outcome.walks.insert(list.plan.state.walk, list.tally);
            }
            if !lists.is_empty() {
                let names: Vec<_> = lists.iter().map(|walk| walk.state.walk.as_str()).collect();
                let line = format!("lists to be read, by what recents show: {}", names.join(", "));
                job.progress.event(&Event::note(line));
            }
            return Ok(lists);
        }
        Err(error) => error,
    };
    if deletions::is_withheld(&error) {
        let line = format!("what was deleted is found only by reading whole lists: {error}");
        job.progress.event(&Event::note(line));
        job.store.begin_walks(spared.iter().map(|walk| &walk.state).collect::<Vec<_>>()).await?;
        return Ok(spared);
    }
    outcome.failure = outcome.failure.take().or_else(|| Some(error.into()));
    Ok(Vec::new())
}

/// Reads the lists that were spared.
pub(super) async fn read(
    job: &mut Job,
    walks: Vec<WalkPlan>,
    lease: &mut DayLease,
    outcome: &mut Outcome,
    record: &mut Record,
) -> Result<(), Failure> {
    let before = std::mem::take(&mut outcome.walks);
    let (failure, busy) = (outcome.failure.take(), outcome.busy);
    let result = walk_all(job, Plan { walks, ..Plan::default() }, lease, outcome, record).await;
    for (name, tally) in before {
        outcome.walks.entry(name).or_insert(tally);
    }
    outcome.failure = failure.or(outcome.failure.take());
    outcome.busy = busy;
    result
}
