//! `/v1/recents`: what changed lately, of all kinds together, the oldest change first.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use serde_json::Value;

use super::super::data::{
    Entity, Found, Order, RecentsDeleted, RecentsTooOld, Table, moment_text, object, seconds,
    string, value,
};
use super::reply::{Fail, Reply};
use super::v1_out::{self, Related};
use super::{Ask, v1_list};

/// What can be named in `items`, and where it is kept.
const ITEMS: [(&str, Kept); 12] = [
    ("activity", Kept::In(Table::Activities)),
    ("activityType", Kept::Fixed(Entity::ActivityTypes)),
    ("deal", Kept::In(Table::Deals)),
    ("file", Kept::In(Table::Files)),
    ("filter", Kept::Fixed(Entity::Filters)),
    ("note", Kept::In(Table::Notes)),
    ("person", Kept::In(Table::Persons)),
    ("organization", Kept::In(Table::Organizations)),
    ("pipeline", Kept::In(Table::Pipelines)),
    ("product", Kept::In(Table::Products)),
    ("stage", Kept::In(Table::Stages)),
    ("user", Kept::In(Table::Users)),
];

#[derive(Clone, Copy)]
enum Kept {
    In(Table),
    Fixed(Entity),
}

/// A row that changed.
struct Changed<'a> {
    at: i64,
    item: &'static str,
    id: u64,
    row: Row<'a>,
}

enum Row<'a> {
    In(Table, Found<'a>),
    Fixed(Value),
}

impl Changed<'_> {
    fn order(&self, other: &Self) -> Ordering {
        (self.at, self.item, self.id).cmp(&(other.at, other.item, other.id))
    }
}

impl Ask<'_> {
    pub(super) fn recents(&self) -> Result<Reply, Fail> {
        let options = &self.account.options.recents;
        let text = self.query.text("since_timestamp");
        let text = text.ok_or_else(|| Fail::bad("Parameter 'since_timestamp' is required"))?;
        let asked = stamp(text).ok_or_else(|| {
            Fail::bad("Parameter 'since_timestamp' must look like YYYY-MM-DD HH:MM:SS")
        })?;
        let items = self.items()?;
        let limit = self.query.limit(v1_list::MAX, self.account.options.clamp_v1_limit)?;
        let start = self.query.number("start")?.unwrap_or(0);
        let reach = self.now - i64::try_from(options.reach_s).unwrap_or(i64::MAX);
        if asked < reach && options.too_old == RecentsTooOld::Refuse {
            return Err(Fail::bad("Parameter 'since_timestamp' must be within the last month"));
        }
        // The last second that is not shown.
        let behind = asked.saturating_sub(i64::from(options.inclusive)).max(reach);

        let reader = self.account.read();
        let most = start.saturating_add(limit).saturating_add(1);
        let mut rows = Vec::new();
        for (item, kept) in items {
            let Kept::In(table) = kept else {
                rows.extend(self.fixed_changes(item, kept, behind));
                continue;
            };
            let mut found = 0;
            reader.view(table).walk(Order::Update, false, Some((behind, u64::MAX)), |_, row| {
                let meta = row.meta();
                if meta.deleted && options.deleted == RecentsDeleted::Absent {
                    return ControlFlow::Continue(());
                }
                let (at, id) = (meta.update, meta.id);
                rows.push(Changed { at, item, id, row: Row::In(table, row) });
                found += 1;
                // Later ones of this kind cannot be on the page.
                if found == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        rows.sort_unstable_by(Changed::order);
        let first = usize::try_from(start).unwrap_or(usize::MAX).min(rows.len());
        let end = first.saturating_add(limit as usize).min(rows.len());
        let (page, more) = (&rows[first..end], end < rows.len());

        let mut out = Vec::with_capacity(128 + page.len() * 1_100);
        out.extend_from_slice(b"{\"success\":true,\"data\":[");
        for (nth, changed) in page.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(format!("{{\"item\":\"{}\",", changed.item).as_bytes());
            out.extend_from_slice(format!("\"id\":{},\"data\":", changed.id).as_bytes());
            match &changed.row {
                Row::Fixed(row) => value(row, &mut out),
                Row::In(_, found)
                    if found.meta().deleted && options.deleted == RecentsDeleted::Null =>
                {
                    out.extend_from_slice(b"null");
                }
                Row::In(table, found) => {
                    let row = reader.view(*table).json(found);
                    let row = v1_out::row(&reader, *table, row, &mut Related::default());
                    let list = *table == Table::Users;
                    out.extend_from_slice(if list { b"[" } else { b"" });
                    object(&row, &mut out);
                    out.extend_from_slice(if list { b"]" } else { b"" });
                }
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"additional_data\":{\"since_timestamp\":");
        string(&mut out, text);
        out.extend_from_slice(b",\"last_timestamp_on_page\":");
        match page.last() {
            Some(last) => string(&mut out, &moment_text(last.at, b' ', "")),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b',');
        v1_list::pagination(&mut out, start, limit, more);
        out.extend_from_slice(b"}}");
        Ok(Reply::raw(out))
    }

    /// What `items` names; everything without it.
    fn items(&self) -> Result<Vec<(&'static str, Kept)>, Fail> {
        let Some(text) = self.query.text("items") else { return Ok(ITEMS.to_vec()) };
        let mut wanted = Vec::new();
        for name in text.split(',').map(str::trim) {
            let known = ITEMS.into_iter().find(|(item, _)| *item == name);
            wanted.push(known.ok_or_else(|| {
                let names: Vec<_> = ITEMS.iter().map(|(item, _)| *item).collect();
                Fail::bad(format!("Parameter 'items' must be some of {}", names.join(", ")))
            })?);
        }
        wanted.sort_unstable_by_key(|(item, _)| *item);
        wanted.dedup_by_key(|(item, _)| *item);
        Ok(wanted)
    }

    fn fixed_changes(&self, item: &'static str, kept: Kept, behind: i64) -> Vec<Changed<'_>> {
        let Kept::Fixed(entity) = kept else { return Vec::new() };
        let deleted = self.account.options.recents.deleted;
        let changed = self.account.fixed.changed_after(entity, behind);
        let changed = changed.into_iter().filter_map(|(at, row, gone)| {
            let id = row["id"].as_u64()?;
            let row = match deleted {
                RecentsDeleted::Absent if gone => return None,
                RecentsDeleted::Null if gone => Value::Null,
                _ => row,
            };
            Some(Changed { at, item, id, row: Row::Fixed(row) })
        });
        changed.collect()
    }
}

/// `YYYY-MM-DD HH:MM:SS`, and nothing else.
fn stamp(text: &str) -> Option<i64> {
    let shape = text.len() == 19 && text.as_bytes()[10] == b' ';
    shape.then(|| seconds(text)).flatten()
}
