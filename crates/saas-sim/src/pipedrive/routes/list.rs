//! One page of rows in an order, for both versions.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use serde_json::Value;

use super::super::data::{Found, Key, Order, View};
use super::filter::Filter;

/// How a list is sorted.
#[derive(Clone, Debug)]
pub(super) struct Sort {
    /// The name of the field.
    pub(super) field: String,
    pub(super) down: bool,
}

impl Sort {
    pub(super) fn order(&self) -> Option<Order> {
        match self.field.as_str() {
            "id" => Some(Order::Id),
            "add_time" => Some(Order::Add),
            "update_time" => Some(Order::Update),
            "due_date" => Some(Order::Due),
            _ => None,
        }
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// Behind the row with this key; the first page without one.
    After(Option<Key>),
    /// So many rows on.
    Skip(u64),
}

/// A page, and the key of its last row when there are more.
pub(super) struct Page<'a> {
    pub(super) rows: Vec<Found<'a>>,
    pub(super) next: Option<Key>,
}

/// Collects one page.
pub(super) fn page<'a>(
    view: &View<'a>,
    filter: &Filter,
    sort: &Sort,
    from: From,
    limit: u64,
    now: i64,
) -> Page<'a> {
    let Some(order) = sort.order() else { return sorted(view, filter, sort, from, limit, now) };
    let (after, mut skip) = match from {
        From::After(key) => (key, 0),
        From::Skip(start) if filter.plain && order == Order::Id && !sort.down => {
            (view.skip_listed(start), 0)
        }
        From::Skip(start) => (None, start),
    };
    let mut rows = Vec::with_capacity(limit as usize);
    let (mut last, mut next) = (None, None);
    if let (Some(ids), Order::Id, false) = (&filter.ids, order, sort.down) {
        // A few ids are looked up, not searched for.
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        for found in ids.into_iter().filter_map(|id| view.get(id)) {
            let key = (found.meta().id as i64, 0);
            if after.is_some_and(|after| key <= after) || !filter.shows(found.meta(), now) {
                continue;
            }
            if take(key, found, limit, &mut skip, &mut rows, &mut last, &mut next).is_break() {
                break;
            }
        }
        return Page { rows, next };
    }
    view.walk(order, sort.down, after, |key, found| {
        if !filter.shows(found.meta(), now) {
            return ControlFlow::Continue(());
        }
        take(key, found, limit, &mut skip, &mut rows, &mut last, &mut next)
    });
    Page { rows, next }
}

fn take<'a>(
    key: Key,
    found: Found<'a>,
    limit: u64,
    skip: &mut u64,
    rows: &mut Vec<Found<'a>>,
    last: &mut Option<Key>,
    next: &mut Option<Key>,
) -> ControlFlow<()> {
    if *skip > 0 {
        *skip -= 1;
        return ControlFlow::Continue(());
    }
    if rows.len() as u64 == limit {
        *next = *last;
        return ControlFlow::Break(());
    }
    *last = Some(key);
    rows.push(found);
    ControlFlow::Continue(())
}

/// Fields without an order of their own: all rows are looked at. Only small lists have these.
fn sorted<'a>(
    view: &View<'a>,
    filter: &Filter,
    sort: &Sort,
    from: From,
    limit: u64,
    now: i64,
) -> Page<'a> {
    let mut all = Vec::new();
    view.walk(Order::Id, false, None, |_, found| {
        if filter.shows(found.meta(), now) {
            let value = view.json(&found).remove(&sort.field).unwrap_or(Value::Null);
            all.push((value, found));
        }
        ControlFlow::Continue(())
    });
    all.sort_by(|(a, _), (b, _)| if sort.down { compare(b, a) } else { compare(a, b) });
    let start = match from {
        From::After(key) => key.map_or(0, |(shown, _)| shown.max(0) as usize),
        From::Skip(start) => start as usize,
    };
    let end = start.saturating_add(limit as usize);
    let next = (end < all.len()).then_some((end as i64, 0));
    let rows = all.into_iter().map(|(_, found)| found).skip(start).take(limit as usize).collect();
    Page { rows, next }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => a.is_null().cmp(&b.is_null()).reverse(),
    }
}
