//! Rows that were changed, laid over the rows of the seed, and walks in order over both.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::base::{Base, Meta};
use super::entity::Table;
use super::history::{Event, Shown};

/// A row in the shape its list endpoint shows.
pub(crate) type Json = Map<String, Value>;

/// A row that is no longer, or never was, as the seed makes it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) meta: Meta,
    pub(crate) json: Json,
}

/// An order in which rows can be walked without looking at all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Id,
    Add,
    Update,
    Due,
}

/// Where a row stands in an order: the value sorted by, then what breaks a tie.
pub(crate) type Key = (i64, u64);

/// A row on a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// As the seed makes it.
    Base(Meta),
    /// As it was changed.
    Changed(&'a Row),
}

impl Found<'_> {
    pub(crate) fn meta(&self) -> &Meta {
        match self {
            Self::Base(meta) => meta,
            Self::Changed(row) => &row.meta,
        }
    }
}

/// Ids per block of the index that finds the n-th row that a list shows.
const BLOCK: u64 = 1_024;

#[derive(Debug)]
pub(crate) struct Changes {
    rows: BTreeMap<u64, Row>,
    /// Rows that are no more, not even as deleted ones.
    gone: BTreeSet<u64>,
    by: [BTreeSet<Key>; 3],
    next: u64,
    counts: OnceLock<Vec<u16>>,
    pub(crate) history: Vec<Event>,
}

impl Changes {
    pub(crate) fn new(base: &Base, table: Table) -> Self {
        Self {
            rows: BTreeMap::new(),
            gone: BTreeSet::new(),
            by: Default::default(),
            next: base.count(table) + 1,
            counts: OnceLock::new(),
            history: Vec::new(),
        }
    }

    /// The id for the next new row.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Puts a row in place of what was there; without a row, nothing is left of it.
    pub(crate) fn put(
        &mut self,
        base: &Base,
        table: Table,
        id: u64,
        row: Option<Row>,
        revision: u64,
    ) {
        let was = self.shown(base, table, id);
        if let Some(old) = self.rows.remove(&id) {
            for (set, key) in self.by.iter_mut().zip(keys(&old.meta)) {
                set.remove(&key);
            }
        }
        match row {
            Some(row) => {
                for (set, key) in self.by.iter_mut().zip(keys(&row.meta)) {
                    set.insert(key);
                }
                self.gone.remove(&id);
                self.rows.insert(id, row);
            }
            None => {
                self.gone.insert(id);
            }
        }
        let is = self.shown(base, table, id);
        self.history.push(Event { revision, id, was, is });
        self.recount(id, was.plain(), is.plain());
    }

    /// Which list shows the row.
    pub(crate) fn shown(&self, base: &Base, table: Table, id: u64) -> Shown {
        match self.rows.get(&id) {
            Some(row) => Shown::by(table, row.meta.deleted, row.meta.archived),
            None if id <= base.count(table) && !self.gone.contains(&id) => {
                let (deleted, archived) = base.flags(table, id);
                Shown::by(table, deleted, archived)
            }
            None => Shown::Nowhere,
        }
    }

    /// Keeps the counts per block true.
    fn recount(&mut self, id: u64, was: bool, is: bool) {
        let Some(counts) = self.counts.get_mut() else { return };
        let block = (id / BLOCK) as usize;
        if counts.len() <= block {
            counts.resize(block + 1, 0);
        }
        match (was, is) {
            (true, false) => counts[block] -= 1,
            (false, true) => counts[block] += 1,
            _ => {}
        }
    }
}

fn keys(meta: &Meta) -> [Key; 3] {
    [(meta.add, meta.id), (meta.update, meta.id), (meta.due, meta.id)]
}

/// One kind of rows: what the seed makes, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) base: &'a Base,
    pub(crate) table: Table,
    pub(crate) changes: &'a Changes,
}

