//! Rows that cannot be used: why, and what they were.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_adaptive_page::row_key;

use crate::page::{Row, RowId};

/// Why a row of a list cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowFault {
    /// The row is not an object.
    NotAnObject,
    /// It is an object that cannot be read, such as one that names its identifier twice.
    Unreadable,
    /// It has no identifier.
    NoId,
    /// Its identifier is neither a whole number nor a text.
    WrongId,
    /// Its `update_time` is no text.
    WrongUpdateTime,
    /// Its bytes are not UTF-8.
    NotUtf8,
}

impl RowFault {
    /// The name used in tables and reports, such as `wrong_id`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::Unreadable => "unreadable",
            Self::NoId => "no_id",
            Self::WrongId => "wrong_id",
            Self::WrongUpdateTime => "wrong_update_time",
            Self::NotUtf8 => "not_utf8",
        }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnObject => "the row is not an object",
            Self::Unreadable => "the row cannot be read",
            Self::NoId => "the row has no identifier",
            Self::WrongId => "the identifier is neither a whole number nor a text",
            Self::WrongUpdateTime => "the update time is no text",
            Self::NotUtf8 => "the row is not UTF-8",
        })
    }
}

/// A row that cannot be used. The page's other rows are not touched by it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RejectedRow {
    /// Its place in the answer; 0 is the first.
    pub place: usize,
    /// Why it cannot be used.
    pub fault: RowFault,
    /// Its identifier, where that much can be read.
    pub id: Option<RowId>,
    /// Its bytes as they came: a part of the answer's body, which stays in memory for as long.
    pub raw: Bytes,
}

impl RejectedRow {
    /// A key for walks that overlap.
    pub(crate) fn key(&self) -> u64 {
        self.id.as_ref().map_or_else(|| row_key(&self.raw), RowId::key)
    }
}

/// What is read of every row.
pub(crate) struct Head {
    pub(crate) id: RowId,
    update_time: Option<String>,
}

impl Head {
    pub(crate) fn row(self, raw: Box<RawValue>) -> Row {
        Row { id: self.id, update_time: self.update_time, raw }
    }
}

/// Fields of whatever type, so that one that does not matter may be of any.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    field_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    update_time: Option<&'a RawValue>,
}

/// Reads the head of a row, or says why it cannot be used and, if it can be told, what row it is.
pub(crate) fn head(row: &str) -> Result<Head, (RowFault, Option<RowId>)> {
    if !row.starts_with('{') {
        return Err((RowFault::NotAnObject, None));
    }
    let fields: Fields<'_> = serde_json::from_str(row).map_err(|_| (RowFault::Unreadable, None))?;
    let id = match fields.id {
        Some(id) => identifier(id.get()).map_err(|fault| (fault, None))?,
        // Version 2 knows field definitions by their code, version 1 by their key, and either may leave out `id`.
        None => [fields.field_code, fields.key, fields.code]
            .into_iter()
            .flatten()
            .find_map(|raw| text(raw.get()))
            .map(RowId::Text)
            .ok_or((RowFault::NoId, None))?,
    };
    let update_time = match fields.update_time {
        None => None,
        Some(raw) => match text(raw.get()) {
            None => return Err((RowFault::WrongUpdateTime, Some(id))),
            some => some,
        },
    };
    Ok(Head { id, update_time })
}

fn identifier(raw: &str) -> Result<RowId, RowFault> {
    if raw.starts_with('"') {
        let id = text(raw).filter(|id| !id.is_empty());
        return id.map(RowId::Text).ok_or(RowFault::NoId);
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RowFault::WrongId);
    }
    // JSON writes a whole number in one way only, so its digits tell it apart as well as its value does.
    Ok(raw.parse().map_or_else(|_| RowId::Text(raw.to_owned()), RowId::Number))
}

fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The same bytes, but for those that are no UTF-8: each of them becomes a question mark, so every place stays the same.
pub(crate) fn patched(body: &[u8]) -> Vec<u8> {
    let mut patched = Vec::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        patched.extend_from_slice(chunk.valid().as_bytes());
        patched.resize(patched.len() + chunk.invalid().len(), b'?');
    }
    patched
}
