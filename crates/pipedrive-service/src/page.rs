//! Envelopes of both versions of the API, and rows whose JSON is kept as it came.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_adaptive_page::{Next, Position};

use crate::{
    BoxError,
    classify::Garbled,
    entity::{Entity, Paging},
    holdings::Held,
};

/// What identifies a row: a number for most kinds, a text for leads, goals and field definitions.
///
/// Numbers sort before texts, numbers by value and texts letter by letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RowId {
    /// A numeric identifier.
    Number(i64),
    /// A textual identifier.
    Text(String),
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<i64> for RowId {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for RowId {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for RowId {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl FromStr for RowId {
    type Err = std::convert::Infallible;

    /// A text that is a whole number becomes a number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Number))
    }
}

/// One record, with all its fields as the API sent them.
#[derive(Clone, Debug)]
pub struct Row {
    /// The identifier.
    pub id: RowId,
    /// When the record last changed, as the API wrote it; none where the kind has no such field.
    pub update_time: Option<String>,
    /// The whole record.
    pub raw: Box<RawValue>,
}

impl Row {
    /// The record as a tree.
    ///
    /// # Panics
    ///
    /// Never: a raw value was checked to be JSON when it was read.
    #[must_use]
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(self.raw.get()).expect("a raw value is JSON")
    }

    /// The record in a type of the caller's.
    ///
    /// # Errors
    ///
    /// If the record does not fit the type.
    pub fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.raw.get())
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RowsPage {
    /// The rows, in the order of the answer.
    pub rows: Vec<Row>,
    /// Where this page was asked for.
    pub position: Position,
    /// Where to go on after it; none at the end of the list.
    pub next: Option<Position>,
    /// Bytes of the answer's body.
    pub bytes: usize,
    #[allow(dead_code, reason = "what counts is when it is dropped")]
    pub(crate) held: Option<Held>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    success: Option<bool>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    additional_data: Option<AdditionalData>,
}

#[derive(Deserialize, Default)]
struct AdditionalData {
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    more_items_in_collection: bool,
    #[serde(default)]
    next_start: Option<u64>,
}

impl Pagination {
    fn next(&self) -> Option<u64> {
        self.next_start.filter(|_| self.more_items_in_collection)
    }
}

#[derive(Deserialize)]
struct Goals<'a> {
    #[serde(borrow)]
    goals: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Goal<'a> {
    #[serde(borrow, default)]
    goal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    id: Option<RowId>,
    #[serde(default)]
    field_code: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    update_time: Option<String>,
}

/// What one answer to a list request holds.
pub(crate) struct List {
    pub(crate) rows: Vec<Row>,
    pub(crate) next: Next,
    pub(crate) bytes: usize,
    pub(crate) held: Option<Held>,
}

impl List {
    /// The same, with the position that was asked for.
    pub(crate) fn at(self, position: Position) -> RowsPage {
        let next = match self.next {
            Next::Cursor(cursor) => Some(Position::Cursor(cursor)),
            Next::Offset(offset) => Some(Position::Offset(offset)),
            _ => None,
        };
        RowsPage { rows: self.rows, position, next, bytes: self.bytes, held: self.held }
    }
}

/// Reads one answer to a list request.
pub(crate) fn list(entity: Entity, body: &Bytes) -> Result<List, BoxError> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(Garbled::json)?;
    let paged = envelope.additional_data.as_ref().is_some_and(|more| more.pagination.is_some());
    let data = match data(&envelope) {
        // Version 1 writes null for a list of nothing, and says that no page follows.
        Err(Garbled::NoData) if paged => {
            return Ok(List { rows: Vec::new(), next: Next::End, bytes: body.len(), held: None });
        }
        data => data?,
    };
    let raws: Vec<&RawValue> = if entity == Entity::Goals {
        serde_json::from_str::<Goals<'_>>(data.get()).map_err(Garbled::json)?.goals
    } else {
        serde_json::from_str(data.get()).map_err(Garbled::json)?
    };
    let mut rows = Vec::with_capacity(raws.len());
    for raw in raws {
        rows.push(row(raw.to_owned())?);
    }
    let more = envelope.additional_data.unwrap_or_default();
    let next = match entity.paging() {
        Paging::Cursor => Next::cursor(more.next_cursor),
        Paging::Offset => Next::offset(more.pagination.as_ref().and_then(Pagination::next)),
        Paging::Whole => Next::End,
    };
    Ok(List { rows, next, bytes: body.len(), held: None })
}

