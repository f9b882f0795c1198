//! What to ask a list for.

use std::time::Duration;

use jiff::Timestamp;
use tower_adaptive_page::Position;
use tower_ratelimit_tokens::{OnLimit, Priority};

use crate::entity::{Entity, Paging, Version};

/// In which order a list is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sort {
    /// By `update_time` if `updated_since` is set and the list has cursors, else by identifier, where the list can. Rows
    /// that change while a list is walked by offset would change places in the other order.
    #[default]
    Auto,
    /// By identifier, ascending.
    Id,
    /// By the time of the last change, ascending.
    UpdateTime,
    /// As the API pleases.
    Unsorted,
}

/// One page of a list; see [`Client::list`](crate::Client::list).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ListQuery {
    pub(crate) from: Option<Position>,
    pub(crate) limit: Option<u32>,
    pub(crate) updated_since: Option<Timestamp>,
    pub(crate) sort: Sort,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) time: Option<Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) on_limit: Option<OnLimit>,
}

impl ListQuery {
    /// The first page, as long as the page controller thinks right.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts at a position that an earlier page named. Default: the beginning.
    pub fn from(mut self, position: impl Into<Option<Position>>) -> Self {
        self.from = position.into();
        self
    }

    /// The most rows wanted, 1 to 500 (100 for files); the page controller may still ask for fewer, never for more.
    /// Default: what the controller says.
    pub const fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Only records changed at or after this time, where the list can. Fractions of a second are cut off, as the
    /// API rejects them. Default: all records.
    pub fn updated_since(mut self, time: impl Into<Option<Timestamp>>) -> Self {
        self.updated_since = time.into();
        self
    }

    /// The order. Default: [`Sort::Auto`].
    pub const fn sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }

    /// One more query parameter, such as `status` or `owner_id`; it is sent as it is.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How long the page may take in all, with waiting and retries. Default: without end.
    pub const fn within(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// How urgent the page is. Default: as urgent as the client's other calls.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Whether the page waits or is refused when there is no budget at once. Default: as the client's other calls.
    pub const fn on_limit(mut self, on_limit: OnLimit) -> Self {
        self.on_limit = Some(on_limit);
        self
    }

    /// The query parameters but for position and page size, in a fixed order.
    pub(crate) fn parameters(&self, entity: Entity) -> Vec<(String, String)> {
        let mut pairs = Vec::with_capacity(6 + self.parameters.len());
        if let (Some(since), true) = (self.updated_since, entity.incremental()) {
            pairs.push((
                "updated_since".to_owned(),
                since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ));
        }
        let field = match self.sort {
            Sort::Unsorted => None,
            _ if !sortable(entity) => None,
            Sort::UpdateTime => Some("update_time"),
            Sort::Auto
                if self.updated_since.is_some()
                    && entity.incremental()
                    && entity.paging() == Paging::Cursor =>
            {
                Some("update_time")
            }
            Sort::Auto | Sort::Id => Some("id"),
        };
        match (field, entity.version()) {
            (Some(field), Version::V2) => {
                pairs.push(("sort_by".to_owned(), field.to_owned()));
                pairs.push(("sort_direction".to_owned(), "asc".to_owned()));
            }
            (Some(field), Version::V1) => pairs.push(("sort".to_owned(), format!("{field} ASC"))),
            (None, _) => {}
        }
        pairs.extend(self.parameters.iter().cloned());
        pairs
    }
}

/// Lists that understand a sort parameter.
fn sortable(entity: Entity) -> bool {
    entity.paging() != Paging::Whole && !Entity::CUSTOM_FIELDS.contains(&entity)
}

/// A walk over a whole list; see [`Client::walk`](crate::Client::walk).
#[derive(Clone, Debug)]
#[must_use]
pub struct WalkOptions {
    pub(crate) query: ListQuery,
    pub(crate) prefetch: usize,
    pub(crate) hold: bool,
    pub(crate) at_once: usize,
    pub(crate) known_rows: u64,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl WalkOptions {
    /// From the beginning, one page asked for ahead.
    pub fn new() -> Self {
        Self { query: ListQuery::new(), prefetch: 1, hold: false, at_once: 1, known_rows: 0 }
    }

    /// Goes on from a position that an earlier page named. Default: the beginning.
    pub fn from(mut self, position: impl Into<Option<Position>>) -> Self {
        self.query = self.query.from(position);
        self
    }

    /// As [`ListQuery::limit`], for each page.
    pub fn limit(mut self, rows: u32) -> Self {
        self.query = self.query.limit(rows);
        self
    }

    /// Lets the bytes of a page count until the [`RowsPage`](crate::RowsPage) is dropped, so that the walks of this client
    /// have at most an eighth of the memory limit in pages, and one page. A page waits for that room before it is asked
    /// for; whoever keeps pages makes every further one wait for half a minute. Default: they count for nothing.
    pub fn hold_pages(mut self) -> Self {
        self.hold = true;
        self
    }

    /// As [`ListQuery::updated_since`].
    pub fn updated_since(mut self, time: impl Into<Option<Timestamp>>) -> Self {
        self.query = self.query.updated_since(time);
        self
    }

    /// As [`ListQuery::sort`].
    pub fn sort(mut self, sort: Sort) -> Self {
        self.query = self.query.sort(sort);
        self
    }

    /// As [`ListQuery::parameter`].
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query = self.query.parameter(name, value);
        self
    }

    /// As [`ListQuery::within`], for each page.
    pub fn within(mut self, time: Duration) -> Self {
        self.query = self.query.within(time);
        self
    }

    /// As [`ListQuery::priority`], for each page.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.query = self.query.priority(priority);
        self
    }

    /// As [`ListQuery::on_limit`], for each page.
    pub fn on_limit(mut self, on_limit: OnLimit) -> Self {
        self.query = self.query.on_limit(on_limit);
        self
    }

    /// How many pages may be asked for before the caller takes them. Default: 1.
    pub const fn prefetch(mut self, pages: usize) -> Self {
        self.prefetch = pages;
        self
    }

    /// How many pages may be under way at once, as far as the list is known to go: its first `rows` rows. Default: 1.
    ///
    /// Only lists by offsets can be asked so, those of notes, leads and files; the others name the next page in each
    /// answer. None of them says how many rows it has, so the caller must know, from the last time say: behind `rows` it
    /// goes page by page, and a page that lies behind the end after all costs as much as any other. Pages come in order.
    pub const fn at_once(mut self, pages: usize, rows: u64) -> Self {
        (self.at_once, self.known_rows) = (pages, rows);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(query: &ListQuery, entity: Entity) -> String {
        let pairs = query.parameters(entity);
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    #[test]
    fn each_version_gets_the_sort_it_understands() {
        let query = ListQuery::new();
        assert_eq!(text(&query, Entity::Deals), "sort_by=id&sort_direction=asc");
        assert_eq!(text(&query, Entity::Notes), "sort=id ASC");
        assert_eq!(text(&query, Entity::DealFields), "");
        assert_eq!(text(&query, Entity::Users), "");
    }

    #[test]
    fn updated_since_has_no_fraction_and_is_left_out_where_it_would_be_rejected() {
        let query = ListQuery::new()
            .updated_since("2026-02-10T11:00:42.511Z".parse::<Timestamp>().unwrap());
        assert_eq!(
            text(&query, Entity::Persons),
            "updated_since=2026-02-10T11:00:42Z&sort_by=update_time&sort_direction=asc"
        );
        assert_eq!(text(&query, Entity::Pipelines), "sort_by=id&sort_direction=asc");
    }
}
