//! Users, fields, goals, and the lists that never change.

use serde_json::{Value, json};

use super::super::data::{FieldKind, Json, Order, Table, object};
use super::super::ops::Version;
use super::query::Cursor;
use super::reply::{Fail, Reply};
use super::{Ask, Entity, v1_list, v2_list};

impl Ask<'_> {
    /// The user whose token it is, and the company.
    pub(super) fn me(&self) -> Result<Reply, Fail> {
        let reader = self.account.read();
        let view = reader.view(Table::Users);
        let me = view.get(1).ok_or_else(|| Fail::not_found("User"))?;
        let mut me = view.json(&me);
        let domain = &self.account.options.company_domain;
        let more: [(&str, Value); 6] = [
            ("company_id", json!(9001)),
            ("company_name", json!("Acme")),
            ("company_domain", json!(domain)),
            ("company_country", json!("DE")),
            ("company_industry", json!("other")),
            ("language", json!({ "language_code": "en", "country_code": "GB" })),
        ];
        me.extend(more.map(|(key, value)| (key.to_owned(), value)));
        Ok(Reply::row(200, &me))
    }

    pub(super) fn users(&self) -> Result<Reply, Fail> {
        let reader = self.account.read();
        let view = reader.view(Table::Users);
        let mut out = b"{\"success\":true,\"data\":[".to_vec();
        let mut first = true;
        view.walk(Order::Id, false, None, |_, found| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            view.write(&found, &mut out);
            std::ops::ControlFlow::Continue(())
        });
        out.extend_from_slice(b"]}");
        Ok(Reply::raw(out))
    }

    /// Goals have an envelope of their own.
    pub(super) fn goals(&self) -> Result<Reply, Fail> {
        let goals = self.account.fixed.of(Entity::Goals).unwrap_or_default();
        let query = &self.query;
        let shown: Vec<&Value> = goals
            .iter()
            .filter(|goal| {
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let same = |name: &str, value: &Value| {
                    query.text(name).is_none_or(|wanted| wanted == text(value))
                };
                same("type.name", &goal["type"]["name"])
                    && same("title", &goal["title"])
                    && same("is_active", &goal["is_active"])
                    && same("assignee.id", &goal["assignee"]["id"])
                    && same("assignee.type", &goal["assignee"]["type"])
            })
            .collect();
        let body = json!({
            "success": true,
            "statusCode": 20_000,
            "statusText": "OK",
            "service": "Goals",
            "data": { "goals": shown },
        });
        Ok(Reply::json(200, &body))
    }

    /// Activity types, filters, currencies.
    pub(super) fn fixed(&self, head: &str, tail: Option<&str>) -> Result<Reply, Fail> {
        let entity = Self::fixed_entity(head).ok_or_else(Fail::not_simulated)?;
        let rows = self.account.fixed.of(entity).ok_or_else(Fail::not_simulated)?;
        match tail {
            None => {
                let kind = self.query.text("type");
                let term = self.query.text("term").map(str::to_lowercase);
                let shown = rows.iter().filter(|row| {
                    let name = row["name"].as_str().unwrap_or_default().to_lowercase();
                    let by_kind =
                        entity != Entity::Filters || kind.is_none_or(|kind| row["type"] == kind);
                    let by_term = term.as_ref().is_none_or(|term| {
                        name.contains(term)
                            || row["code"]
                                .as_str()
                                .is_some_and(|code| code.eq_ignore_ascii_case(term))
                    });
                    by_kind && by_term
                });
                Ok(Reply::data(200, &shown.cloned().collect::<Vec<_>>().into()))
            }
            Some("{id}") => {
                let id = self.matched.param("id").and_then(|id| id.parse::<u64>().ok());
                let row = rows.iter().find(|row| row["id"].as_u64() == id);
                row.map(|row| Reply::data(200, row)).ok_or_else(|| Fail::not_found("Filter"))
            }
            Some(_) => Err(Fail::not_simulated()),
        }
    }

    pub(super) fn fields(
        &self,
        method: &str,
        kind: FieldKind,
        tail: Option<&str>,
    ) -> Result<Reply, Fail> {
        if method != "GET" {
            return Err(Fail::not_simulated());
        }
        let fields = self.account.fields.of(kind);
        let version = self.matched.op.version;
        let Some(tail) = tail else {
            return match version {
                Version::V1 => {
                    let rows: Vec<&Json> = fields.iter().map(|field| field.v1()).collect();
                    self.fields_v1(&rows)
                }
                Version::V2 => {
                    let rows: Vec<&Json> = fields.iter().map(|field| field.v2()).collect();
                    self.fields_v2(&rows)
                }
            };
        };
        let wanted = self.matched.param(tail.trim_matches(['{', '}'])).unwrap_or_default();
        let field = fields.iter().find(|field| match version {
            Version::V1 => field.id.to_string() == wanted,
            Version::V2 => field.code == wanted,
        });
        let field = field.ok_or_else(|| match kind.0 {
            Table::Products => Fail::new(410, "The field is not found"),
            _ => Fail::not_found("Field"),
        })?;
        Ok(Reply::row(200, if version == Version::V1 { field.v1() } else { field.v2() }))
    }

    fn fields_v1(&self, rows: &[&Json]) -> Result<Reply, Fail> {
        let clamp = self.account.options.clamp_v1_limit;
        let limit = self.query.limit(v1_list::MAX, clamp)?;
        let start = self.query.number("start")?.unwrap_or(0);
        let (shown, more) = cut(rows, start, limit);
        let mut out = open(shown);
        v1_list::close(&mut out, start, limit, more);
        out.push(b'}');
        Ok(Reply::raw(out))
    }

    fn fields_v2(&self, rows: &[&Json]) -> Result<Reply, Fail> {
        let limit = self.query.limit(v2_list::MAX, false)?;
        let start = match self.query.text("cursor").map(|text| self.cursor(text)).transpose()? {
            None => 0,
            Some(cursor) if cursor.field == "field_code" => cursor.key.1,
            Some(_) => return Err(Fail::bad("Parameter 'cursor' belongs to another list")),
        };
        let (shown, more) = cut(rows, start, limit);
        let mut out = open(shown);
        let next = more.then(|| {
            let (key, at) = ((0, start + limit), self.cursor_time());
            Cursor { field: "field_code".into(), down: false, key, at }.encode()
        });
        self.close(&mut out, next.as_deref());
        Ok(Reply::raw(out))
    }
}

/// The rows of a page, and whether more come after it.
fn cut<'a, 'b>(rows: &'a [&'b Json], start: u64, limit: u64) -> (&'a [&'b Json], bool) {
    let start = (start as usize).min(rows.len());
    let end = start.saturating_add(limit as usize).min(rows.len());
    (&rows[start..end], end < rows.len())
}

/// A list up to its last row.
fn open(rows: &[&Json]) -> Vec<u8> {
    let mut out = b"{\"success\":true,\"data\":[".to_vec();
    for (nth, row) in rows.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        object(row, &mut out);
    }
    out
}
