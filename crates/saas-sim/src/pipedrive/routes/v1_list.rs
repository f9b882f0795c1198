//! Lists of version 1: pages by offset.

use serde_json::Value;

use super::super::data::{Json, Order, Table, object};
use super::Ask;
use super::filter::Filter;
use super::list::{From, Page, Sort, page};
use super::reply::{Fail, OffsetPage, Reply, Rest};
use super::v1_out::{self, Related};

/// The largest page of version 1, files aside.
pub(super) const MAX: u64 = 500;

impl Ask<'_> {
    pub(super) fn list_v1(&self, table: Table, archived: bool) -> Result<Reply, Fail> {
        let query = &self.query;
        let max = if table == Table::Files { 100 } else { MAX };
        let limit = query.limit(max, self.account.options.clamp_v1_limit)?;
        let start = query.number("start")?.unwrap_or(0);
        let mut filter = Filter::parse(self, table, archived)?;
        filter.owner = match table {
            Table::Leads => query.number("owner_id")?,
            // Without a user the caller's own activities, with user 0 everybody's.
            Table::Activities => match query.number("user_id")? {
                None => Some(1),
                Some(0) => None,
                user => user,
            },
            Table::Files => None,
            _ => query.number("user_id")?,
        };
        if matches!(table, Table::Notes | Table::Activities) {
            filter.added = (self.day("start_date", 0)?, self.day("end_date", 1)?);
        }
        let filter = filter.settle();
        let sort = sorting(query.text("sort"))?;

        let reader = self.account.read();
        let view = reader.view(table);
        let Page { rows, next } = page(&view, &filter, &sort, From::Skip(start), limit, self.now);
        let mut out = Vec::with_capacity(128 + rows.len() * 1_100);
        out.extend_from_slice(b"{\"success\":true,\"data\":[");
        let ids = || rows.iter().map(|row| row.meta().id).collect();
        let by_id = sort.order() == Some(Order::Id) && !sort.down;
        let shown = next.is_some().then(|| OffsetPage { table, ids: ids(), by_id });
        let as_kept = !table.has_v2() && self.matched.fields.is_none();
        if as_kept && self.long(rows.len()) {
            let mut tail = Vec::new();
            close(&mut tail, start, limit, next.is_some());
            tail.push(b'}');
            let rest = Some(Rest::new(table, &rows, tail));
            return Ok(Reply { page: shown, rest, ..Reply::raw(out) });
        }
        let mut related = Related::default();
        for (nth, row) in rows.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            if !as_kept {
                let row = v1_out::row(&reader, table, view.json(row), &mut related);
                object(&self.select(row), &mut out);
            } else {
                view.write(row, &mut out);
            }
        }
        close(&mut out, start, limit, next.is_some());
        related.write(&mut out);
        out.push(b'}');
        Ok(Reply { page: shown, ..Reply::raw(out) })
    }

    /// Only the fields of the selector in the path, if there is one.
    pub(super) fn select(&self, mut row: Json) -> Json {
        if let Some(fields) = &self.matched.fields {
            row.retain(|key, _| fields.iter().any(|field| field == key));
        }
        row
    }

    /// The start of a day of UTC, `later` days on.
    fn day(&self, name: &str, later: i64) -> Result<Option<i64>, Fail> {
        let wrong = || Fail::bad(format!("Parameter '{name}' must be a date"));
        let Some(text) = self.query.text(name) else { return Ok(None) };
        let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let day = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        Ok(Some(day.timestamp().as_second() + later * 86_400))
    }
}

/// `sort=update_time DESC`; of several fields the first counts.
fn sorting(text: Option<&str>) -> Result<Sort, Fail> {
    let Some(first) = text.and_then(|text| text.split(',').next()) else {
        return Ok(Sort { field: "id".to_owned(), down: false });
    };
    let mut words = first.split_whitespace();
    let field = words.next().unwrap_or("id").to_owned();
    let down = match words.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Fail::bad("Parameter 'sort' must be a field, then ASC or DESC")),
    };
    Ok(Sort { field, down })
}

/// The end of a list after its last row, but for the last brace.
pub(super) fn close(out: &mut Vec<u8>, start: u64, limit: u64, more: bool) {
    out.extend_from_slice(b"],\"additional_data\":{");
    pagination(out, start, limit, more);
    out.push(b'}');
}

/// `"pagination":{...}`.
pub(super) fn pagination(out: &mut Vec<u8>, start: u64, limit: u64, more: bool) {
    let next = if more { format!(",\"next_start\":{}", start + limit) } else { String::new() };
    out.extend_from_slice(
        format!(
            "\"pagination\":{{\"start\":{start},\"limit\":{limit},\
             \"more_items_in_collection\":{more}{next}}}"
        )
        .as_bytes(),
    );
}

impl Related {
    /// `,"related_objects":{...}`, or nothing without any.
    fn write(&self, out: &mut Vec<u8>) {
        if self.0.is_empty() {
            return;
        }
        out.extend_from_slice(b",\"related_objects\":");
        object(&self.0, out);
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}
