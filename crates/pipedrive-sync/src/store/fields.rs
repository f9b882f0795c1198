//! Which columns a kind of record has, by the company's own field definitions. Pure.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// PostgreSQL cuts a longer name off.
const LONGEST_NAME: usize = 63;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Number,
    Flag,
    Date,
    Time,
    /// The label of the option that was chosen.
    Option,
    /// The labels of all that were chosen, separated by a comma and a blank.
    Options,
}

/// A part of a value: its name in an object of version 2, and what version 1 adds to the key.
pub(crate) type Part = (&'static str, &'static str);

/// One column beside those that every kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Not repeated within a table, whatever the case of letters.
    pub(crate) name: String,
    pub(crate) key: String,
    /// The field is the company's own: version 2 nests those.
    pub(crate) custom: bool,
    pub(crate) part: Option<Part>,
    pub(crate) kind: Type,
    /// Identifier and label.
    pub(crate) options: Vec<(String, String)>,
}

/// One field, as either version of the API defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    key: String,
    name: String,
    field_type: String,
    custom: bool,
    options: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(alias = "key")]
    field_code: String,
    #[serde(alias = "name")]
    field_name: Option<String>,
    field_type: Option<String>,
    is_custom_field: Option<bool>,
    active_flag: Option<bool>,
    options: Option<Value>,
}

impl Definition {
    /// From a row of one of the tables of fields. None if it names no field in use.
    pub(crate) fn parse(data: &str) -> Option<Self> {
        let raw: Raw = serde_json::from_str(data).ok()?;
        // What could end a path or a name early is no key of the API's.
        let strange = |c: char| c == '"' || c == '\'' || c == '\\' || c.is_control();
        if raw.field_code.is_empty()
            || raw.field_code.contains(strange)
            || raw.active_flag == Some(false)
        {
            return None;
        }
        let hashed =
            raw.field_code.len() == 40 && raw.field_code.bytes().all(|c| c.is_ascii_hexdigit());
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let option = |option: &Value| Some((text(&option["id"])?, text(&option["label"])?));
        let options = raw.options.as_ref().and_then(Value::as_array);
        Some(Self {
            custom: raw.is_custom_field.unwrap_or(hashed),
            key: raw.field_code,
            name: raw.field_name.unwrap_or_default(),
            field_type: raw.field_type.unwrap_or_default(),
            options: options.map(|all| all.iter().filter_map(option).collect()).unwrap_or_default(),
        })
    }

    fn kind(&self) -> Type {
        match self.field_type.as_str() {
            "int" | "user" | "org" | "people" | "deal" | "stage" | "activity" | "visible_to"
            | "picture" | "participants" => Type::Int,
            "double" | "monetary" => Type::Number,
            "boolean" => Type::Flag,
            "date" if self.key.ends_with("_time") => Type::Time,
            "date" | "daterange" => Type::Date,
            "enum" => Type::Option,
            "set" => Type::Options,
            _ => Type::Text,
        }
    }

    /// The value itself, then what else belongs to it.
    fn parts(&self) -> Vec<(&'static str, Option<Part>, Type)> {
        let mut parts: Vec<(_, Option<Part>, _)> = vec![("", None, self.kind())];
        if self.custom {
            parts.extend(match self.field_type.as_str() {
                "monetary" => Some((" currency", Some(("currency", "_currency")), Type::Text)),
                "daterange" => Some((" until", Some(("until", "_until")), Type::Date)),
                "timerange" => Some((" until", Some(("until", "_until")), Type::Text)),
                "time" => Some((" time zone", Some(("timezone_name", "_timezone_id")), Type::Text)),
                _ => None,
            });
        }
        parts
    }
}

