//! The field lists: which properties the rows of a kind have, in both versions' shapes.

use serde_json::{Value, json};

use super::base::Base;
use super::entity::{Entity, Table};
use super::store::Json;

/// The kinds of rows whose fields can be listed: five in both versions, and notes in version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldKind(pub(crate) Table);

impl FieldKind {
    /// From the first segment of a path, such as `dealFields`.
    pub(crate) fn by_path(path: &str) -> Option<Self> {
        if path == "noteFields" {
            return Some(Self(Table::Notes));
        }
        Self::by_entity(Entity::by_name(path)?)
    }

    pub(crate) fn by_entity(entity: Entity) -> Option<Self> {
        Some(Self(match entity {
            Entity::DealFields => Table::Deals,
            Entity::PersonFields => Table::Persons,
            Entity::OrganizationFields => Table::Organizations,
            Entity::ProductFields => Table::Products,
            Entity::ActivityFields => Table::Activities,
            _ => return None,
        }))
    }
}

#[derive(Debug)]
pub(crate) struct Field {
    /// The id in version 1; version 2 has none.
    pub(crate) id: u64,
    pub(crate) code: String,
    v1: Json,
    v2: Json,
}

impl Field {
    pub(crate) fn v1(&self) -> &Json {
        &self.v1
    }

    pub(crate) fn v2(&self) -> &Json {
        &self.v2
    }
}

#[derive(Debug)]
pub(crate) struct Fields([Vec<Field>; Table::COUNT]);

const DEALS: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("title", "Title", "varchar"),
    ("creator_user_id", "Creator", "user"),
    ("owner_id", "Owner", "user"),
    ("value", "Value", "monetary"),
    ("weighted_value", "Weighted value", "monetary"),
    ("currency", "Currency of Value", "varchar"),
    ("probability", "Probability", "int"),
    ("org_id", "Organization", "org"),
    ("pipeline", "Pipeline", "double"),
    ("person_id", "Contact person", "people"),
    ("stage_id", "Stage", "stage"),
    ("label_ids", "Label", "set"),
    ("status", "Status", "status"),
    ("add_time", "Deal created", "date"),
    ("update_time", "Update time", "date"),
    ("stage_change_time", "Last stage change", "date"),
    ("won_time", "Won time", "date"),
    ("lost_time", "Lost time", "date"),
    ("close_time", "Deal closed on", "date"),
    ("lost_reason", "Lost reason", "varchar_options"),
    ("visible_to", "Visible to", "visible_to"),
    ("expected_close_date", "Expected close date", "date"),
    ("is_archived", "Is archived", "boolean"),
    ("archive_time", "Archive time", "date"),
    ("origin", "Source origin", "varchar"),
];
const PERSONS: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("name", "Name", "varchar"),
    ("first_name", "First name", "varchar"),
    ("last_name", "Last name", "varchar"),
    ("owner_id", "Owner", "user"),
    ("org_id", "Organization", "org"),
    ("emails", "Email", "varchar"),
    ("phones", "Phone", "phone"),
    ("label_ids", "Label", "set"),
    ("add_time", "Person created", "date"),
    ("update_time", "Update time", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("picture_id", "Profile picture", "picture"),
];
const ORGANIZATIONS: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("name", "Name", "varchar"),
    ("owner_id", "Owner", "user"),
    ("label_ids", "Label", "set"),
    ("address", "Address", "address"),
    ("add_time", "Organization created", "date"),
    ("update_time", "Update time", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("website", "Website", "varchar"),
    ("linkedin", "LinkedIn profile", "varchar"),
    ("industry", "Industry", "enum"),
    ("annual_revenue", "Annual revenue", "monetary"),
    ("employee_count", "Number of employees", "int"),
];
const PRODUCTS: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("name", "Name", "varchar"),
    ("code", "Product code", "varchar"),
    ("description", "Description", "text"),
    ("unit", "Unit", "varchar"),
    ("tax", "Tax", "double"),
    ("category", "Category", "enum"),
    ("owner_id", "Owner", "user"),
    ("prices", "Unit prices", "price_list"),
    ("add_time", "Product created", "date"),
    ("update_time", "Update time", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("billing_frequency", "Billing frequency", "billing_frequency"),
];
const ACTIVITIES: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("subject", "Subject", "varchar"),
    ("type", "Type", "activity_type"),
    ("owner_id", "Assigned to user", "user"),
    ("creator_user_id", "Creator", "user"),
    ("due_date", "Due date", "date"),
    ("due_time", "Due time", "time"),
    ("duration", "Duration", "time"),
    ("busy", "Free/busy", "enum"),
    ("done", "Done", "boolean"),
    ("deal_id", "Deal", "deal"),
    ("lead_id", "Lead", "lead"),
    ("person_id", "Contact person", "participants"),
    ("org_id", "Organization", "org"),
    ("note", "Note", "text"),
    ("location", "Location", "address"),
    ("priority", "Priority", "enum"),
    ("add_time", "Add time", "date"),
    ("update_time", "Update time", "date"),
];
const NOTES: &[(&str, &str, &str)] = &[
    ("id", "ID", "int"),
    ("content", "Content", "text"),
    ("user_id", "User", "user"),
    ("deal_id", "Deal", "deal"),
    ("lead_id", "Lead", "lead"),
    ("person_id", "Person", "person"),
    ("org_id", "Organization", "organization"),
    ("add_time", "Add time", "date"),
    ("update_time", "Update time", "date"),
];

