//! `GET /v1/recents`: what changed lately, of several kinds together, deleted rows among it.

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{BoxError, Client, Entity, Error, Row, RowId, classify::Garbled, costs, page};

/// The path of the list.
pub const RECENTS: &str = "/api/v1/recents";

/// Tokens that a page of it costs.
#[must_use]
pub fn cost() -> u32 {
    costs::of(&Method::GET, RECENTS)
}

/// The kinds that it shows, by the names that it has for them.
const ITEMS: [(Entity, &str); 12] = [
    (Entity::Activities, "activity"),
    (Entity::ActivityTypes, "activityType"),
    (Entity::Deals, "deal"),
    (Entity::Files, "file"),
    (Entity::Filters, "filter"),
    (Entity::Notes, "note"),
    (Entity::Persons, "person"),
    (Entity::Organizations, "organization"),
    (Entity::Pipelines, "pipeline"),
    (Entity::Products, "product"),
    (Entity::Stages, "stage"),
    (Entity::Users, "user"),
];

/// What to ask recents for; see [`Client::recents`].
#[derive(Clone, Debug)]
pub struct RecentsQuery {
    /// The kinds wanted. Those that recents does not show are left out.
    pub entities: Vec<Entity>,
    /// Changes after this second; it is not settled whether those of the second itself are shown. At most a month back.
    pub since: Timestamp,
    /// So many rows are left out at the beginning.
    pub start: u64,
    /// The most rows wanted, 1 to 500.
    pub limit: u32,
    /// The kinds of which the rows themselves are wanted, in the form that version 1 has.
    pub whole: Vec<Entity>,
}

/// A row that changed lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// Its kind.
    pub entity: Entity,
    /// Its identifier.
    pub id: RowId,
    /// It is deleted: there is no data of it, or the data says so.
    pub deleted: bool,
}

/// One page of recents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecentsPage {
    /// The rows, the oldest change first. What is none is left out.
    pub rows: Vec<Recent>,
    /// The rows themselves, where they were wanted [whole](RecentsQuery::whole) and are not deleted, in the same order.
    pub whole: Vec<(Entity, Row)>,
    /// How many rows that were wanted whole cannot be used; their lists show what is wrong with them.
    pub unusable: usize,
    /// The kinds of which there is any row, whatever it looks like.
    pub shown: Vec<Entity>,
    /// How many rows do not say of which of these kinds they are.
    pub unknown: usize,
    /// How many rows the answer had.
    pub len: usize,
    /// When the last row of the page changed.
    pub last: Option<Timestamp>,
    /// Whether more rows follow.
    pub more: bool,
    /// Bytes of the answer's body.
    pub bytes: usize,
}

impl Entity {
    /// Whether [recents](Client::recents) show this kind.
    #[must_use]
    pub fn in_recents(self) -> bool {
        ITEMS.iter().any(|(entity, _)| *entity == self)
    }
}

impl RecentsQuery {
    /// The query parameters, in a fixed order.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let names: Vec<_> = ITEMS
            .iter()
            .filter(|(entity, _)| self.entities.contains(entity))
            .map(|(_, name)| *name)
            .collect();
        vec![
            ("since_timestamp", self.since.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            ("items", names.join(",")),
            ("start", self.start.to_string()),
            ("limit", self.limit.clamp(1, 500).to_string()),
        ]
    }
}

impl Client {
    /// One page of what changed lately, of several kinds together. Costs [`cost`] tokens.
    ///
    /// Rows are sorted by the time of their change and counted, so who goes on by `start` misses rows that change
    /// meanwhile; go on from [`RecentsPage::last`] instead, one second earlier.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn recents(&self, query: &RecentsQuery) -> Result<RecentsPage, Error> {
        let request = self.requests.recents(query)?;
        let whole = query.whole.clone();
        self.fetch(request, move |body| read(body, &whole)).await
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    success: Option<bool>,
    #[serde(borrow, default)]
    data: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    additional_data: More,
}

#[derive(Default, Deserialize)]
struct More {
    #[serde(default)]
    last_timestamp_on_page: Option<String>,
    #[serde(default)]
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
struct Pagination {
    #[serde(default)]
    more_items_in_collection: bool,
}

/// Of which kind a row is; the rest of it may be anything.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    item: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Item<'a> {
    id: RowId,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// What version 1 says of a row that is deleted.
#[derive(Deserialize)]
struct Marks {
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default)]
    active_flag: Option<bool>,
}

