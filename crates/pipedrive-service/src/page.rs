//! Envelopes of both versions of the API, and rows whose JSON is kept as it came.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_adaptive_page::{Next, Position, row_key};

use crate::{
    BoxError,
    classify::Garbled,
    entity::{Entity, Paging},
    holdings::Held,
    rejected::{self, RejectedRow, RowFault},
};

/// What identifies a row: a number for most kinds, a text for leads, goals and field definitions.
///
/// Numbers sort before texts, numbers by value and texts letter by letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RowId {
    /// A numeric identifier.
    Number(i64),
    /// A textual identifier, or a whole number beyond 64 bits as its digits.
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

impl RowId {
    /// A key for walks that overlap.
    pub(crate) fn key(&self) -> u64 {
        match self {
            Self::Number(number) => number.cast_unsigned(),
            Self::Text(text) => row_key(text),
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
    /// Rows that cannot be used, each with its reason and its bytes; nearly always none.
    pub rejected: Vec<RejectedRow>,
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

/// What one answer to a list request holds.
pub(crate) struct List {
    pub(crate) rows: Vec<Row>,
    pub(crate) rejected: Vec<RejectedRow>,
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
        RowsPage {
            rows: self.rows,
            rejected: self.rejected,
            position,
            next,
            bytes: self.bytes,
            held: self.held,
        }
    }

    /// How many rows the answer has, those that cannot be used among them.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// What identifies each row, in the order of the answer.
    pub(crate) fn keys(&self) -> Vec<u64> {
        let mut rejected = self.rejected.iter().peekable();
        let mut good = self.rows.iter();
        let key = |place| match rejected.next_if(|row| row.place == place) {
            Some(row) => row.key(),
            None => good.next().map_or(0, |row| row.id.key()),
        };
        (0..self.len()).map(key).collect()
    }

    /// Forgets the first rows of the answer, which an overlapping walk has had before.
    pub(crate) fn skip(&mut self, rows: usize) {
        let rejected = self.rejected.partition_point(|row| row.place < rows);
        self.rejected.drain(..rejected);
        self.rows.drain(..rows - rejected);
    }
}

/// Reads one answer to a list request.
pub(crate) fn list(entity: Entity, body: &Bytes) -> Result<List, BoxError> {
    match read(entity, body, body) {
        // The parser wants all of it to be UTF-8; where it is not, only the rows concerned are lost.
        Err(_) if std::str::from_utf8(body).is_err() => {
            read(entity, &rejected::patched(body), body)
        }
        list => list,
    }
}

/// Reads `text`, which is `body` but for bytes that are no UTF-8.
fn read(entity: Entity, text: &[u8], body: &Bytes) -> Result<List, BoxError> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(Garbled::json)?;
    let paged = envelope.additional_data.as_ref().is_some_and(|more| more.pagination.is_some());
    let empty =
        |next| List { rows: Vec::new(), rejected: Vec::new(), next, bytes: body.len(), held: None };
    let data = match data(&envelope) {
        // Version 1 writes null for a list of nothing, and says that no page follows.
        Err(Garbled::NoData) if paged => return Ok(empty(Next::End)),
        data => data?,
    };
    let raws: Vec<&RawValue> = if entity == Entity::Goals {
        serde_json::from_str::<Goals<'_>>(data.get()).map_err(Garbled::json)?.goals
    } else {
        serde_json::from_str(data.get()).map_err(Garbled::json)?
    };
    let more = envelope.additional_data.unwrap_or_default();
    let mut list = empty(match entity.paging() {
        Paging::Cursor => Next::cursor(more.next_cursor),
        Paging::Offset => Next::offset(more.pagination.as_ref().and_then(Pagination::next)),
        Paging::Whole => Next::End,
    });
    list.rows.reserve_exact(raws.len());
    let patched = !std::ptr::eq(text.as_ptr(), body.as_ptr());
    for (place, raw) in raws.into_iter().enumerate() {
        let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
        let place_in_body = start..start + raw.get().len();
        if patched && std::str::from_utf8(&body[place_in_body.clone()]).is_err() {
            // A text may be what was patched.
            let id = rejected::head(raw.get()).ok().map(|head| head.id);
            let id = id.filter(|id| matches!(id, RowId::Number(_)));
            list.rejected.push(RejectedRow {
                place,
                fault: RowFault::NotUtf8,
                id,
                raw: body.slice(place_in_body),
            });
            continue;
        }
        match rejected::head(raw.get()) {
            Ok(head) => list.rows.push(head.row(raw.to_owned())),
            Err((fault, id)) => {
                list.rejected.push(RejectedRow { place, fault, id, raw: body.slice(place_in_body) })
            }
        }
    }
    Ok(list)
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

pub(crate) fn row(raw: Box<RawValue>) -> Result<Row, BoxError> {
    match rejected::head(raw.get()) {
        Ok(head) => Ok(head.row(raw)),
        Err((RowFault::NoId, _)) => Err(Garbled::NoId.into()),
        Err((fault, _)) => Err(Garbled::Row(fault).into()),
    }
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
        let one = one(&Bytes::from_static(br#"{"success":true,"data":{"name":"?"}}"#)).unwrap_err();
        assert!(matches!(*one.downcast::<Garbled>().unwrap(), Garbled::NoId));
    }

    fn page(rows: &str) -> List {
        list(Entity::Deals, &Bytes::from(format!(r#"{{"success":true,"data":[{rows}]}}"#))).unwrap()
    }

    #[test]
    fn a_row_that_cannot_be_used_leaves_the_others_alone() {
        let bad = [
            (r#"{"name":"?"}"#, RowFault::NoId, None),
            (r#"{"id":null}"#, RowFault::NoId, None),
            (r#"{"id":""}"#, RowFault::NoId, None),
            (r#"{"id":7.5}"#, RowFault::WrongId, None),
            (r#"{"id":7e3}"#, RowFault::WrongId, None),
            (r#"{"id":true}"#, RowFault::WrongId, None),
            (r#"{"id":{"a":1}}"#, RowFault::WrongId, None),
            (r#"{"id":[1]}"#, RowFault::WrongId, None),
            (r#"{"id":9,"update_time":17}"#, RowFault::WrongUpdateTime, Some(RowId::Number(9))),
            (r#"{"id":9,"id":8}"#, RowFault::Unreadable, None),
            ("17", RowFault::NotAnObject, None),
            ("[1]", RowFault::NotAnObject, None),
            ("null", RowFault::NotAnObject, None),
        ];
        for (text, fault, id) in bad {
            let list = page(&format!(r#"{{"id":1}},{text},{{"id":3}}"#));
            assert_eq!(
                list.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(),
                [1.into(), 3.into()]
            );
            let [row] = &list.rejected[..] else { panic!("{text}: {:?}", list.rejected) };
            assert_eq!((row.place, row.fault, &row.id), (1, fault, &id), "{text}");
            assert_eq!(row.raw, text);
        }
    }

    #[test]
    fn a_whole_number_beyond_64_bits_is_kept_as_its_digits() {
        let list = page(
            r#"{"id":9223372036854775807},{"id":9223372036854775808},{"id":-99999999999999999999}"#,
        );
        let ids: Vec<_> = list.rows.into_iter().map(|row| row.id).collect();
        assert_eq!(
            ids,
            [i64::MAX.into(), "9223372036854775808".into(), "-99999999999999999999".into()]
        );
    }

    #[test]
    fn a_row_that_is_not_utf8_is_rejected_with_its_own_bytes() {
        let mut body = br#"{"success":true,"data":[{"id":1,"t":"\u00e4"},{"id":2,"t":""#.to_vec();
        body.extend([0xff, 0xe2, b'"']);
        body.extend(r#"},{"id":3,"t":"ä?"}],"additional_data":{"next_cursor":"c"}}"#.as_bytes());
        let body = Bytes::from(body);
        let list = list(Entity::Deals, &body).unwrap();
        assert_eq!(
            list.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(),
            [1.into(), 3.into()]
        );
        let [row] = &list.rejected[..] else { panic!("{:?}", list.rejected) };
        assert_eq!((row.place, row.fault, row.id.clone()), (1, RowFault::NotUtf8, Some(2.into())));
        assert_eq!(row.raw.as_ref(), b"{\"id\":2,\"t\":\"\xff\xe2\"}");
        assert_eq!(list.next, Next::Cursor("c".into()));
    }

    #[test]
    fn what_an_overlapping_walk_has_had_is_skipped_bad_rows_too() {
        let mut list = page(r#"{"id":1},{},{"id":3},{"id":4}"#);
        let keys = list.keys();
        assert_eq!((keys.len(), keys[0], keys[3]), (4, 1, 4));
        list.skip(2);
        assert_eq!((list.rows.len(), list.rejected.len()), (2, 0));
        let mut list = page(r#"{"id":1},{},{"id":3}"#);
        list.skip(1);
        assert_eq!((list.rows.len(), list.rejected.len()), (1, 1));
    }

    #[test]
    fn identifiers_sort_by_value() {
        let mut ids: Vec<RowId> =
            ["b", "10", "9", "a"].iter().map(|text| text.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids, [RowId::Number(9), RowId::Number(10), RowId::from("a"), RowId::from("b")]);
    }
}
