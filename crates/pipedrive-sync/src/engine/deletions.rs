//! What was deleted, of the kinds whose lists do not show it: a walk over recents, after all others. It also shows what
//! has changed of lists that cannot be asked for that, or whether anything has, so that they need not be read.
//!
//! After, because a page that was asked for before a row was deleted must not be written after the row was marked.

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Client, Entity, Error, ErrorKind, recents::RecentsQuery};

use super::{
    DayLease, Tally,
    plan::{BY_RECENTS, RECENTS, WalkPlan},
    spared::Spared,
};
use crate::{
    exit::Failure,
    progress::{Event, Progress},
    store::{Finish, Id, PageWrite, Store, WalkState, Written},
    wall,
};

/// Rows on a page of recents.
const PAGE: u32 = 500;

/// Where a walk over recents stands: the second from which it asks, and the rows to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    since: Timestamp,
    start: u64,
}

impl Place {
    fn of(state: &WalkState) -> Option<Self> {
        let since = state.since.as_deref().and_then(wall::parse)?;
        let place = state.position.as_deref().and_then(|text| {
            let (since, start) = text.split_once('+')?;
            Some(Self { since: wall::parse(since)?, start: start.parse().ok()? })
        });
        Some(place.unwrap_or(Self { since, start: 0 }))
    }

    fn text(self) -> String {
        format!("{}+{}", wall::text(self.since), self.start)
    }

    /// Where it goes on after a page that was not the last. Rows that change go to the end of the list, and shift those
    /// behind them where they are counted; so it goes on from a time, and counts only within one second.
    fn after(self, rows: usize, last: Option<Timestamp>) -> Self {
        let since = last.map(|last| last - SignedDuration::from_secs(1));
        match since.filter(|since| *since > self.since) {
            Some(since) => Self { since, start: 0 },
            None => Self { start: self.start + rows as u64, ..self },
        }
    }
}

/// What a walk over recents has brought.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) recents: Tally,
    /// The lists that are not read, or are to be read now.
    pub(super) spared: Vec<Spared>,
}

/// Marks what was deleted, and writes what has changed of the lists that are not read, or notes that they are to be. What
/// went wrong with the API is the inner error.
pub(super) async fn mark(
    client: &Client,
    store: &mut Store,
    lease: &mut DayLease,
    progress: &dyn Progress,
    mut state: WalkState,
    spared: Vec<WalkPlan>,
) -> Result<Result<Looked, Error>, Failure> {
    let spared = spared.into_iter().map(|walk| Spared::new(walk, &state)).collect();
    let mut looked = Looked { recents: Tally::default(), spared };
    let Some(mut place) = Place::of(&state) else { return Ok(Ok(looked)) };
    let of = |looked: &Looked, test: fn(&Spared) -> bool| -> Vec<Entity> {
        looked.spared.iter().filter(|list| test(list)).map(Spared::entity).collect()
    };
    let whole = of(&looked, Spared::is_whole);
    let kinds: Vec<_> = BY_RECENTS.into_iter().chain(of(&looked, |_| true)).collect();
    let resumed = state.position.is_some();
    let mut begun = resumed;
    progress.event(&Event::Started { walk: state.walk.clone(), rows: None, resumed, sweep: false });
    loop {
        let Place { since, start } = place;
        let entities = kinds.clone();
        let query = RecentsQuery { entities, since, start, limit: PAGE, whole: whole.clone() };
        let page = match lease.during(store, client.recents(&query)).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        if !begun {
            // Not before it is known that this token is given any.
            store.begin_walks([&state]).await?;
            begun = true;
        }
        for list in &mut looked.spared {
            list.see(&page);
        }
        // Of other kinds only the list says what is gone.
        let told = |kind| BY_RECENTS.contains(&kind) || whole.contains(&kind);
        let deleted = page.rows.iter().filter(|row| row.deleted && told(row.entity));
        let gone: Vec<_> = deleted.flat_map(|row| tables(row.entity, Id::from(&row.id))).collect();
        let last = !page.more || page.len == 0;
        place = place.after(page.len, page.last);
        let position = (!last).then(|| place.text());
        let finish = last.then(|| Finish { high_water: Some(state.started_at.clone()) });
        let rows: Vec<_> = looked.spared.iter().map(|list| list.rows(&page)).collect();
        let (mut places, mut writes) = (Vec::new(), Vec::new());
        for (nth, (list, rows)) in looked.spared.iter().zip(&rows).enumerate() {
            if let Some(write) = list.write(rows, finish.as_ref()) {
                places.push(nth);
                writes.push(PageWrite { position: write.position.or(position.clone()), ..write });
            }
        }
        // From now on they are under way, whatever becomes of this run.
        let to_read: Vec<&WalkState> = looked.to_read().map(|walk| &walk.state).collect();
        writes.push(PageWrite {
            gone: &gone,
            position: position.clone(),
            begun: if last { &to_read } else { &[] },
            finish,
            ..PageWrite::of(&state)
        });
        let settled = lease.settle();
        let mut written = store.commit(&writes, settled.as_ref()).await?;
        drop(writes);
        let own = written.pop().unwrap_or_default();
        for (nth, written) in places.into_iter().zip(written) {
            let list = &mut looked.spared[nth];
            let walk = list.plan.state.walk.clone();
            tell(progress, &walk, &mut list.tally, (rows[nth].len(), 0), written, last);
        }
        tell(progress, RECENTS, &mut looked.recents, (page.len, page.bytes), own, last);
        state.position = position;
        if last {
            return Ok(Ok(looked));
        }
    }
}

impl Looked {
    /// The lists that are to be read now.
    pub(super) fn to_read(&self) -> impl Iterator<Item = &WalkPlan> {
        self.spared.iter().filter(|list| list.to_read).map(|list| &list.plan)
    }
}

/// Adds a page to what a walk has brought, and says so.
fn tell(
    progress: &dyn Progress,
    walk: &str,
    tally: &mut Tally,
    (rows, bytes): (usize, usize),
    written: Written,
    done: bool,
) {
    tally.pages += 1;
    tally.rows += rows as u64;
    tally.unchanged += written.unchanged;
    tally.removed += written.removed;
    tally.bytes += bytes as u64;
    tally.done = done;
    progress.event(&Event::Committed {
        walk: walk.to_owned(),
        pages: tally.pages,
        rows: tally.rows,
        removed: written.removed,
        rejected: 0,
        done,
    });
}

/// Where a row of a kind may be.
fn tables(entity: Entity, id: Id<'_>) -> impl Iterator<Item = (&'static str, Id<'_>)> {
    let archived = (entity == Entity::Deals).then_some(Entity::ArchivedDeals);
    [entity].into_iter().chain(archived).map(move |entity| (entity.name(), id))
}

/// Whether this account does not give recents to this token, so that asking again is in vain.
pub(super) fn is_withheld(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Auth { .. } | ErrorKind::NotFound { .. } | ErrorKind::BadRequest { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn it_goes_on_from_a_time_and_counts_only_within_a_second() {
        let place = Place { since: at("2026-01-01T00:00:00Z"), start: 0 };
        let next = place.after(500, Some(at("2026-01-01T00:10:00Z")));
        assert_eq!(next, Place { since: at("2026-01-01T00:09:59Z"), start: 0 });
        // More than a page in one second.
        let same = next.after(500, Some(at("2026-01-01T00:10:00Z")));
        assert_eq!(same, Place { start: 500, ..next });
        assert_eq!(same.after(500, None), Place { start: 1000, ..next });
    }
}
