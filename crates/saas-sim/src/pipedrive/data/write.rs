//! Changes to rows: what a new row starts with, and what follows from a changed property.

use std::fmt;
use std::sync::PoisonError;

use serde_json::{Value, json};

use super::base::{Meta, Status};
use super::entity::Table;
use super::json::moment_text;
use super::store::{Found, Json, Order, Row, View};
use super::{Account, State};

/// There is no such row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the account has no such row")
    }
}

impl std::error::Error for Unknown {}

impl Account {
    /// Adds a row.
    pub(crate) fn insert(&self, table: Table, patch: Json, now: i64) -> Json {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let id = state.changes[table as usize].next_id();
        let mut json = self.blank(&state, table, id, now);
        self.apply(&state, table, &mut json, patch, now);
        self.store(&mut state, table, id, json)
    }

    /// Changes a row; `None` if there is none.
    pub(crate) fn change(&self, table: Table, id: u64, mut patch: Json, now: i64) -> Option<Json> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let view = self.view(&state, table);
        let mut json = view.json(&view.get(id)?);
        let (_, update) = time_keys(table);
        patch.entry(update).or_insert_with(|| time(table, now));
        self.apply(&state, table, &mut json, patch, now);
        Some(self.store(&mut state, table, id, json))
    }

    /// Deletes a row; false if there is none, or it is deleted already.
    pub(crate) fn remove(&self, table: Table, id: u64, now: i64) -> bool {
        let reader = self.read();
        let found = reader.view(table).get(id);
        if found.is_none_or(|found| found.meta().deleted) {
            return false;
        }
        drop(reader);
        let mut patch = Json::new();
        match table {
            Table::Notes | Table::Files | Table::Users => {
                patch.insert("active_flag".into(), false.into())
            }
            _ => patch.insert("is_deleted".into(), true.into()),
        };
        self.change(table, id, patch, now).is_some()
    }

    /// Takes a row away without a trace; false if there is none.
    pub(crate) fn erase(&self, table: Table, id: u64) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let there = self.view(&state, table).get(id).is_some();
        if there {
            self.put(&mut state, table, id, None);
        }
        there
    }

    /// Adds a row such as the seed makes them.
    pub(crate) fn grow(&self, table: Table, now: i64) -> u64 {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let id = state.changes[table as usize].next_id();
        let meta = Meta {
            add: now,
            update: now,
            deleted: false,
            archived: false,
            ..self.base.meta(table, id)
        };
        let json = self.view(&state, table).json(&Found::Base(meta));
        self.store(&mut state, table, id, json);
        id
    }

    /// What a new row would look like now: the keys that rows of the kind have.
    pub(crate) fn shape(&self, table: Table, now: i64) -> Json {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        self.blank(&state, table, 1, now)
    }

    fn view<'a>(&'a self, state: &'a State, table: Table) -> View<'a> {
        View { base: &self.base, table, changes: &state.changes[table as usize] }
    }

    fn store(&self, state: &mut State, table: Table, id: u64, json: Json) -> Json {
        let meta = self.meta_of(table, id, &json);
        self.put(state, table, id, Some(Row { meta, json: json.clone() }));
        json
    }

    fn put(&self, state: &mut State, table: Table, id: u64, row: Option<Row>) {
        state.revision += 1;
        state.changes[table as usize].put(&self.base, table, id, row, state.revision);
    }

    /// A row with nothing in it but what the server fills in.
    fn blank(&self, state: &State, table: Table, id: u64, now: i64) -> Json {
        let stage = match table {
            Table::Deals => self.first_stage(state, None),
            _ => 0,
        };
        let meta = Meta {
            id,
            add: now,
            update: now,
            owner: 1,
            stage,
            pipeline: self.pipeline_of(state, stage),
            due: now.div_euclid(86_400),
            // Picks the empty variants of the shapes.
            bits: 0,
            ..Meta::default()
        };
        let view = self.view(state, table);
        let mut json = view.json(&Found::Base(meta));
        if let Some(Value::Object(custom)) = json.get_mut("custom_fields") {
            custom.values_mut().for_each(|value| *value = Value::Null);
        }
        let empty: &[(&str, Value)] = match table {
            Table::Deals => &[("value", json!(0)), ("expected_close_date", Value::Null)],
            Table::Persons => &[("emails", json!([])), ("phones", json!([]))],
            Table::Organizations => &[("address", Value::Null)],
            Table::Products => &[("prices", json!([])), ("code", Value::Null)],
            Table::Activities => &[("note", Value::Null), ("subject", json!("Call"))],
            Table::Leads => &[("value", Value::Null)],
            _ => &[],
        };
        for (key, value) in empty {
            json.insert((*key).to_owned(), value.clone());
        }
        json
    }

    /// Sets properties, and what follows from them.
    fn apply(&self, state: &State, table: Table, json: &mut Json, patch: Json, now: i64) {
        let touched: Vec<String> = patch.keys().cloned().collect();
        let has = |key: &str| touched.iter().any(|touched| touched == key);
        for (key, value) in patch {
            match (key.as_str(), value) {
                ("id", _) => {}
                ("custom_fields", Value::Object(new)) => {
                    if let Some(Value::Object(custom)) = json.get_mut("custom_fields") {
                        custom.extend(new);
                    }
                }
                (_, value) => {
                    json.insert(key, value);
                }
            }
        }
        match table {
            Table::Deals => self.follow_deal(state, json, &has, now),
            Table::Persons => follow_name(json, &has),
            Table::Activities => {
                if has("participants") {
                    json["person_id"] = json["participants"][0]["person_id"].clone();
                }
                if has("done") {
                    let done = json["done"] == json!(true);
                    json["marked_as_done_time"] = if done { time(table, now) } else { Value::Null };
                }
            }
            Table::Notes => {
                for (id, at, key, of) in [
                    ("deal_id", "deal", "title", Table::Deals),
                    ("person_id", "person", "name", Table::Persons),
                    ("org_id", "organization", "name", Table::Organizations),
                ] {
                    if has(id) {
                        let view = self.view(state, of);
                        let found = json[id].as_u64().and_then(|id| view.get(id));
                        let named = found.and_then(|found| view.json(&found).remove(key));
                        json[at] = named.map_or(Value::Null, |name| json!({ key: name }));
                    }
                }
            }
            _ => {}
        }
    }

    fn follow_deal(&self, state: &State, json: &mut Json, has: &impl Fn(&str) -> bool, now: i64) {
        if has("stage_id") {
            let stage = json["stage_id"].as_u64().unwrap_or_default();
            json["pipeline_id"] = self.pipeline_of(state, stage).into();
        } else if has("pipeline_id") {
            json["stage_id"] = self.first_stage(state, json["pipeline_id"].as_u64()).into();
        }
        if has("stage_id") || has("pipeline_id") {
            json["stage_change_time"] = time(Table::Deals, now);
        }
        if has("is_archived") {
            let archived = json["is_archived"] == json!(true);
            json["archive_time"] = if archived { time(Table::Deals, now) } else { Value::Null };
        }
        if has("status") {
            let status = json["status"].clone();
            for (key, day, when) in [
                ("won_time", "local_won_date", status == json!("won")),
                ("lost_time", "local_lost_date", status == json!("lost")),
                ("close_time", "local_close_date", status != json!("open")),
            ] {
                let at = if when { time(Table::Deals, now) } else { Value::Null };
                json[day] = at.as_str().map_or(Value::Null, |at| at[..10].into());
                json[key] = at;
            }
        }
    }

    fn pipeline_of(&self, state: &State, stage: u64) -> u64 {
        let found = self.view(state, Table::Stages).get(stage);
        found.map_or(0, |found| found.meta().pipeline)
    }

    /// The first stage of a pipeline, or of the first pipeline.
    fn first_stage(&self, state: &State, pipeline: Option<u64>) -> u64 {
        let mut first = 0;
        self.view(state, Table::Stages).walk(Order::Id, false, None, |_, found| {
            let meta = found.meta();
            if !meta.deleted && pipeline.is_none_or(|pipeline| pipeline == meta.pipeline) {
                first = meta.id;
                return std::ops::ControlFlow::Break(());
            }
            std::ops::ControlFlow::Continue(())
        });
        first
    }

    /// What lists look at, read back from the row.
    fn meta_of(&self, table: Table, id: u64, json: &Json) -> Meta {
        let number = |key: &str| json.get(key).and_then(Value::as_u64).unwrap_or_default();
        let flag = |key: &str| json.get(key) == Some(&Value::Bool(true));
        let (add, update) = time_keys(table);
        let when =
            |key: &str| json.get(key).and_then(Value::as_str).and_then(seconds).unwrap_or_default();
        let owner = match table {
            Table::Notes | Table::Files => "user_id",
            _ => "owner_id",
        };
        let organization = if table == Table::Leads { "organization_id" } else { "org_id" };
        Meta {
            id,
            add: when(add),
            update: when(update),
            owner: number(owner),
            person: number("person_id"),
            org: number(organization),
            deal: number("deal_id"),
            lead: json
                .get("lead_id")
                .and_then(Value::as_str)
                .and_then(|lead| self.base.id_of(Table::Leads, lead))
                .unwrap_or_default(),
            pipeline: number("pipeline_id"),
            stage: number("stage_id"),
            status: json
                .get("status")
                .and_then(Value::as_str)
                .and_then(Status::by_name)
                .unwrap_or_default(),
            deleted: flag("is_deleted") || json.get("active_flag") == Some(&Value::Bool(false)),
            archived: flag("is_archived"),
            done: flag("done"),
            due: json
                .get("due_date")
                .and_then(Value::as_str)
                .and_then(|day| seconds(&format!("{day} 00:00:00")))
                .unwrap_or_default()
                .div_euclid(86_400),
            bits: 0,
        }
    }
}

