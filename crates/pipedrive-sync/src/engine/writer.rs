//! The one writer: pages and leases to the database, in the order in which they come.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    time::Duration,
};

use pipedrive_service::{Position, RejectedRow, Row, RowId, RowsPage};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tower_adaptive_page::row_key;

use super::{
    DayLease,
    plan::{WalkPlan, high_water},
    record::Record,
    walk::Delivery,
};
use crate::{
    progress::{Event, Pace, Progress},
    store::{
        Finish, Id, PageWrite, Quarantined, RejectWrite, RowWrite, Store, StoreError, Written,
    },
    wall,
};

/// Pages that share a transaction at most.
const PAGES_PER_COMMIT: usize = 16;

/// How often it is written down how things stand. It is all that another process sees of those who wait.
const RECORDS_EVERY: Duration = Duration::from_secs(2);

/// What a walk brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Pages committed in this run.
    pub pages: u64,
    /// Rows committed in this run.
    pub rows: u64,
    /// Of these, the ones that the database held as they came, and that were not written again.
    pub unchanged: u64,
    /// Rows removed because the list shows them no longer.
    pub removed: u64,
    /// Rows that could not be used, and are in the quarantine.
    pub rejected: u64,
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
    pub(crate) page_size: &'a (dyn Fn() -> Option<u32> + Sync),
    pub(crate) progress: &'a dyn Progress,
    /// How things stand, for other commands.
    pub(crate) record: &'a mut Record,
    /// What is in the quarantine.
    pub(crate) quarantined: Quarantined,
    /// When the run began.
    pub(crate) begun: Instant,
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
                _ = ticks.tick() => {
                    self.record.keep(self.store).await;
                    self.pace(walks, &tallies);
                }
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
        let pages: Vec<Content<'_>> = waiting
            .iter()
            .map(|delivery| {
                let entity = walks[delivery.walk].entity.name();
                Content::of(&delivery.page, self.quarantined.get_mut(entity))
            })
            .collect();
        let mut writes = Vec::with_capacity(waiting.len());
        for (delivery, page) in waiting.iter().zip(&pages) {
            let state = &mut after[delivery.walk];
            if let Some(time) = newest(&page.rows, state.max_seen.as_deref()) {
                state.max_seen = Some(time.to_owned());
            }
            state.position = delivery.page.next.as_ref().map(ToString::to_string);
            writes.push(PageWrite {
                state: &walks[delivery.walk].state,
                rows: &page.rows,
                rejected: &page.rejected,
                healed: &page.healed,
                gone: &[],
                deleted: walks[delivery.walk].deleted,
                position: state.position.clone(),
                max_seen: state.max_seen.clone(),
                page_size,
                finish: delivery
                    .last
                    .then(|| Finish { high_water: high_water(state, state.max_seen.as_deref()) }),
                begun: &[],
            });
        }
        let settled = self.lease.settle();
        let written = self.store.commit(&writes, settled.as_ref()).await?;
        drop(writes);
        for ((delivery, page), written) in waiting.iter().zip(&pages).zip(written) {
            let entity = walks[delivery.walk].entity.name();
            for row in &page.rejected {
                self.quarantined.entry(entity.to_owned()).or_default().insert(row.item.clone());
            }
            let tally = &mut tallies[delivery.walk];
            tally.add(delivery, page, written);
            let state = &mut walks[delivery.walk].state;
            state.pages += 1;
            state.rows += page.rows.len() as u64;
            self.progress.event(&Event::Committed {
                walk: state.walk.clone(),
                pages: tally.pages,
                rows: tally.rows,
                removed: written.removed,
                rejected: page.rejected.len() as u64,
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

impl Writer<'_> {
    fn pace(&self, walks: &[WalkPlan], tallies: &[Tally]) {
        let rows = tallies.iter().map(|tally| tally.rows).sum();
        // An incremental walk's length is not known.
        let expected: Option<u64> = walks.iter().map(|walk| walk.rows_expected).sum();
        let expected = expected.filter(|expected| *expected >= rows && *expected > 0);
        let tokens = (self.lease.used(), self.lease.limit());
        let pace = Pace::new(rows, expected, self.begun.elapsed(), tokens);
        self.progress.event(&Event::Pace(pace));
    }
}

/// What a page holds, each row once.
struct Content<'a> {
    rows: Vec<RowWrite<'a>>,
    rejected: Vec<RejectWrite<'a>>,
    healed: Vec<String>,
}

impl<'a> Content<'a> {
    fn of(
        page: &'a RowsPage,
        quarantined: Option<&mut std::collections::BTreeSet<String>>,
    ) -> Self {
        let rows = each_once(&page.rows);
        let rejected = page.rejected.iter().map(|row| reject(row, &page.position)).collect();
        let mut healed = Vec::new();
        if let Some(quarantined) = quarantined.filter(|items| !items.is_empty()) {
            let ids = page.rows.iter().map(|row| row.id.to_string());
            healed.extend(ids.filter(|id| quarantined.remove(id)));
        }
        Self { rows, rejected, healed }
    }
}

/// The rows of a page. Of those with the same identifier the newest stays, of equally new ones the last.
fn each_once(rows: &[Row]) -> Vec<RowWrite<'_>> {
    let mut places: HashMap<&RowId, usize> = HashMap::with_capacity(rows.len());
    let mut once: Vec<RowWrite<'_>> = Vec::with_capacity(rows.len());
    for given in rows {
        let write = row(given);
        match places.entry(&given.id) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(write);
            }
            Entry::Occupied(place) => {
                let held = &mut once[*place.get()];
                if write.update_time >= held.update_time {
                    *held = write;
                }
            }
        }
    }
    once
}

