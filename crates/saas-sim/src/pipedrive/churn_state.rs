//! The changes themselves: when a tick is due, and what it does to the rows.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::churn::Churn;
use super::data::{Account, Json, Meta, OffsetPage, Table};
use super::truth::ChurnTruth;

/// Ticks that are made up for after a long time without a request.
const MOST: u64 = 10_000;

#[derive(Debug)]
pub(super) struct ChurnState {
    churn: Churn,
    since: Instant,
    answered: u64,
    timed: u64,
    ticks: u64,
    pub(super) done: ChurnTruth,
}

impl ChurnState {
    pub(super) fn new(churn: Churn, now: Instant) -> Self {
        let done = ChurnTruth::default();
        Self { churn, since: now, answered: 0, timed: 0, ticks: 0, done }
    }

    pub(super) fn churn(&self) -> &Churn {
        &self.churn
    }

    /// Other churn from now on; what was done stays counted.
    pub(super) fn replace(&mut self, churn: Churn, now: Instant) {
        *self = Self { done: self.done, ..Self::new(churn, now) };
    }

    /// Does the ticks that are due by the clock. `wall` tells the second of an instant.
    pub(super) fn catch_up(
        &mut self,
        account: &Account,
        now: Instant,
        wall: impl Fn(Instant) -> i64,
    ) {
        if self.churn.every_ms == 0 {
            return;
        }
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let due = u64::try_from(elapsed).unwrap_or(u64::MAX) / self.churn.every_ms;
        self.timed = self.timed.max(due.saturating_sub(MOST));
        while self.timed < due {
            self.timed += 1;
            let at = Duration::from_millis(self.churn.every_ms.saturating_mul(self.timed));
            self.tick(account, wall(self.since + at), self.timed << 1);
        }
    }

    /// A request was answered from the data, maybe with a page by offset.
    pub(super) fn answered(&mut self, account: &Account, page: Option<OffsetPage>, now: i64) {
        self.answered += 1;
        let every = self.churn.every_requests;
        if every > 0 && self.answered.is_multiple_of(every) {
            self.tick(account, now, (self.answered / every) << 1 | 1);
        }
        if let Some(page) = page.filter(|_| self.churn.shifts > 0.0) {
            let mut rng = rng(self.churn.seed, self.answered << 1 | 1 << 63);
            if rng.f64() < self.churn.shifts {
                self.done.shifts += u64::from(shift(account, &page, &mut rng, now));
            }
        }
    }

    fn tick(&mut self, account: &Account, now: i64, number: u64) {
        if self.churn.ticks.is_some_and(|most| self.ticks >= most) {
            return;
        }
        self.ticks += 1;
        let churn = self.churn.clone();
        self.apply(account, &churn, now, number);
    }

    /// Does the amounts of `churn` once.
    pub(super) fn apply(&mut self, account: &Account, churn: &Churn, now: i64, number: u64) {
        self.done.ticks += 1;
        let mut work = Work { account, churn, rng: rng(churn.seed, number), now };
        let done = &mut self.done;
        for _ in 0..work.times(churn.creates) {
            done.creates += u64::from(work.create());
        }
        for _ in 0..work.times(churn.updates) {
            done.updates += u64::from(work.update(number));
        }
        for _ in 0..work.times(churn.deletes) {
            done.deletes += u64::from(work.delete());
        }
        for _ in 0..work.times(churn.removals) {
            done.removals += u64::from(work.removal());
        }
        for _ in 0..work.times(churn.archives) {
            done.archives += u64::from(work.archive());
        }
        for _ in 0..work.times(churn.merges) {
            done.merges += u64::from(work.merge(number));
        }
    }
}

fn rng(seed: u64, number: u64) -> Rng {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // The first numbers of close seeds are close.
    for _ in 0..4 {
        rng.u64(..);
    }
    rng
}

/// One tick at work.
struct Work<'a> {
    account: &'a Account,
    churn: &'a Churn,
    rng: Rng,
    now: i64,
}

