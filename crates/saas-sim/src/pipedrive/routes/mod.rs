//! Requests answered from an account's data.
//!
//! Here is everything that an operation means. Who may ask, how often, and what goes wrong on
//! the way is not looked at.

mod filter;
mod list;
mod query;
mod recents;
mod reply;
mod search;
mod small;
mod v1_in;
mod v1_list;
mod v1_out;
mod v2_in;
mod v2_list;
mod write;

use jiff::Timestamp;

use self::query::Query;
use self::reply::Fail;
use super::data::{Account, Entity, FieldKind, Table};
use super::ops::{Matched, Version, is_legacy};

pub use self::reply::Reply;
pub(crate) use self::reply::{OffsetPage, Rest};

/// One request on its way through the routes.
struct Ask<'a> {
    account: &'a Account,
    matched: &'a Matched,
    query: Query,
    body: &'a [u8],
    /// Seconds of Unix time.
    now: i64,
}

impl Account {
    /// Answers one request: the operation found for it, the query of its URL without `?`, its
    /// body, and the time at which it is served.
    ///
    /// An operation that exists but is not simulated is answered with 501.
    #[must_use]
    pub fn handle(&self, matched: &Matched, query: &str, body: &[u8], now: Timestamp) -> Reply {
        self.answer(matched, query, body, now).whole(&self.base)
    }

    /// As [`handle`](Self::handle), but a long body is not yet written to its end.
    pub(crate) fn answer(
        &self,
        matched: &Matched,
        query: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Reply {
        let query = Query::parse(query);
        let ask = Ask { account: self, matched, query, body, now: now.as_second() };
        ask.answer().unwrap_or_else(|fail| fail.reply(matched.op.version))
    }
}

impl Ask<'_> {
    fn answer(&self) -> Result<Reply, Fail> {
        let op = self.matched.op;
        if !self.account.options.legacy_v1 && is_legacy(op) {
            return Err(Fail::new(410, "This endpoint is gone, use version 2"));
        }
        let mut parts = op.path.split('/').skip(1);
        let (head, tail) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return Err(Fail::not_simulated());
        }
        match (op.method.as_str(), head, tail) {
            ("GET", "users", Some("me")) => self.me(),
            ("GET", "goals", Some("find")) => self.goals(),
            ("GET", "recents", None) => self.recents(),
            ("GET", "itemSearch", None) => self.item_search(),
            ("GET", _, Some("search")) => match Table::by_path(head) {
                Some(table) => self.search(&[table], true),
                None => Err(Fail::not_simulated()),
            },
            ("GET", "deals", Some("archived")) => self.list(Table::Deals, true),
            ("GET", "leads", Some("archived")) => self.list(Table::Leads, true),
            ("GET", "activityTypes" | "filters" | "currencies", tail) => self.fixed(head, tail),
            (method, _, tail) => {
                if let Some(kind) = FieldKind::by_path(head) {
                    return self.fields(method, kind, tail);
                }
                match Table::by_path(head) {
                    Some(table) => self.table(method, table, tail),
                    None => Err(Fail::not_simulated()),
                }
            }
        }
    }

    fn table(&self, method: &str, table: Table, tail: Option<&str>) -> Result<Reply, Fail> {
        match (method, tail) {
            ("GET", None) if table == Table::Users => self.users(),
            ("GET", None) => self.list(table, false),
            ("GET", Some("{id}")) => self.get(table),
            ("POST", None) => self.create(table),
            ("PUT" | "PATCH", Some("{id}")) => self.update(table),
            ("DELETE", Some("{id}")) => self.delete(table),
            ("DELETE", None) => self.delete_many(table),
            _ => Err(Fail::not_simulated()),
        }
    }

    fn list(&self, table: Table, archived: bool) -> Result<Reply, Fail> {
        match self.matched.op.version {
            Version::V1 => self.list_v1(table, archived),
            Version::V2 => self.list_v2(table, archived),
        }
    }

    fn fixed_entity(head: &str) -> Option<Entity> {
        Entity::by_name(head)
    }
}