impl<'a> View<'a> {
    /// The row of that id, deleted ones too.
    pub(crate) fn get(&self, id: u64) -> Option<Found<'a>> {
        if let Some(row) = self.changes.rows.get(&id) {
            return Some(Found::Changed(row));
        }
        ((1..=self.base.count(self.table)).contains(&id) && !self.changes.gone.contains(&id))
            .then(|| Found::Base(self.base.meta(self.table, id)))
    }

    /// Writes the row as its list endpoint shows it.
    pub(crate) fn write(&self, found: &Found<'_>, out: &mut Vec<u8>) {
        match found {
            Found::Base(meta) => super::shape::write(self.base, self.table, meta, out),
            Found::Changed(row) => super::canonical::object(&row.json, out),
        }
    }

    /// The row as a tree.
    pub(crate) fn json(&self, found: &Found<'_>) -> Json {
        match found {
            Found::Base(meta) => {
                let mut out = Vec::with_capacity(2_048);
                super::shape::write(self.base, self.table, meta, &mut out);
                serde_json::from_slice(&out).expect("the shapes are JSON objects")
            }
            Found::Changed(row) => row.json.clone(),
        }
    }

    /// The highest id there is.
    pub(crate) fn last_id(&self) -> u64 {
        self.changes.next - 1
    }

    fn base_at(&self, order: Order, at: u64) -> (Key, u64) {
        match order {
            Order::Id => ((at as i64 + 1, 0), at + 1),
            Order::Add => ((self.base.add_of(self.table, at + 1), at + 1), at + 1),
            Order::Due => ((self.base.due_of(self.table, at + 1), at + 1), at + 1),
            Order::Update => {
                ((self.base.update_at(self.table, at), at), self.base.at_rank(self.table, at))
            }
        }
    }

    fn changed_after(&self, order: Order, after: Option<Key>, down: bool) -> Walk<'a> {
        let rows = &self.changes.rows;
        if order == Order::Id {
            let after = after.map(|(id, _)| id as u64);
            let range = range(after, down);
            return turn(rows.range(range).map(|(id, row)| ((*id as i64, 0), row)), down);
        }
        let (set, shift) = match order {
            Order::Add | Order::Id => (&self.changes.by[0], 0),
            Order::Update => (&self.changes.by[1], self.base.count(self.table)),
            Order::Due => (&self.changes.by[2], 0),
        };
        // Among rows of one update time the changed come after those of the seed.
        let after = after.map(|(value, tie)| (value, tie.saturating_sub(shift)));
        let keys = set.range(range(after, down));
        turn(keys.map(move |(value, id)| ((*value, *id + shift), &rows[id])), down)
    }

    /// Walks the rows behind `after`, in order, until `visit` breaks.
    pub(crate) fn walk(
        &self,
        order: Order,
        down: bool,
        after: Option<Key>,
        mut visit: impl FnMut(Key, Found<'a>) -> ControlFlow<()>,
    ) {
        let count = self.base.count(self.table);
        let mut changed = self.changed_after(order, after, down).peekable();
        // `at` counts the places of the seed's rows that are still to come.
        let mut at = match after {
            None => 0,
            Some(after) => {
                let place = |at: u64| if down { count - 1 - at } else { at };
                partition(count, |at| {
                    let key = self.base_at(order, place(at)).0;
                    if down { key >= after } else { key <= after }
                })
            }
        };
        while at < count {
            let (key, id) = self.base_at(order, if down { count - 1 - at } else { at });
            at += 1;
            if self.changes.rows.contains_key(&id) || self.changes.gone.contains(&id) {
                continue;
            }
            if !catch_up(&mut changed, key, down, &mut visit) {
                return;
            }
            if visit(key, Found::Base(self.base.meta(self.table, id))).is_break() {
                return;
            }
        }
        for (key, row) in changed {
            if visit(key, Found::Changed(row)).is_break() {
                return;
            }
        }
    }

    /// Whether the plain list shows the row.
    fn listed(&self, id: u64) -> bool {
        self.changes.shown(self.base, self.table, id).plain()
    }

    /// The key after which the plain list, by id, has skipped `start` rows: found by counts per
    /// block, so that a walk by offset costs its pages and not their square.
    pub(crate) fn skip_listed(&self, start: u64) -> Option<Key> {
        let counts = self.changes.counts.get_or_init(|| {
            (0..=self.last_id() / BLOCK)
                .map(|block| {
                    let ids = block * BLOCK..((block + 1) * BLOCK).min(self.last_id() + 1);
                    ids.filter(|id| *id > 0 && self.listed(*id)).count() as u16
                })
                .collect()
        });
        let mut left = start;
        let mut first = 0;
        for count in counts {
            if left < u64::from(*count) {
                break;
            }
            left -= u64::from(*count);
            first += BLOCK;
        }
        while left > 0 && first <= self.last_id() {
            left -= u64::from(first > 0 && self.listed(first));
            first += 1;
        }
        first.checked_sub(1).map(|id| (id as i64, 0))
    }
}

type Walk<'a> = Box<dyn Iterator<Item = (Key, &'a Row)> + 'a>;

fn turn<'a>(rows: impl DoubleEndedIterator<Item = (Key, &'a Row)> + 'a, down: bool) -> Walk<'a> {
    if down { Box::new(rows.rev()) } else { Box::new(rows) }
}

fn range<T: Copy>(after: Option<T>, down: bool) -> (Bound<T>, Bound<T>) {
    match (after, down) {
        (None, _) => (Bound::Unbounded, Bound::Unbounded),
        (Some(after), false) => (Bound::Excluded(after), Bound::Unbounded),
        (Some(after), true) => (Bound::Unbounded, Bound::Excluded(after)),
    }
}

/// Visits the changed rows that come before `key`; false when the visitor has seen enough.
fn catch_up<'a>(
    changed: &mut Peekable<Walk<'a>>,
    key: Key,
    down: bool,
    visit: &mut impl FnMut(Key, Found<'a>) -> ControlFlow<()>,
) -> bool {
    let before = if down { Ordering::Greater } else { Ordering::Less };
    while let Some((key, row)) = changed.next_if(|(next, _)| next.cmp(&key) == before) {
        if visit(key, Found::Changed(row)).is_break() {
            return false;
        }
    }
    true
}

/// The first of `0..count` for which `before` no longer holds.
fn partition(count: u64, before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
