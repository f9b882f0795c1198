//! The version 1 shape of rows that are kept in the shape of version 2.

use serde_json::{Value, json};

use super::super::data::{Json, Reader, Table};

/// Rows that others refer to, by kind and id: the `related_objects` of an answer.
#[derive(Debug, Default)]
pub(super) struct Related(pub(super) Json);

impl Related {
    fn add(&mut self, kind: &str, id: u64, object: Value) {
        let kinds = self.0.entry(kind).or_insert_with(|| json!({}));
        if let Value::Object(kind) = kinds {
            kind.insert(id.to_string(), object);
        }
    }
}

/// Turns a row into its version 1 shape; rows of version 1 stay as they are.
pub(super) fn row(reader: &Reader<'_>, table: Table, row: Json, related: &mut Related) -> Json {
    let mut out = Out { reader, row, related };
    match table {
        Table::Deals => out.deal(),
        Table::Persons => out.person(),
        Table::Organizations => out.organization(),
        Table::Activities => out.activity(),
        Table::Products => out.product(),
        Table::Pipelines => out.pipeline(),
        Table::Stages => out.stage(),
        _ => return out.row,
    }
    out.row
}

struct Out<'a, 'b> {
    reader: &'a Reader<'a>,
    row: Json,
    related: &'b mut Related,
}

impl Out<'_, '_> {
    fn take(&mut self, key: &str) -> Value {
        self.row.remove(key).unwrap_or(Value::Null)
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.row.insert(key.to_owned(), value.into());
    }

    fn text(&self, table: Table, id: u64) -> String {
        self.reader.name(table, id).unwrap_or_else(|| "(hidden)".to_owned())
    }

    /// What all rows share: times, visibility, labels, the company's own fields.
    fn common(&mut self) {
        for (key, value) in &mut self.row {
            if key.ends_with("_time") && key != "due_time" {
                let old = value.as_str().map(|text| text.replace('T', " ").replace('Z', ""));
                *value = old.map_or(Value::Null, Value::String);
            }
        }
        if let Some(visible) = self.row.get("visible_to").and_then(Value::as_u64) {
            self.set("visible_to", visible.to_string());
        }
        if let Value::Array(labels) = self.take("label_ids") {
            let labels: Vec<_> = labels.iter().map(Value::to_string).collect();
            self.set(
                "label",
                if labels.is_empty() { Value::Null } else { labels.join(",").into() },
            );
        }
        if let Value::Object(custom) = self.take("custom_fields") {
            for (key, value) in custom {
                self.flat(&key, value);
            }
        }
    }

    /// A field of the company lies flat in the row, its second half beside it.
    fn flat(&mut self, key: &str, value: Value) {
        match value {
            Value::Object(mut money) if money.contains_key("currency") => {
                let currency = money.remove("currency").unwrap_or(Value::Null);
                self.set(&format!("{key}_currency"), currency);
                self.set(key, money.remove("value").unwrap_or(Value::Null).to_string());
            }
            Value::Array(set) => {
                let ids: Vec<_> = set.iter().map(Value::to_string).collect();
                self.set(key, ids.join(","));
            }
            Value::Number(number) => self.set(key, number.to_string()),
            other => self.set(key, other),
        }
    }

    fn user(&mut self, id: &Value) -> Value {
        let Some(id) = id.as_u64() else { return Value::Null };
        let mut user = json!({
            "id": id,
            "name": self.text(Table::Users, id),
            "email": format!("user{id}@acme.test"),
            "has_pic": 0,
            "pic_hash": null,
            "active_flag": true,
        });
        self.related.add("user", id, user.clone());
        user["value"] = id.into();
        user
    }

    fn contact(&mut self, id: &Value) -> Value {
        let Some(id) = id.as_u64() else { return Value::Null };
        let view = self.reader.view(Table::Persons);
        let Some(found) = view.get(id) else { return Value::Null };
        let person = view.json(&found);
        let mut person = json!({
            "active_flag": person["is_deleted"] == false,
            "name": person["name"],
            "email": person["emails"],
            "phone": person["phones"],
            "owner_id": person["owner_id"],
        });
        let mut related = person.clone();
        related["id"] = id.into();
        self.related.add("person", id, related);
        person["value"] = id.into();
        person
    }

    fn firm(&mut self, id: &Value) -> Value {
        let Some(id) = id.as_u64() else { return Value::Null };
        let view = self.reader.view(Table::Organizations);
        let Some(found) = view.get(id) else { return Value::Null };
        let firm = view.json(&found);
        let mut firm = json!({
            "name": firm["name"],
            "people_count": 0,
            "owner_id": firm["owner_id"],
            "address": firm["address"]["value"],
            "active_flag": firm["is_deleted"] == false,
            "cc_email": "acme@pipedrivemail.com",
        });
        let mut related = firm.clone();
        related["id"] = id.into();
        self.related.add("organization", id, related);
        firm["value"] = id.into();
        firm
    }