/// Columns that rows of a kind have without a definition of the company's: name and type.
fn standard(entity: &str) -> &'static [(&'static str, Type)] {
    use Type::{Flag, Int, Number, Text, Time};
    match entity {
        "users" => &[("name", Text), ("email", Text), ("active_flag", Flag), ("is_admin", Flag)],
        "currencies" => &[("code", Text), ("name", Text), ("symbol", Text), ("active_flag", Flag)],
        "activity_types" => &[("name", Text), ("key_string", Text), ("active_flag", Flag)],
        "filters" => &[("name", Text), ("type", Text), ("user_id", Int)],
        "pipelines" => &[("name", Text), ("order_nr", Int), ("add_time", Time)],
        "stages" => &[
            ("name", Text),
            ("pipeline_id", Int),
            ("order_nr", Int),
            ("deal_probability", Number),
            ("add_time", Time),
        ],
        "goals" => &[("title", Text), ("owner_id", Int), ("is_active", Flag)],
        "leads" => &[
            ("title", Text),
            ("owner_id", Int),
            ("person_id", Int),
            ("organization_id", Int),
            ("is_archived", Flag),
            ("add_time", Time),
        ],
        "notes" => &[
            ("content", Text),
            ("user_id", Int),
            ("deal_id", Int),
            ("person_id", Int),
            ("org_id", Int),
            ("lead_id", Text),
            ("add_time", Time),
        ],
        "files" => &[
            ("name", Text),
            ("file_type", Text),
            ("file_size", Int),
            ("url", Text),
            ("deal_id", Int),
            ("person_id", Int),
            ("org_id", Int),
            ("add_time", Time),
        ],
        _ => &[],
    }
}

/// The table of fields that defines a kind's columns.
pub(crate) fn defined_by(entity: &str) -> Option<&'static str> {
    Some(match entity {
        // A lead has the fields of a deal.
        "deals" | "archived_deals" | "leads" => "deal_fields",
        "persons" => "person_fields",
        "organizations" => "organization_fields",
        "products" => "product_fields",
        "activities" => "activity_fields",
        _ => return None,
    })
}

/// Columns of a kind beside `id`, `id_text`, `update_time` and `is_deleted`: those of the API by their keys, then the
/// company's own by their names.
///
/// Where two fields have one name, or a field has the name of another column, the company's own bear the first eight
/// letters of their key as well; where even that does not tell them apart, or a field has no name, the key is the name.
/// So a name never means one field today and another tomorrow.
pub(crate) fn columns(entity: &str, definitions: &[Definition]) -> Vec<Column> {
    let own = |name: &str| ["id", "id_text", "update_time", "is_deleted"].contains(&name);
    let mut columns: Vec<Column> = Vec::new();
    let plain = |name: &str, kind, options: &[(String, String)]| Column {
        name: name.to_owned(),
        key: name.to_owned(),
        custom: false,
        part: None,
        kind,
        options: options.to_vec(),
    };
    // A lead has the company's own fields of a deal, and its own others.
    let shared = entity == "leads";
    for definition in definitions.iter().filter(|definition| !definition.custom && !shared) {
        let taken = columns.iter().any(|column| same(&column.name, &definition.key));
        if !own(&definition.key.to_lowercase()) && !taken {
            columns.push(plain(&definition.key, definition.kind(), &definition.options));
        }
    }
    columns.extend(standard(entity).iter().map(|(name, kind)| plain(name, *kind, &[])));

    let custom: Vec<_> = definitions
        .iter()
        .filter(|definition| definition.custom)
        .flat_map(|field| field.parts().into_iter().map(move |part| (field, part)))
        .collect();
    let mut uses: HashMap<String, u32> = HashMap::new();
    for (field, (suffix, ..)) in &custom {
        *uses.entry(fold(&name(&field.name, suffix))).or_default() += 1;
    }
    for (field, (suffix, part, kind)) in custom {
        let short: String = field.key.chars().take(8).collect();
        let plain_name = name(&field.name, suffix);
        // Of a name of control characters nothing is left.
        let named = !name(&field.name, "").trim().is_empty();
        let clear = named && uses[&fold(&plain_name)] == 1 && !own(&fold(&plain_name));
        let candidates = [
            clear.then_some(plain_name),
            named.then(|| name(&field.name, &format!("{suffix} ({short})"))),
            Some(name(&field.key, suffix)),
        ];
        let free = candidates
            .into_iter()
            .flatten()
            .find(|name| !columns.iter().any(|column| same(&column.name, name)));
        // A key that is there twice is the same field.
        let Some(name) = free else { continue };
        columns.push(Column {
            name,
            key: field.key.clone(),
            custom: true,
            part,
            kind,
            options: field.options.clone(),
        });
    }
    columns
}