/// Reads the one record of an answer.
pub(crate) fn one(body: &Bytes) -> Result<Row, BoxError> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(Garbled::json)?;
    let data = data(&envelope)?;
    // A goal comes wrapped once more.
    match serde_json::from_str(data.get()) {
        Ok(Goal { goal: Some(goal) }) => row(goal.to_owned()),
        _ => row(data.to_owned()),
    }
}

fn data<'a>(envelope: &Envelope<'a>) -> Result<&'a RawValue, Garbled> {
    match envelope.data {
        _ if envelope.success == Some(false) => Err(Garbled::Unsuccessful),
        Some(data) if data.get() != "null" => Ok(data),
        _ => Err(Garbled::NoData),
    }
}

fn row(raw: Box<RawValue>) -> Result<Row, BoxError> {
    let head: Head = serde_json::from_str(raw.get()).map_err(Garbled::json)?;
    // Version 2 knows field definitions by their code, version 1 by their key, and either may leave out `id`.
    let id = head
        .id
        .or_else(|| head.field_code.or(head.key).or(head.code).map(RowId::Text))
        .ok_or(Garbled::NoId)?;
    Ok(Row { id, update_time: head.update_time, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_page_names_where_to_go_on() {
        let body = Bytes::from_static(
            br#"{"success":true,"data":[{"id":812,"update_time":"2026-02-10T11:00:42Z","value":4200.50}],"additional_data":{"next_cursor":"abc"}}"#,
        );
        let page = list(Entity::Deals, &body).unwrap();
        assert_eq!(page.rows[0].id, RowId::Number(812));
        assert_eq!(page.rows[0].update_time.as_deref(), Some("2026-02-10T11:00:42Z"));
        assert!(page.rows[0].raw.get().contains("4200.50"), "digits are kept as they came");
        assert_eq!(page.next, Next::Cursor("abc".into()));
        assert_eq!(page.bytes, body.len());
    }

    #[test]
    fn a_list_without_additional_data_has_ended() {
        for tail in ["", r#","additional_data":null"#, r#","additional_data":{"next_cursor":null}"#]
        {
            let body = Bytes::from(format!(r#"{{"success":true,"data":[]{tail}}}"#));
            assert_eq!(list(Entity::Persons, &body).unwrap().next, Next::End, "{tail}");
        }
    }

    #[test]
    fn an_offset_page_goes_on_only_when_more_is_said_to_come() {
        let page = |pagination: &str| {
            let body = Bytes::from(format!(
                r#"{{"success":true,"data":[],"additional_data":{{"pagination":{pagination}}}}}"#
            ));
            list(Entity::Notes, &body).unwrap().next
        };
        let more = r#"{"start":0,"limit":500,"more_items_in_collection":true,"next_start":500}"#;
        assert_eq!(page(more), Next::Offset(500));
        assert_eq!(page(r#"{"start":0,"limit":500,"more_items_in_collection":false}"#), Next::End);
    }

    #[test]
    fn goals_come_wrapped_and_fields_without_a_number() {
        let goals = Bytes::from_static(
            br#"{"success":true,"statusCode":20000,"data":{"goals":[{"id":"5d2f","title":"more"}]}}"#,
        );
        assert_eq!(list(Entity::Goals, &goals).unwrap().rows[0].id, RowId::from("5d2f"));
        let fields = Bytes::from_static(
            br#"{"success":true,"data":[{"field_name":"Title","field_code":"title"}]}"#,
        );
        assert_eq!(list(Entity::DealFields, &fields).unwrap().rows[0].id, RowId::from("title"));
    }

    #[test]
    fn null_data_truncation_and_refusal_are_told_apart() {
        let garbled = |text: &'static str| {
            let error =
                list(Entity::Deals, &Bytes::from_static(text.as_bytes())).map(|_| ()).unwrap_err();
            error.downcast::<Garbled>().unwrap()
        };
        assert!(matches!(*garbled(r#"{"success":true,"data":null}"#), Garbled::NoData));
        assert!(matches!(*garbled(r#"{"success":true,"data":[{"id":1"#), Garbled::Json(_)));
        assert!(matches!(*garbled(r#"{"success":false,"data":[]}"#), Garbled::Unsuccessful));
        assert!(matches!(*garbled(r#"{"success":true,"data":[{"name":"?"}]}"#), Garbled::NoId));
    }

    #[test]
    fn identifiers_sort_by_value() {
        let mut ids: Vec<RowId> =
            ["b", "10", "9", "a"].iter().map(|text| text.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids, [RowId::Number(9), RowId::Number(10), RowId::from("a"), RowId::from("b")]);
    }
}
