//! Bodies of version 2: strict about types, and about what can be written.

use serde_json::Value;

use super::super::data::{Json, Table, seconds};
use super::reply::Fail;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A whole number above zero.
    Id,
    Number,
    Flag,
    Time,
    Date,
    List,
    Object,
    Status,
}

use Kind::{Date, Flag, Id, List, Number, Object, Status, Text, Time};

type Spec = &'static [(&'static str, Kind)];

const COMMON: Spec =
    &[("owner_id", Id), ("add_time", Time), ("update_time", Time), ("visible_to", Id)];
const DEAL: Spec = &[
    ("title", Text),
    ("person_id", Id),
    ("org_id", Id),
    ("pipeline_id", Id),
    ("stage_id", Id),
    ("value", Number),
    ("currency", Text),
    ("is_deleted", Flag),
    ("is_archived", Flag),
    ("archive_time", Time),
    ("status", Status),
    ("probability", Number),
    ("lost_reason", Text),
    ("close_time", Time),
    ("won_time", Time),
    ("lost_time", Time),
    ("expected_close_date", Date),
    ("label_ids", List),
    ("custom_fields", Object),
];
const PERSON: Spec = &[
    ("name", Text),
    ("first_name", Text),
    ("last_name", Text),
    ("org_id", Id),
    ("emails", List),
    ("phones", List),
    ("label_ids", List),
    ("custom_fields", Object),
    ("marketing_status", Text),
];
const ORGANIZATION: Spec = &[
    ("name", Text),
    ("address", Object),
    ("label_ids", List),
    ("custom_fields", Object),
    ("website", Text),
    ("linkedin", Text),
    ("industry", Number),
    ("annual_revenue", Number),
    ("employee_count", Number),
];
const ACTIVITY: Spec = &[
    ("subject", Text),
    ("type", Text),
    ("deal_id", Id),
    ("lead_id", Text),
    ("org_id", Id),
    ("project_id", Id),
    ("due_date", Date),
    ("due_time", Text),
    ("duration", Text),
    ("busy", Flag),
    ("done", Flag),
    ("location", Object),
    ("participants", List),
    ("attendees", List),
    ("public_description", Text),
    ("priority", Number),
    ("note", Text),
];
const PRODUCT: Spec = &[
    ("name", Text),
    ("code", Text),
    ("description", Text),
    ("unit", Text),
    ("tax", Number),
    ("category", Number),
    ("is_linkable", Flag),
    ("prices", List),
    ("custom_fields", Object),
    ("billing_frequency", Text),
    ("billing_frequency_cycles", Number),
];
const PIPELINE: Spec = &[("name", Text), ("is_deal_probability_enabled", Flag)];
const STAGE: Spec = &[
    ("name", Text),
    ("pipeline_id", Id),
    ("deal_probability", Number),
    ("is_deal_rot_enabled", Flag),
    ("days_to_rotten", Number),
];

fn spec(table: Table) -> (Spec, Spec) {
    match table {
        Table::Deals => (DEAL, COMMON),
        Table::Persons => (PERSON, COMMON),
        Table::Organizations => (ORGANIZATION, COMMON),
        Table::Activities => (ACTIVITY, &[("owner_id", Id)]),
        Table::Products => (PRODUCT, &[("owner_id", Id), ("visible_to", Id)]),
        Table::Pipelines => (PIPELINE, &[]),
        Table::Stages => (STAGE, &[]),
        Table::Notes | Table::Files | Table::Leads | Table::Users => (&[], &[]),
    }
}

/// Reads a body: every known key of its type, none that only the server writes. Keys that rows
/// do not have are passed over.
pub(super) fn read(table: Table, body: &[u8], row: &Json, own: &[String]) -> Result<Json, Fail> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(body) else {
        return Err(Fail::bad("The request body must be a JSON object"));
    };
    let (first, second) = spec(table);
    for (key, value) in &body {
        let known = first.iter().chain(second).find(|(known, _)| known == key);
        match known {
            Some((_, kind)) if value.is_null() || kind.fits(value) => {}
            Some((_, kind)) => {
                return Err(Fail::bad(format!("'{key}' must be {}", kind.name())));
            }
            None if row.contains_key(key) => {
                return Err(Fail::bad(format!("'{key}' is a read-only field")));
            }
            None => {}
        }
    }
    if let Some(Value::Object(custom)) = body.get("custom_fields")
        && let Some(unknown) = custom.keys().find(|key| !own.contains(key))
    {
        return Err(Fail::bad(format!("'custom_fields.{unknown}' is not a field")));
    }
    body.retain(|key, _| first.iter().chain(second).any(|(known, _)| known == key));
    for (key, value) in &mut body {
        // Whatever the offset was, rows show UTC.
        let time =
            first.iter().chain(second).any(|(known, kind)| known == key && matches!(kind, Time));
        if let (true, Some(at)) = (time, value.as_str().and_then(seconds)) {
            *value = super::super::data::moment_text(at, b'T', "Z").into();
        }
    }
    Ok(body)
}

/// What a new row cannot do without.
pub(super) fn required(table: Table) -> &'static [&'static str] {
    match table {
        Table::Deals | Table::Leads => &["title"],
        Table::Persons | Table::Organizations | Table::Products | Table::Pipelines => &["name"],
        Table::Stages => &["name", "pipeline_id"],
        Table::Notes => &["content"],
        Table::Users => &["email"],
        Table::Files => &["file_name"],
        Table::Activities => &[],
    }
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            Id => value.as_u64().is_some_and(|id| id > 0),
            Number => value.is_number(),
            Flag => value.is_boolean(),
            Time => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            Date => value.as_str().is_some_and(|text| text.parse::<jiff::civil::Date>().is_ok()),
            List => value.is_array(),
            Object => value.is_object(),
            Status => matches!(value.as_str(), Some("open" | "won" | "lost")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Text => "a string",
            Id => "a positive integer",
            Number => "a number",
            Flag => "a boolean",
            Time => "an RFC3339 time",
            Date => "a date",
            List => "an array",
            Object => "an object",
            Status => "one of open, won, lost",
        }
    }
}
