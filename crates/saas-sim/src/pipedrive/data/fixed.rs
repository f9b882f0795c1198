//! Small lists that no request changes: activity types, filters, currencies, goals.

use serde_json::{Value, json};

use super::base::{Base, hash, mix};
use super::entity::{Entity, Table};

#[derive(Debug)]
pub(crate) struct Fixed {
    activity_types: Vec<Value>,
    filters: Vec<Value>,
    currencies: Vec<Value>,
    goals: Vec<Value>,
}

const CURRENCIES: [(&str, &str, u8, &str); 12] = [
    ("EUR", "Euro", 2, "€"),
    ("USD", "US Dollar", 2, "$"),
    ("GBP", "British Pound", 2, "£"),
    ("PLN", "Polish Zloty", 2, "zł"),
    ("SEK", "Swedish Krona", 2, "kr"),
    ("NOK", "Norwegian Krone", 2, "kr"),
    ("DKK", "Danish Krone", 2, "kr"),
    ("CHF", "Swiss Franc", 2, "CHF"),
    ("JPY", "Japanese Yen", 0, "¥"),
    ("BRL", "Brazilian Real", 2, "R$"),
    ("INR", "Indian Rupee", 2, "₹"),
    ("KWD", "Kuwaiti Dinar", 3, "KD"),
];

impl Fixed {
    pub(crate) fn new(base: &Base) -> Self {
        let activity_types = super::words::ACTIVITY.iter().zip(1..).map(|(key, id)| {
            json!({
                "id": id, "order_nr": id, "name": capital(key), "key_string": key, "icon_key": key,
                "active_flag": true, "color": "FFFFFF", "is_custom_flag": false,
                "add_time": "2024-02-29 08:00:00", "update_time": "2024-02-29 08:00:00",
            })
        });
        let kinds = ["deals", "people", "org", "activity", "products", "leads"];
        let filters = kinds.iter().zip(1..).map(|(kind, id)| {
            json!({
                "id": id, "name": format!("All {kind}"), "active_flag": true, "type": kind,
                "temporary_flag": null, "user_id": 1, "add_time": "2024-03-01 09:00:00",
                "update_time": "2024-03-01 09:00:00", "visible_to": "7", "custom_view_id": id,
            })
        });
        let currencies = CURRENCIES.iter().zip(1..).map(|((code, name, digits, symbol), id)| {
            json!({
                "id": id, "code": code, "name": name, "decimal_points": digits, "symbol": symbol,
                "active_flag": true, "is_custom_flag": false,
            })
        });
        let goals = (0..base.sizes.users.min(4)).map(|nth| {
            let bits = mix(hash(base.seed, Table::Users, nth ^ 0xffff_0000));
            json!({
                "id": format!("{bits:016x}{:08x}", mix(bits) >> 32),
                "owner_id": nth + 1,
                "title": format!("Won deals, user {}", nth + 1),
                "type": { "name": "deals_won", "params": { "pipeline_id": [1] } },
                "assignee": { "type": "person", "id": nth + 1 },
                "interval": if nth % 2 == 0 { "monthly" } else { "quarterly" },
                "duration": { "start": "2026-01-01", "end": "2026-12-31" },
                "expected_outcome": { "target": 10 * (nth + 1), "tracking_metric": "quantity" },
                "is_active": true,
                "report_ids": [],
            })
        });
        Self {
            activity_types: activity_types.collect(),
            filters: filters.collect(),
            currencies: currencies.collect(),
            goals: goals.collect(),
        }
    }

    pub(crate) fn of(&self, entity: Entity) -> Option<&[Value]> {
        Some(match entity {
            Entity::ActivityTypes => &self.activity_types,
            Entity::Filters => &self.filters,
            Entity::Currencies => &self.currencies,
            Entity::Goals => &self.goals,
            _ => return None,
        })
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