/// First and last name follow the name, or make it.
fn follow_name(json: &mut Json, has: &impl Fn(&str) -> bool) {
    let text = |json: &Json, key: &str| json[key].as_str().unwrap_or_default().to_owned();
    if has("name") {
        let name = text(json, "name");
        let (first, last) = name.split_once(' ').unwrap_or((name.as_str(), ""));
        json["first_name"] = first.into();
        json["last_name"] = last.into();
    } else if has("first_name") || has("last_name") {
        let name = format!("{} {}", text(json, "first_name"), text(json, "last_name"));
        json["name"] = name.trim().into();
    }
}

fn time_keys(table: Table) -> (&'static str, &'static str) {
    match table {
        Table::Users => ("created", "modified"),
        _ => ("add_time", "update_time"),
    }
}

/// A time as the rows of a kind show it.
fn time(table: Table, seconds: i64) -> Value {
    Value::String(match table {
        Table::Notes | Table::Files | Table::Users => moment_text(seconds, b' ', ""),
        Table::Leads => moment_text(seconds, b'T', ".000Z"),
        _ => moment_text(seconds, b'T', "Z"),
    })
}

/// Reads a time in any of the shapes, to the second, in UTC.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_second());
    }
    let at: jiff::civil::DateTime = text.parse().ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}