impl Fields {
    pub(crate) fn new(base: &Base) -> Self {
        Self(Table::ALL.map(|table| {
            let standard = match table {
                Table::Deals => DEALS,
                Table::Persons => PERSONS,
                Table::Organizations => ORGANIZATIONS,
                Table::Products => PRODUCTS,
                Table::Activities => ACTIVITIES,
                Table::Notes => NOTES,
                _ => &[],
            };
            let first = 12_400 + 100 * table as u64;
            let mut fields: Vec<_> = standard
                .iter()
                .zip(first..)
                .map(|((code, name, kind), id)| field(id, code, name, kind, &Value::Null, false))
                .collect();
            for own in base.custom(table) {
                let options: Vec<_> = own
                    .options
                    .iter()
                    .zip(own.first_option..)
                    .map(|(label, id)| json!({ "id": id, "label": label, "color": null }))
                    .collect();
                let options = if options.is_empty() { Value::Null } else { options.into() };
                let id = first + fields.len() as u64;
                fields.push(field(id, &own.key, own.name, own.kind.name(), &options, true));
            }
            fields
        }))
    }

    pub(crate) fn of(&self, kind: FieldKind) -> &[Field] {
        &self.0[kind.0 as usize]
    }
}

fn field(id: u64, code: &str, name: &str, kind: &str, options: &Value, custom: bool) -> Field {
    let subfields = match (custom, kind) {
        (true, "monetary") => json!([{
            "field_code": format!("{code}_currency"),
            "field_name": "Currency",
            "field_type": "varchar",
        }]),
        _ => Value::Null,
    };
    let v2 = json!({
        "field_code": code,
        "field_name": name,
        "field_type": kind,
        "options": options,
        "subfields": subfields,
        "is_custom_field": custom,
        "is_optional_response_field": false,
    });
    // Version 1 knows a few fields by other names.
    let key = match code {
        "emails" => "email",
        "phones" => "phone",
        "label_ids" => "label",
        other => other,
    };
    let v1 = json!({
        "id": id,
        "key": key,
        "name": name,
        "order_nr": id % 100,
        "field_type": kind,
        "add_time": "2024-02-29 08:00:00",
        "update_time": "2024-02-29 08:00:00",
        "last_updated_by_user_id": null,
        "created_by_user_id": null,
        "active_flag": true,
        "edit_flag": custom,
        "index_visible_flag": true,
        "details_visible_flag": true,
        "add_visible_flag": false,
        "important_flag": false,
        "bulk_edit_allowed": true,
        "searchable_flag": false,
        "filtering_allowed": true,
        "sortable_flag": true,
        "mandatory_flag": matches!(code, "title" | "name"),
        "options": options,
    });
    let object = |value: Value| match value {
        Value::Object(map) => map,
        _ => Json::new(),
    };
    Field { id, code: code.to_owned(), v1: object(v1), v2: object(v2) }
}
