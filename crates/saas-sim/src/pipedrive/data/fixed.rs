//! Small lists that no request changes: activity types, filters, currencies, goals. A test may change the first two.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

use super::base::{Base, hash, mix};
use super::entity::{Entity, Table};
use super::json::moment_text;
use super::write::seconds;

#[derive(Debug)]
pub(crate) struct Fixed {
    activity_types: RwLock<Small>,
    filters: RwLock<Small>,
    currencies: RwLock<Small>,
    goals: RwLock<Small>,
}

/// One of the lists.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    /// What it shows.
    pub(crate) rows: Arc<[Value]>,
    /// What was deleted from it.
    pub(crate) deleted: Arc<[Value]>,
}

impl Small {
    fn new(rows: impl Iterator<Item = Value>) -> RwLock<Self> {
        RwLock::new(Self { rows: rows.collect(), deleted: Arc::default() })
    }
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
            activity_types: Small::new(activity_types),
            filters: Small::new(filters),
            currencies: Small::new(currencies),
            goals: Small::new(goals),
        }
    }

    /// What a list shows.
    pub(crate) fn of(&self, entity: Entity) -> Option<Arc<[Value]>> {
        self.list(entity).map(|list| list.rows)
    }

    /// What a list shows, and what was deleted from it.
    pub(crate) fn list(&self, entity: Entity) -> Option<Small> {
        let list = self.held(entity)?.read().unwrap_or_else(PoisonError::into_inner);
        Some(list.clone())
    }

    /// Changes a row; without changes, deletes it. False if there is none, or the list never changes.
    pub(crate) fn change(&self, entity: Entity, id: &str, to: Option<&Value>, now: i64) -> bool {
        if !matches!(entity, Entity::ActivityTypes | Entity::Filters) {
            return false;
        }
        let Some(list) = self.held(entity) else { return false };
        let mut list = list.write().unwrap_or_else(PoisonError::into_inner);
        let mut rows = list.rows.to_vec();
        let id = id.parse::<u64>().unwrap_or_default();
        let Some(place) = rows.iter().position(|row| row["id"] == id) else { return false };
        let mut row = rows[place].clone();
        row["update_time"] = moment_text(now, b' ', "").into();
        let Some(to) = to else {
            rows.remove(place);
            row["active_flag"] = false.into();
            list.deleted = list.deleted.iter().cloned().chain([row]).collect();
            list.rows = rows.into();
            return true;
        };
        for (key, value) in to.as_object().into_iter().flatten() {
            row[key.as_str()] = value.clone();
        }
        rows[place] = row;
        list.rows = rows.into();
        true
    }

    /// What has changed after a second: when, the row, and whether it was deleted.
    pub(crate) fn changed_after(&self, entity: Entity, behind: i64) -> Vec<(i64, Value, bool)> {
        let Some(Small { rows, deleted }) = self.list(entity) else { return Vec::new() };
        let rows = rows.iter().map(|row| (row, false));
        let all = rows.chain(deleted.iter().map(|row| (row, true)));
        let changed = all.filter_map(|(row, gone)| {
            let at = row["update_time"].as_str().and_then(seconds)?;
            (at > behind).then(|| (at, row.clone(), gone))
        });
        changed.collect()
    }

    fn held(&self, entity: Entity) -> Option<&RwLock<Small>> {
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