/// The newest update time, if it is newer than what was seen before. A text that is no time does not count.
fn newest<'a>(rows: &[RowWrite<'a>], seen: Option<&str>) -> Option<&'a str> {
    let times = rows.iter().filter_map(|row| row.update_time);
    times.filter(|time| seen < Some(time) && wall::parse(time).is_some()).max()
}

fn reject<'a>(row: &'a RejectedRow, position: &Position) -> RejectWrite<'a> {
    let id = row.id.as_ref().map(Id::from);
    let item =
        row.id.as_ref().map_or_else(|| format!("#{:016x}", row_key(&row.raw)), ToString::to_string);
    let position = match position {
        Position::Anchored { offset, .. } => Position::Offset(*offset).to_string(),
        position => position.to_string(),
    };
    RejectWrite { item, id, position, place: row.place, reason: row.fault.name(), raw: &row.raw }
}

impl Tally {
    fn add(&mut self, delivery: &Delivery, page: &Content<'_>, written: Written) {
        let rows = delivery.page.rows.len() + delivery.page.rejected.len();
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.pages += 1;
        self.rows += page.rows.len() as u64;
        self.unchanged += written.unchanged;
        self.removed += written.removed;
        self.rejected += page.rejected.len() as u64;
        self.bytes += delivery.page.bytes as u64;
        self.done = delivery.last;
        if !delivery.last {
            let (least, most) = self.page_rows.unwrap_or((rows, rows));
            self.page_rows = Some((least.min(rows), most.max(rows)));
        }
    }
}

/// A row as it is written.
pub(super) fn row(row: &Row) -> RowWrite<'_> {
    RowWrite { id: Id::from(&row.id), update_time: row.update_time.as_deref(), data: row.raw.get() }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn given(id: i64, time: Option<&str>, data: &str) -> Row {
        let raw = RawValue::from_string(data.to_owned()).unwrap();
        Row { id: id.into(), update_time: time.map(Into::into), raw }
    }

    #[test]
    fn of_rows_that_a_page_holds_twice_the_newest_stays_and_of_equal_ones_the_last() {
        let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
        let rows = [
            given(1, new, "1"),
            given(2, old, "2"),
            given(1, old, "3"),
            given(2, old, "4"),
            given(3, None, "5"),
            given(3, None, "6"),
        ];
        let once = each_once(&rows);
        let held: Vec<_> = once.iter().map(|row| (row.id, row.data)).collect();
        assert_eq!(held, [(Id::Number(1), "1"), (Id::Number(2), "4"), (Id::Number(3), "6")]);
    }

    #[test]
    fn a_text_that_is_no_time_is_not_taken_for_the_newest() {
        let rows = [given(1, Some("yesterday"), "1"), given(2, Some("2026-01-02 00:00:00"), "2")];
        let once = each_once(&rows);
        assert_eq!(newest(&once, None), Some("2026-01-02 00:00:00"));
        assert_eq!(newest(&once, Some("2026-01-02 00:00:00")), None);
    }
}
