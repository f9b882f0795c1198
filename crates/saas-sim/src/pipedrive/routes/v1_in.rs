//! Bodies of version 1: JSON, a form or an upload, loose about types, with names of their own.

use serde_json::{Value, json};

use super::super::data::{Json, Table, moment_text, seconds};
use super::reply::Fail;

/// Reads a body into the names of the row's list shape.
pub(super) fn read(table: Table, body: &[u8], row: &Json, own: &[String]) -> Result<Json, Fail> {
    let mut patch = Json::new();
    for (key, value) in pairs(body)? {
        if own.contains(&key)
            || key.strip_suffix("_currency").is_some_and(|key| own.iter().any(|own| own == key))
        {
            custom(&mut patch, &key, value);
            continue;
        }
        let (key, value) = translate(table, &key, value);
        let server_owned = ["id", "active_flag", "is_deleted"].contains(&key.as_str());
        if row.contains_key(&key) && !server_owned {
            patch.insert(key, value);
        }
    }
    Ok(patch)
}

fn pairs(body: &[u8]) -> Result<Vec<(String, Value)>, Fail> {
    let text = body.trim_ascii();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.starts_with(b"{") {
        return match serde_json::from_slice(text) {
            Ok(Value::Object(map)) => Ok(map.into_iter().collect()),
            _ => Err(Fail::bad("The request body is not valid JSON")),
        };
    }
    if text.starts_with(b"--") {
        return Ok(upload(text));
    }
    let pairs = url::form_urlencoded::parse(text);
    Ok(pairs.map(|(key, value)| (key.into_owned(), value.into_owned().into())).collect())
}

/// The text fields of a multipart body, and name and size of its file.
fn upload(body: &[u8]) -> Vec<(String, Value)> {
    let text = String::from_utf8_lossy(body);
    let boundary = text.lines().next().unwrap_or_default().trim_end();
    let mut pairs = Vec::new();
    for part in text.split(boundary) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
        let attribute = |name: &str| {
            let (_, rest) = head.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        if let Some(file) = attribute(" filename") {
            pairs.push(("name".to_owned(), file.clone().into()));
            pairs.push(("file_name".to_owned(), file.into()));
            pairs.push(("file_size".to_owned(), content.len().into()));
        } else if let Some(name) = attribute(" name") {
            pairs.push((name, content.into()));
        }
    }
    pairs
}

/// Numbers may come as strings.
fn number(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<i64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}

fn flag(value: &Value) -> Value {
    (*value == json!(true) || *value == json!(1) || *value == json!("1") || *value == json!("true"))
        .into()
}

/// One address or several, as text or as objects.
fn reach(value: Value) -> Value {
    let one = |value: Value, primary: bool| match value {
        Value::String(text) => json!({ "label": "work", "primary": primary, "value": text }),
        other => other,
    };
    match value {
        Value::Array(list) => {
            list.into_iter().enumerate().map(|(nth, value)| one(value, nth == 0)).collect()
        }
        Value::Null => json!([]),
        value => json!([one(value, true)]),
    }
}

fn translate(table: Table, key: &str, value: Value) -> (String, Value) {
    let renamed = match (table, key) {
        (Table::Deals | Table::Activities, "user_id") => "owner_id",
        (Table::Persons, "email") => "emails",
        (Table::Persons, "phone") => "phones",
        (Table::Activities, "busy_flag") => "busy",
        (Table::Products, "selectable") => "is_linkable",
        (Table::Pipelines, "deal_probability") => "is_deal_probability_enabled",
        (Table::Stages, "rotten_flag") => "is_deal_rot_enabled",
        (Table::Stages, "rotten_days") => "days_to_rotten",
        (Table::Activities, "person_id") => {
            let person = number(value);
            let list = if person.is_null() {
                json!([])
            } else {
                json!([{ "person_id": person, "primary": true }])
            };
            return ("participants".to_owned(), list);
        }
        (_, "label") if table.has_v2() => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let ids: Vec<u64> = text.split(',').filter_map(|id| id.trim().parse().ok()).collect();
            return ("label_ids".to_owned(), ids.into());
        }
        _ => key,
    };
    let value = match renamed {
        "emails" | "phones" => reach(value),
        "busy"
        | "done"
        | "is_linkable"
        | "is_deal_probability_enabled"
        | "is_deal_rot_enabled"
        | "is_archived"
        | "was_seen" => flag(&value),
        "address" => value.as_str().map_or(Value::Null, |text| json!({ "value": text })),
        "visible_to" if table.has_v2() => number(value),
        "add_time" | "update_time" if table != Table::Leads => {
            let separator = if table.has_v2() { (b'T', "Z") } else { (b' ', "") };
            match value.as_str().and_then(seconds) {
                Some(at) => moment_text(at, separator.0, separator.1).into(),
                None => value,
            }
        }
        "value" | "probability" => number(value),
        _ if renamed.ends_with("_flag") => flag(&value),
        _ if renamed.ends_with("_id") && renamed != "lead_id" => number(value),
        _ => value,
    };
    (renamed.to_owned(), value)
}

/// A field of the company: flat in the body, its currency beside it.
fn custom(patch: &mut Json, key: &str, value: Value) {
    let all = patch.entry("custom_fields").or_insert_with(|| json!({}));
    match key.strip_suffix("_currency") {
        Some(amount) => {
            let amount_of =
                all[amount].as_object().map_or(all[amount].clone(), |money| money["value"].clone());
            all[amount] = json!({ "value": number(amount_of), "currency": value });
        }
        None => match all.get(key).and_then(|money| money.get("currency")).cloned() {
            Some(currency) => all[key] = json!({ "value": number(value), "currency": currency }),
            None => all[key] = number(value),
        },
    }
}