fn read(body: &Bytes, wanted: &[Entity]) -> Result<RecentsPage, BoxError> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(Garbled::json)?;
    if envelope.success == Some(false) {
        return Err(Garbled::Unsuccessful.into());
    }
    let raws = envelope.data.unwrap_or_default();
    let len = raws.len();
    let (mut whole, mut unusable) = (Vec::new(), 0);
    let (mut shown, mut unknown) = (Vec::new(), 0);
    let rows = raws.into_iter().filter_map(|raw| {
        let kind = serde_json::from_str::<Kind<'_>>(raw.get()).ok();
        let kind = kind.and_then(|Kind { item }| ITEMS.into_iter().find(|(_, name)| *name == item));
        let Some((entity, _)) = kind else {
            unknown += 1;
            return None;
        };
        if !shown.contains(&entity) {
            shown.push(entity);
        }
        let item: Item<'_> = serde_json::from_str(raw.get()).ok()?;
        // A user comes in a list; whoever left the company is no deleted row.
        let deleted = match item.data {
            None => true,
            Some(data) => serde_json::from_str::<Marks>(data.get())
                .is_ok_and(|marks| marks.deleted == Some(true) || marks.active_flag == Some(false)),
        };
        if let Some(data) = item.data.filter(|_| !deleted && wanted.contains(&entity)) {
            match page::row(data.to_owned()) {
                Ok(row) => whole.push((entity, row)),
                Err(_) => unusable += 1,
            }
        }
        Some(Recent { entity, id: item.id, deleted })
    });
    let rows = rows.collect();
    let More { last_timestamp_on_page, pagination } = envelope.additional_data;
    let last = last_timestamp_on_page.as_deref().and_then(|text| {
        let text = text.trim_end_matches('Z');
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    let more = pagination.more_items_in_collection;
    let bytes = body.len();
    Ok(RecentsPage { rows, whole, unusable, shown, unknown, len, last, more, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_data_is_deleted_and_so_is_one_that_says_so() {
        let body = br#"{"success":true,"data":[
            {"item":"person","id":1,"data":null},
            {"item":"person","id":2,"data":{"id":2,"active_flag":false}},
            {"item":"note","id":3,"data":{"id":3,"active_flag":true}},
            {"item":"deal","id":4,"data":{"id":4,"deleted":true}},
            {"item":"user","id":5,"data":[{"id":5,"active_flag":false}]},
            {"item":"spaceship","id":6,"data":null},
            "nonsense"],
            "additional_data":{"since_timestamp":"2026-02-10 11:00:00","last_timestamp_on_page":"2026-02-10 11:00:42",
              "pagination":{"start":0,"limit":500,"more_items_in_collection":true,"next_start":7}}}"#;
        let page = read(&Bytes::from_static(body), &[]).unwrap();
        let rows: Vec<_> =
            page.rows.iter().map(|row| (row.entity, row.id.to_string(), row.deleted)).collect();
        let row = |entity, id: &str, deleted| (entity, id.to_owned(), deleted);
        assert_eq!(
            rows,
            [
                row(Entity::Persons, "1", true),
                row(Entity::Persons, "2", true),
                row(Entity::Notes, "3", false),
                row(Entity::Deals, "4", true),
                row(Entity::Users, "5", false),
            ]
        );
        assert_eq!((page.len, page.more, page.unknown), (7, true, 2));
        assert_eq!(page.last, Some("2026-02-10T11:00:42Z".parse().unwrap()));
    }

    #[test]
    fn nothing_and_a_refusal_are_told_apart() {
        let nothing = Bytes::from_static(br#"{"success":true,"data":null}"#);
        assert_eq!(read(&nothing, &[]).unwrap().len, 0);
        let refusal = Bytes::from_static(br#"{"success":false,"data":null}"#);
        assert!(read(&refusal, &[]).is_err());
    }

    #[test]
    fn of_the_kinds_wanted_whole_a_row_comes_letter_for_letter_or_is_counted() {
        let body = Bytes::from_static(
            br#"{"success":true,"data":[
            {"item":"file","id":1,"data":{"id":1, "update_time":"2026-02-10 11:00:42","active_flag":true,"size":4.50}},
            {"item":"file","id":2,"data":null},
            {"item":"file","id":3,"data":{"id":3,"update_time":7}},
            {"item":"note","id":4,"data":{"id":4}}]}"#,
        );
        let page = read(&body, &[Entity::Files]).unwrap();
        let [(Entity::Files, row)] = &page.whole[..] else { panic!("{page:?}") };
        assert!(row.raw.get().starts_with(r#"{"id":1, "#) && row.raw.get().contains("4.50"));
        assert_eq!(row.update_time.as_deref(), Some("2026-02-10 11:00:42"));
        assert_eq!((page.rows.len(), page.unusable), (4, 1));
        assert!(read(&body, &[]).unwrap().whole.is_empty());
    }

    #[test]
    fn a_kind_is_shown_by_a_row_that_says_nothing_else_and_what_is_of_no_kind_is_counted() {
        let body = Bytes::from_static(
            br#"{"success":true,"data":[{"item":"user","id":null,"data":[]},{"item":"user"},
            {"item":"activity\u0054ype","id":{},"data":7},{"item":"filter","id":3,"data":null},
            {"item":"activity_type","id":3},{"id":3,"data":{}},null]}"#,
        );
        let page = read(&body, &[]).unwrap();
        assert_eq!(page.shown, [Entity::Users, Entity::ActivityTypes, Entity::Filters]);
        assert_eq!((page.rows.len(), page.unknown, page.len), (1, 3, 7));
    }

    #[test]
    fn it_is_asked_for_in_the_form_that_version_one_wants() {
        let query = RecentsQuery {
            entities: vec![Entity::Notes, Entity::Leads, Entity::Persons],
            since: "2026-02-10T11:00:42.9Z".parse().unwrap(),
            start: 500,
            limit: 900,
            whole: Vec::new(),
        };
        let pairs = query.parameters();
        assert_eq!(pairs[0], ("since_timestamp", "2026-02-10 11:00:42".into()));
        assert_eq!(pairs[1], ("items", "note,person".into()));
        assert_eq!(pairs[3], ("limit", "500".into()));
        assert!(!Entity::Leads.in_recents() && Entity::Persons.in_recents());
    }
}