impl Work<'_> {
    fn times(&mut self, amount: f64) -> u64 {
        amount.floor() as u64 + u64::from(self.rng.f64() < amount.fract())
    }

    /// The second that the change bears.
    fn at(&mut self) -> i64 {
        self.now - i64::from(self.rng.u32(0..=self.churn.late_s))
    }

    /// A kind of rows among those that change and are in `of`.
    fn table(&mut self, of: &[Table]) -> Option<Table> {
        let mut tables = self.churn.tables();
        tables.retain(|table| of.contains(table));
        let reader = self.account.read();
        let weights: Vec<u64> = tables
            .iter()
            .map(|table| if self.churn.even { 1 } else { reader.view(*table).last_id() })
            .collect();
        let all: u64 = weights.iter().sum();
        let mut pick = self.rng.u64(0..all.max(1));
        for (table, weight) in tables.into_iter().zip(weights) {
            if pick < weight {
                return Some(table);
            }
            pick -= weight;
        }
        None
    }

    fn live(&mut self, table: Table) -> Option<u64> {
        let last = self.account.read().view(table).last_id();
        find(self.account, table, last, &mut self.rng, |meta| !meta.deleted)
    }

    fn create(&mut self) -> bool {
        let at = self.at();
        let table = self.table(&Table::ALL);
        table.map(|table| self.account.grow(table, at)).is_some()
    }

    fn update(&mut self, number: u64) -> bool {
        let at = self.at();
        self.table(&Table::ALL)
            .and_then(|table| Some((table, self.live(table)?)))
            .is_some_and(|(table, id)| touch(self.account, table, id, number, &mut self.rng, at))
    }

    fn delete(&mut self) -> bool {
        let at = self.at();
        self.table(&Table::ALL)
            .and_then(|table| Some((table, self.live(table)?)))
            .is_some_and(|(table, id)| self.account.remove(table, id, at))
    }

    fn removal(&mut self) -> bool {
        self.table(&Table::ALL)
            .and_then(|table| Some((table, self.live(table)?)))
            .is_some_and(|(table, id)| self.account.erase(table, id))
    }

    fn archive(&mut self) -> bool {
        let at = self.at();
        let Some(table) = self.table(&[Table::Deals, Table::Leads]) else { return false };
        let last = self.account.read().view(table).last_id();
        // As often out of the archive as into it, or everything would end there.
        let out = self.rng.bool();
        let found = find(self.account, table, last, &mut self.rng, |meta| {
            !meta.deleted && meta.archived == out
        });
        found.is_some_and(|id| {
            let patch = object(&json!({ "is_archived": !out }));
            self.account.change(table, id, patch, at).is_some()
        })
    }

    fn merge(&mut self, number: u64) -> bool {
        let at = self.at();
        let kinds = [Table::Deals, Table::Persons, Table::Organizations];
        let Some(table) = self.table(&kinds) else { return false };
        let (Some(kept), Some(lost)) = (self.live(table), self.live(table)) else { return false };
        kept != lost
            && self.account.remove(table, lost, at)
            && touch(self.account, table, kept, number, &mut self.rng, at)
    }
}

/// A row, by chance, among the ids up to `last`, for which `fits` holds.
fn find(
    account: &Account,
    table: Table,
    last: u64,
    rng: &mut Rng,
    fits: impl Fn(&Meta) -> bool,
) -> Option<u64> {
    let reader = account.read();
    let view = reader.view(table);
    (0..400)
        .map(|_| rng.u64(1..=last.max(1)))
        .find(|id| view.get(*id).is_some_and(|found| fits(found.meta())))
}

/// Changes what a row is called, or now and then something else.
fn touch(account: &Account, table: Table, id: u64, number: u64, rng: &mut Rng, at: i64) -> bool {
    let word = ["Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord"][rng.usize(0..6)];
    let name = format!("{word} {number}.{}", rng.u16(..));
    let patch = match table {
        Table::Deals if rng.bool() => json!({ "value": rng.u32(0..90_000) }),
        Table::Activities if rng.bool() => json!({ "done": rng.bool() }),
        Table::Deals | Table::Leads => json!({ "title": name }),
        Table::Activities => json!({ "subject": name }),
        Table::Notes => json!({ "content": name }),
        _ => json!({ "name": name }),
    };
    account.change(table, id, object(&patch), at).is_some()
}

/// Lets the rows of a walk by offset shift: of what the page showed something goes, or moves, or
/// before its end something comes back.
fn shift(account: &Account, page: &OffsetPage, rng: &mut Rng, now: i64) -> bool {
    let OffsetPage { table, ids, by_id } = page;
    let (table, Some(last)) = (*table, ids.iter().max()) else { return false };
    if !by_id {
        let id = ids[rng.usize(0..ids.len())];
        return touch(account, table, id, now.unsigned_abs(), rng, now);
    }
    if rng.bool() {
        let id = ids[rng.usize(0..ids.len())];
        return account.remove(table, id, now);
    }
    // What is purged never comes back; what the seed made so may.
    let hidden = find(account, table, *last, rng, |meta| {
        (meta.deleted && table != Table::Leads) || (meta.archived && !meta.deleted)
    });
    hidden.is_some_and(|id| {
        let key = match table {
            Table::Leads => "is_archived",
            Table::Notes | Table::Files | Table::Users => "active_flag",
            _ if archived(account, table, id) => "is_archived",
            _ => "is_deleted",
        };
        account.change(table, id, object(&json!({ key: key == "active_flag" })), now).is_some()
    })
}

fn archived(account: &Account, table: Table, id: u64) -> bool {
    let reader = account.read();
    let found = reader.view(table).get(id);
    found.is_some_and(|found| found.meta().archived && !found.meta().deleted)
}

fn object(value: &Value) -> Json {
    value.as_object().cloned().unwrap_or_default()
}