    fn deal(&mut self) {
        self.common();
        let id = self.row["id"].as_u64().unwrap_or_default();
        let (owner, creator) = (self.take("owner_id"), self.take("creator_user_id"));
        let (owner, creator) = (self.user(&owner), self.user(&creator));
        self.set("owner_name", owner["name"].clone());
        self.set("user_id", owner);
        self.set("creator_user_id", creator);
        let (person, org) = (self.take("person_id"), self.take("org_id"));
        let (person, org) = (self.contact(&person), self.firm(&org));
        self.set("person_name", person["name"].clone());
        self.set("org_name", org["name"].clone());
        self.set("person_id", person);
        self.set("org_id", org);
        let deleted = self.take("is_deleted") == json!(true);
        self.set("deleted", deleted);
        self.set("active", !deleted && self.row["status"] == "open");
        if deleted {
            self.set("status", "deleted");
        }
        let value = self.row["value"].clone();
        let currency = self.row["currency"].as_str().unwrap_or_default().to_owned();
        self.set("formatted_value", format!("{currency} {value}"));
        self.set("weighted_value", value);
        self.set("cc_email", format!("acme+deal{id}@pipedrivemail.com"));
        for key in ["activities_count", "notes_count", "files_count", "products_count"] {
            self.set(key, 0);
        }
    }

    /// `is_deleted` is the opposite of `active_flag`.
    fn active(&mut self) {
        let deleted = self.take("is_deleted") == json!(true);
        self.set("active_flag", !deleted);
        self.set("company_id", 9001);
    }

    fn person(&mut self) {
        self.common();
        self.active();
        let (owner, org) = (self.take("owner_id"), self.take("org_id"));
        let (owner, org) = (self.user(&owner), self.firm(&org));
        self.set("owner_name", owner["name"].clone());
        self.set("org_name", org["name"].clone());
        self.set("owner_id", owner);
        self.set("org_id", org);
        let (emails, phones) = (self.take("emails"), self.take("phones"));
        self.set("primary_email", emails[0]["value"].clone());
        self.set("email", emails);
        self.set("phone", phones);
        self.set("open_deals_count", 0);
        self.set("cc_email", "acme@pipedrivemail.com");
    }

    fn organization(&mut self) {
        self.common();
        self.active();
        let owner = self.take("owner_id");
        let owner = self.user(&owner);
        self.set("owner_name", owner["name"].clone());
        self.set("owner_id", owner);
        if let Value::Object(mut address) = self.take("address") {
            self.set("address", address.remove("value").unwrap_or(Value::Null));
            for (key, part) in address {
                self.set(&format!("address_{key}"), part);
            }
        } else {
            self.set("address", Value::Null);
        }
        self.set("people_count", 0);
        self.set("open_deals_count", 0);
        self.set("cc_email", "acme@pipedrivemail.com");
    }

    fn activity(&mut self) {
        self.common();
        self.active();
        let (owner, creator) = (self.take("owner_id"), self.take("creator_user_id"));
        self.user(&owner);
        self.set("assigned_to_user_id", owner.clone());
        self.set("user_id", owner);
        self.set("created_by_user_id", creator);
        let busy = self.take("busy");
        self.set("busy_flag", busy);
        for key in ["due_time", "duration"] {
            let short = self.row[key].as_str().map(|text| text.chars().take(5).collect::<String>());
            self.set(key, short.unwrap_or_default());
        }
        if self.row["marked_as_done_time"].is_null() {
            self.set("marked_as_done_time", "");
        }
        if let Some(Value::Array(list)) = self.row.get_mut("participants") {
            for one in list {
                *one = json!({ "person_id": one["person_id"], "primary_flag": one["primary"] });
            }
        }
    }

    fn product(&mut self) {
        self.common();
        self.active();
        let owner = self.take("owner_id");
        let owner = self.user(&owner);
        self.set("owner_id", owner);
        let linkable = self.take("is_linkable");
        self.set("selectable", linkable);
    }

    fn pipeline(&mut self) {
        self.common();
        let deleted = self.take("is_deleted") == json!(true);
        let (probable, selected) =
            (self.take("is_deal_probability_enabled"), self.take("is_selected"));
        self.set("active", !deleted);
        self.set("deal_probability", u8::from(probable == json!(true)));
        self.set("selected", selected);
        self.set("url_title", self.row["name"].clone());
    }

    fn stage(&mut self) {
        self.common();
        let deleted = self.take("is_deleted") == json!(true);
        let (rot, days) = (self.take("is_deal_rot_enabled"), self.take("days_to_rotten"));
        self.set("active_flag", !deleted);
        self.set("rotten_flag", rot);
        self.set("rotten_days", days);
        let pipeline = self.row["pipeline_id"].as_u64().unwrap_or_default();
        self.set("pipeline_name", self.text(Table::Pipelines, pipeline));
    }
}
