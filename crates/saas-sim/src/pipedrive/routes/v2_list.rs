//! Lists of version 2: pages by cursor.

use super::super::data::{Table, string};
use super::Ask;
use super::filter::Filter;
use super::list::{From, Page, Sort, page};
use super::query::Cursor;
use super::reply::{Fail, Reply, Rest};

/// The largest page of version 2.
pub(super) const MAX: u64 = 500;

/// What a list of version 2 can be sorted by.
const fn sorts(table: Table) -> &'static [&'static str] {
    match table {
        Table::Activities => &["id", "update_time", "add_time", "due_date"],
        Table::Products => &["id", "name", "add_time", "update_time"],
        Table::Stages => &["id", "update_time", "add_time", "order_nr"],
        _ => &["id", "update_time", "add_time"],
    }
}

impl Ask<'_> {
    pub(super) fn list_v2(&self, table: Table, archived: bool) -> Result<Reply, Fail> {
        if !table.has_v2() {
            return Err(Fail::not_simulated());
        }
        let query = &self.query;
        if matches!(table, Table::Pipelines | Table::Stages) {
            for name in ["updated_since", "updated_until"] {
                if query.has(name) {
                    return Err(Fail::bad(format!("Parameter '{name}' is not allowed")));
                }
            }
        }
        let limit = query.limit(MAX, false)?;
        let mut filter = Filter::parse(self, table, archived)?;
        filter.owner = query.number("owner_id")?;
        let filter = filter.settle();
        let (sort, after) = self.sorting(table)?;
        self.custom_fields()?;

        let reader = self.account.read();
        let view = reader.view(table);
        let Page { rows, next } = page(&view, &filter, &sort, From::After(after), limit, self.now);
        let mut out = Vec::with_capacity(128 + rows.len() * 1_100);
        out.extend_from_slice(b"{\"success\":true,\"data\":[");
        let next = next.map(|key| Cursor { field: sort.field, down: sort.down, key }.encode());
        if self.long(rows.len()) {
            let mut tail = Vec::new();
            close(&mut tail, next.as_deref());
            let rest = Some(Rest::new(table, &rows, tail));
            return Ok(Reply { rest, ..Reply::raw(out) });
        }
        for (nth, row) in rows.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            view.write(row, &mut out);
        }
        close(&mut out, next.as_deref());
        Ok(Reply::raw(out))
    }

    /// The order asked for, and where the cursor goes on in it.
    fn sorting(&self, table: Table) -> Result<(Sort, Option<super::super::data::Key>), Fail> {
        let field = self.query.text("sort_by");
        if field.is_some_and(|field| !sorts(table).contains(&field)) {
            let known = sorts(table).join(", ");
            return Err(Fail::bad(format!("Parameter 'sort_by' must be one of {known}")));
        }
        let down = match self.query.text("sort_direction") {
            None => None,
            Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => return Err(Fail::bad("Parameter 'sort_direction' must be asc or desc")),
        };
        let Some(cursor) = self.query.text("cursor") else {
            let field = field.unwrap_or("id").to_owned();
            return Ok((Sort { field, down: down.unwrap_or(false) }, None));
        };
        let cursor = Cursor::decode(cursor)?;
        let other = field.is_some_and(|field| field != cursor.field)
            || down.is_some_and(|down| down != cursor.down)
            || !sorts(table).contains(&cursor.field.as_str());
        if other {
            return Err(Fail::bad("Parameter 'cursor' belongs to another sort order"));
        }
        Ok((Sort { field: cursor.field, down: cursor.down }, Some(cursor.key)))
    }

    /// Whether a page of so many rows is too long to be written before it is sent.
    pub(super) fn long(&self, rows: usize) -> bool {
        rows.saturating_mul(self.account.base.row_bytes) > 2 * 1024 * 1024
    }

    /// Accepted and checked, but rows always show all of their custom fields.
    fn custom_fields(&self) -> Result<(), Fail> {
        let keys = self.query.text("custom_fields").map_or(0, |keys| keys.split(',').count());
        if keys > 15 {
            return Err(Fail::bad("Parameter 'custom_fields' must name at most 15 keys"));
        }
        Ok(())
    }
}

/// The end of a list, after its last row.
pub(super) fn close(out: &mut Vec<u8>, next: Option<&str>) {
    out.extend_from_slice(b"],\"additional_data\":{\"next_cursor\":");
    match next {
        Some(next) => string(out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}}");
}