/// A name and its suffix, without what cannot be seen, cut so that it fits with the suffix whole.
fn name(base: &str, suffix: &str) -> String {
    let mut name: String = base.trim().chars().filter(|c| !c.is_control()).collect();
    while name.len() + suffix.len() > LONGEST_NAME {
        name.pop();
    }
    name + suffix
}

/// SQLite takes names for the same that differ in case.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn same(one: &str, other: &str) -> bool {
    fold(one) == fold(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

    fn v2(key: &str, name: &str, kind: &str) -> Definition {
        let json = serde_json::json!({
            "field_code": key, "field_name": name, "field_type": kind, "is_custom_field": true,
        });
        Definition::parse(&json.to_string()).unwrap()
    }

    fn names(entity: &str, definitions: &[Definition]) -> Vec<String> {
        columns(entity, definitions).into_iter().map(|column| column.name).collect()
    }

    #[test]
    fn both_versions_define_the_same_field() {
        let v1 = format!(
            r#"{{"id":7,"key":"{KEY}","name":"Size","field_type":"enum","edit_flag":true,"options":[{{"id":1,"label":"S"}},{{"id":"x","label":"L"}}]}}"#
        );
        let v2 = format!(
            r#"{{"field_code":"{KEY}","field_name":"Size","field_type":"enum","is_custom_field":true,"options":[{{"id":1,"label":"S"}},{{"id":"x","label":"L"}}]}}"#
        );
        assert_eq!(Definition::parse(&v1), Definition::parse(&v2));
        let size = Definition::parse(&v1).unwrap();
        assert!(size.custom);
        assert_eq!(size.options, [("1".into(), "S".into()), ("x".into(), "L".into())]);
    }

    #[test]
    fn what_defines_nothing_is_passed_over() {
        for data in [
            "[]",
            "{}",
            r#"{"field_code":7}"#,
            r#"{"field_code":""}"#,
            r#"{"field_code":"a'b"}"#,
            r#"{"field_code":"a\"b"}"#,
            r#"{"key":"gone","active_flag":false}"#,
        ] {
            assert_eq!(Definition::parse(data), None, "{data}");
        }
    }

    #[test]
    fn two_fields_of_one_name_both_bear_their_keys() {
        let both = [v2(KEY, "Size", "varchar"), v2(OTHER, "size", "varchar")];
        assert_eq!(names("deals", &both[..1]), ["Size"]);
        assert_eq!(names("deals", &both), ["Size (01234567)", "size (fedcba98)"]);
    }

    #[test]
    fn a_field_never_takes_the_name_of_a_column_of_the_api() {
        let title = Definition::parse(r#"{"field_code":"title","field_name":"Title"}"#).unwrap();
        let own = [title, v2(KEY, "Title", "varchar"), v2(OTHER, "ID", "int")];
        assert_eq!(names("deals", &own), ["title", "Title (01234567)", "ID (fedcba98)"]);
    }

    #[test]
    fn a_name_that_is_none_or_too_long_still_makes_a_column() {
        let long = "ä".repeat(60);
        let fields = [v2(KEY, " \u{1} ", "varchar"), v2(OTHER, &long, "monetary")];
        let names = names("deals", &fields);
        assert_eq!(names[0], KEY);
        assert_eq!(names[1], "ä".repeat(31));
        assert_eq!(names[2], "ä".repeat(27) + " currency");
        assert!(names.iter().all(|name| name.len() <= LONGEST_NAME));
    }
}
