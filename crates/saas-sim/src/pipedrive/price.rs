//! The least that a copy of the account can cost, computed from its rows and the true costs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use http::Method;
use jiff::Timestamp;
use serde::Serialize;

use super::data::{Account, Entity, FieldKind, Order, Shown, Table, table_of};
use super::ops;

/// What a copy costs at least: each list once, in its largest pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Price {
    /// Requests, the start-up ones among them.
    pub requests: u64,
    /// Tokens, the start-up ones among them.
    pub tokens: u64,
    /// Of these, the tokens of the start-up request: `GET /v1/users/me`.
    pub start_up: u64,
    /// What is read, by the name of its entity, or `recents`.
    pub lists: BTreeMap<&'static str, ListPrice>,
}

/// What one list costs at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ListPrice {
    /// Rows that it shows.
    pub rows: u64,
    /// Rows on its largest page; none if everything comes at once.
    pub page: Option<u64>,
    /// Tokens that a request costs.
    pub cost: u64,
    /// Requests: rows by page, rounded up, at least one.
    pub requests: u64,
    /// Tokens: requests by cost.
    pub tokens: u64,
}

impl ListPrice {
    fn new(path: &str, page: Option<u64>, rows: u64) -> Self {
        let cost = cost(path);
        let requests = page.map_or(1, |page| rows.div_ceil(page).max(1));
        Self { rows, page, cost, requests, tokens: requests * cost }
    }
}

fn cost(path: &str) -> u64 {
    ops::find(&Method::GET, path).map_or(0, |matched| u64::from(matched.op.tokens))
}

impl Price {
    fn new(lists: BTreeMap<&'static str, ListPrice>) -> Self {
        let start_up = cost("/v1/users/me");
        let sum = |of: fn(&ListPrice) -> u64| lists.values().map(of).sum::<u64>();
        Self {
            requests: 1 + sum(|list| list.requests),
            tokens: start_up + sum(|list| list.tokens),
            start_up,
            lists,
        }
    }
}

/// Whether the list can be asked for what changed since.
const fn tells_changes(entity: Entity) -> bool {
    matches!(
        entity,
        Entity::Deals
            | Entity::ArchivedDeals
            | Entity::Persons
            | Entity::Organizations
            | Entity::Activities
            | Entity::Products
            | Entity::Notes
            | Entity::Leads
    )
}

/// Whether `recents` tells what changed in a list that cannot be asked.
const fn in_recents(entity: Entity) -> bool {
    matches!(
        entity,
        Entity::Files
            | Entity::Pipelines
            | Entity::Stages
            | Entity::Users
            | Entity::ActivityTypes
            | Entity::Filters
    )
}

impl Account {
    /// The least that a copy of the whole account costs now.
    #[must_use]
    pub fn price_full(&self) -> Price {
        let all = Entity::ALL.map(|entity| (entity.name(), self.list_price(entity, None)));
        Price::new(BTreeMap::from(all))
    }

    /// The least that it costs to bring a copy up to date by its lists: of those that understand
    /// `updated_since` what changed at or after that second, of the others everything.
    ///
    /// Finding out what was deleted is not in it.
    #[must_use]
    pub fn price_since(&self, since: Timestamp) -> Price {
        let all = Entity::ALL.map(|entity| {
            let since = tells_changes(entity).then(|| since.as_second());
            (entity.name(), self.list_price(entity, since))
        });
        Price::new(BTreeMap::from(all))
    }

    /// As [`price_since`](Self::price_since), with one walk over `/v1/recents` for what its lists
    /// do not tell, deleted rows of all kinds among it. Holds as far back as `recents` reaches.
    #[must_use]
    pub fn price_since_by_recents(&self, since: Timestamp) -> Price {
        let mut price = self.price_since(since);
        price.lists.retain(|name, _| !Entity::by_name(name).is_some_and(in_recents));
        let since = since.as_second();
        let reader = self.read();
        let mut rows = 0;
        let quiet = [Table::Leads];
        for table in Table::ALL.into_iter().filter(|table| !quiet.contains(table)) {
            let whole = Entity::ALL
                .into_iter()
                .any(|entity| table_of(entity) == Some(table) && in_recents(entity));
            reader.view(table).walk(Order::Update, false, Some((since - 1, u64::MAX)), |_, row| {
                rows += u64::from(whole || row.meta().deleted);
                ControlFlow::Continue(())
            });
        }
        for entity in [Entity::ActivityTypes, Entity::Filters] {
            rows += self.fixed.changed_after(entity, since - 1).len() as u64;
        }
        price.lists.insert("recents", ListPrice::new("/v1/recents", Some(500), rows));
        Price::new(price.lists)
    }

    fn list_price(&self, entity: Entity, since: Option<i64>) -> ListPrice {
        let page = match entity {
            Entity::Files => Some(100),
            Entity::Goals
            | Entity::Users
            | Entity::ActivityTypes
            | Entity::Filters
            | Entity::Currencies => None,
            _ => Some(500),
        };
        ListPrice::new(&entity.list_path(), page, self.rows_since(entity, since))
    }

    /// Rows that the list shows, all or those that changed at or after a second.
    fn rows_since(&self, entity: Entity, since: Option<i64>) -> u64 {
        let Some(table) = table_of(entity) else {
            return match FieldKind::by_entity(entity) {
                Some(kind) => self.fields.of(kind).len() as u64,
                None => self.fixed.of(entity).map_or(0, |rows| rows.len()) as u64,
            };
        };
        let after = since.map(|since| (since - 1, u64::MAX));
        let mut rows = 0;
        self.read().view(table).walk(Order::Update, false, after, |_, found| {
            let meta = found.meta();
            rows += u64::from(Shown::by(table, meta.deleted, meta.archived).on(entity));
            ControlFlow::Continue(())
        });
        rows
    }
}
