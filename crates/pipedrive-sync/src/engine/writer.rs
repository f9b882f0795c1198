//! The one writer: pages and leases to the database, in the order in which they come.

use std::{collections::BTreeMap, time::Duration};

use pipedrive_service::{Row, RowId};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    DayLease,
    plan::{WalkPlan, high_water},
    record::Record,
    walk::Delivery,
};
use crate::{
    progress::{Event, Progress},
    store::{Finish, Id, PageWrite, RowWrite, Store, StoreError},
};

/// Pages that share a transaction at most.
const PAGES_PER_COMMIT: usize = 16;

/// How often it is written down how things stand. It is all that another process sees of those who wait.
const RECORDS_EVERY: Duration = Duration::from_secs(2);

/// What a walk brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Pages committed in this run.
    pub pages: u64,
    /// Rows committed in this run.
    pub rows: u64,
    /// Rows removed because the list shows them no longer.
    pub removed: u64,
    /// Bytes of the pages' bodies.
    pub bytes: u64,
    /// Smallest and largest number of rows in a page that was not the last.
    pub page_rows: Option<(u32, u32)>,
    /// The walk is complete.
    pub done: bool,
}

pub(crate) struct Writer<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) lease: &'a mut DayLease,
    pub(crate) page_size: &'a dyn Fn() -> Option<u32>,
    pub(crate) progress: &'a dyn Progress,
    /// How things stand, for other commands.
    pub(crate) record: &'a mut Record,
}

impl Writer<'_> {
    /// Runs until all walks have let go of their ends of the channel.
    pub(crate) async fn run(
        mut self,
        walks: &mut [WalkPlan],
        mut pages: mpsc::Receiver<Delivery>,
    ) -> Result<BTreeMap<String, Tally>, StoreError> {
        let mut tallies: Vec<Tally> = vec![Tally::default(); walks.len()];
        let mut waiting = Vec::with_capacity(PAGES_PER_COMMIT);
        let mut ticks = interval(RECORDS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                wanted = self.lease.wanted() => self.lease.extend(wanted, self.store).await?,
                _ = ticks.tick() => self.record.keep(self.store).await,
                count = pages.recv_many(&mut waiting, PAGES_PER_COMMIT) => {
                    if count == 0 {
                        break;
                    }
                    self.commit(walks, &mut tallies, &waiting).await?;
                    waiting.clear();
                }
            }
        }
        Ok(walks.iter().map(|walk| walk.state.walk.clone()).zip(tallies).collect())
    }

    async fn commit(
        &mut self,
        walks: &mut [WalkPlan],
        tallies: &mut [Tally],
        waiting: &[Delivery],
    ) -> Result<(), StoreError> {
        let page_size = (self.page_size)();
        // The state after each page, in order: several pages of one walk may share the transaction.
        let mut after: Vec<_> = walks.iter().map(|walk| walk.state.clone()).collect();
        let rows: Vec<Vec<RowWrite<'_>>> =
            waiting.iter().map(|delivery| delivery.page.rows.iter().map(row).collect()).collect();
        let mut writes = Vec::with_capacity(waiting.len());
        for (delivery, rows) in waiting.iter().zip(&rows) {
            let state = &mut after[delivery.walk];
            for row in rows {
                if let Some(time) = row.update_time
                    && state.max_seen.as_deref().is_none_or(|seen| seen < time)
                {
                    state.max_seen = Some(time.to_owned());
                }
            }
            state.position = delivery.page.next.as_ref().map(ToString::to_string);
            writes.push(PageWrite {
                state: &walks[delivery.walk].state,
                rows,
                deleted: walks[delivery.walk].deleted,
                position: state.position.clone(),
                max_seen: state.max_seen.clone(),
                page_size,
                finish: delivery
                    .last
                    .then(|| Finish { high_water: high_water(state, state.max_seen.as_deref()) }),
            });
        }
        let settled = self.lease.settle();
        let removed = self.store.commit(&writes, settled.as_ref()).await?;
        drop(writes);
        for (delivery, removed) in waiting.iter().zip(removed) {
            let tally = &mut tallies[delivery.walk];
            tally.add(delivery, removed);
            let state = &mut walks[delivery.walk].state;
            state.pages += 1;
            state.rows += delivery.page.rows.len() as u64;
            self.progress.event(&Event::Committed {
                walk: &state.walk,
                pages: tally.pages,
                rows: tally.rows,
                removed,
                done: delivery.last,
            });
        }
        for (walk, after) in walks.iter_mut().zip(after) {
            walk.state.position = after.position;
            walk.state.max_seen = after.max_seen;
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, delivery: &Delivery, removed: u64) {
        let rows = u32::try_from(delivery.page.rows.len()).unwrap_or(u32::MAX);
        self.pages += 1;
        self.rows += u64::from(rows);
        self.removed += removed;
        self.bytes += delivery.page.bytes as u64;
        self.done = delivery.last;
        if !delivery.last {
            let (least, most) = self.page_rows.unwrap_or((rows, rows));
            self.page_rows = Some((least.min(rows), most.max(rows)));
        }
    }
}

fn row(row: &Row) -> RowWrite<'_> {
    let id = match &row.id {
        RowId::Number(number) => Id::Number(*number),
        RowId::Text(text) => Id::Text(text),
    };
    RowWrite { id, update_time: row.update_time.as_deref(), data: row.raw.get() }
}
