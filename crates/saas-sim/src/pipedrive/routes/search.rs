//! Search: rows whose name contains the term, without regard to case.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::super::data::{Found, Order, Reader, Table};
use super::super::ops::Version;
use super::Ask;
use super::query::Cursor;
use super::reply::{Fail, Reply};

impl Ask<'_> {
    /// `/itemSearch`: several kinds at once.
    pub(super) fn item_search(&self) -> Result<Reply, Fail> {
        let all = [
            ("deal", Table::Deals),
            ("person", Table::Persons),
            ("organization", Table::Organizations),
            ("product", Table::Products),
            ("lead", Table::Leads),
            ("file", Table::Files),
        ];
        let tables: Vec<_> = match self.query.text("item_types") {
            None => all.iter().map(|(_, table)| *table).collect(),
            Some(types) => types
                .split(',')
                .map(|wanted| {
                    let found = all.iter().find(|(name, _)| *name == wanted.trim());
                    found.map(|(_, table)| *table).ok_or_else(|| {
                        Fail::bad(format!("Parameter 'item_types' does not know '{wanted}'"))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        self.search(&tables, false)
    }

    pub(super) fn search(&self, tables: &[Table], single: bool) -> Result<Reply, Fail> {
        let exact = self.query.flag("exact_match")?.unwrap_or(false);
        let term = self.query.text("term").unwrap_or_default().to_lowercase();
        let shortest = if exact { 1 } else { 2 };
        if term.chars().count() < shortest {
            return Err(Fail::bad(format!(
                "Parameter 'term' must have at least {shortest} characters"
            )));
        }
        let version = self.matched.op.version;
        let limit =
            self.query.limit(500, version == Version::V1 && self.account.options.clamp_v1_limit)?;
        let start = match (version, self.query.text("cursor")) {
            (Version::V2, Some(cursor)) => self.cursor(cursor)?.key.1,
            (Version::V2, None) => 0,
            (Version::V1, _) => self.query.number("start")?.unwrap_or(0),
        };
        let status = self.query.text("status").filter(|_| single);

        let reader = self.account.read();
        let (mut skip, mut items, mut more) = (start, Vec::new(), false);
        for table in tables {
            let view = reader.view(*table);
            view.walk(Order::Id, false, None, |_, found| {
                let meta = found.meta();
                let wanted = status.is_none_or(|status| status == meta.status.name());
                if meta.deleted || meta.archived || !wanted {
                    return ControlFlow::Continue(());
                }
                let name = reader.name(*table, meta.id).unwrap_or_default().to_lowercase();
                if if exact { name != term } else { !name.contains(&term) } {
                    return ControlFlow::Continue(());
                }
                if skip > 0 {
                    skip -= 1;
                    return ControlFlow::Continue(());
                }
                if items.len() as u64 == limit {
                    more = true;
                    return ControlFlow::Break(());
                }
                items.push(json!({
                    "result_score": if name.starts_with(&term) { 0.8 } else { 0.4 },
                    "item": item(&reader, *table, &found),
                }));
                ControlFlow::Continue(())
            });
            if more {
                break;
            }
        }
        let additional = match version {
            Version::V2 => {
                let key = (0, start.saturating_add(limit));
                let at = self.cursor_time();
                let cursor = Cursor { field: "result".into(), down: false, key, at };
                json!({ "next_cursor": more.then(|| cursor.encode()) })
            }
            Version::V1 => {
                let mut pages =
                    json!({ "start": start, "limit": limit, "more_items_in_collection": more });
                if more {
                    pages["next_start"] = (start.saturating_add(limit)).into();
                }
                json!({ "pagination": pages })
            }
        };
        let body = json!({
            "success": true,
            "data": { "items": items },
            "additional_data": additional,
        });
        Ok(Reply::json(200, &body))
    }
}

/// A row as search shows it.
fn item(reader: &Reader<'_>, table: Table, found: &Found<'_>) -> Value {
    let row = reader.view(table).json(found);
    let meta = found.meta();
    let named = |table: Table, id: u64| {
        reader.name(table, id).map_or(Value::Null, |name| json!({ "id": id, "name": name }))
    };
    let person = named(Table::Persons, meta.person);
    let organization = named(Table::Organizations, meta.org);
    let values = |key: &str| -> Vec<Value> {
        let list = row.get(key).and_then(Value::as_array);
        list.into_iter().flatten().map(|one| one["value"].clone()).collect()
    };
    let field = |key: &str| row.get(key).cloned().unwrap_or(Value::Null);
    let common = json!({
        "id": field("id"),
        "type": table.singular().to_lowercase(),
        "visible_to": field("visible_to"),
        "owner": { "id": meta.owner },
        "custom_fields": [],
        "notes": [],
    });
    let own = match table {
        Table::Deals => json!({
            "title": field("title"), "value": field("value"), "currency": field("currency"),
            "status": field("status"), "is_archived": meta.archived, "person": person,
            "organization": organization, "stage": named(Table::Stages, meta.stage),
        }),
        Table::Persons => json!({
            "name": field("name"), "emails": values("emails"), "phones": values("phones"),
            "organization": organization,
        }),
        Table::Organizations => json!({
            "name": field("name"),
            "address": row.get("address").map_or(Value::Null, |address| address["value"].clone()),
        }),
        Table::Leads => json!({
            "title": field("title"), "person": person, "organization": organization,
            "is_archived": meta.archived,
        }),
        _ => json!({ "name": field("name"), "code": field("code") }),
    };
    match (common, own) {
        (Value::Object(mut item), Value::Object(own)) => {
            item.extend(own);
            Value::Object(item)
        }
        (common, _) => common,
    }
}
