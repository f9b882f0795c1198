//! Answers and their envelopes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::data::{Base, Found, Still, Table, object, value};
use super::super::ops::Version;

/// An answer: status and JSON body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, always JSON.
    pub body: Bytes,
    pub(crate) page: Option<OffsetPage>,
    pub(crate) rest: Option<Rest>,
}

/// What comes behind the body: rows that are too long to be written before they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    table: Table,
    rows: std::vec::IntoIter<Still>,
    first: bool,
    tail: Vec<u8>,
}

impl Rest {
    pub(super) fn new(table: Table, rows: &[Found<'_>], tail: Vec<u8>) -> Self {
        let rows: Vec<_> = rows.iter().map(Still::of).collect();
        Self { table, rows: rows.into_iter(), first: true, tail }
    }

    /// The next piece of the body, a few rows; none at its end.
    pub(crate) fn next(&mut self, base: &Base) -> Option<Bytes> {
        const PIECE: usize = 256 * 1024;
        let mut out = Vec::with_capacity(PIECE + base.row_bytes);
        for row in self.rows.by_ref() {
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            row.write(base, self.table, &mut out);
            if out.len() >= PIECE {
                return Some(out.into());
            }
        }
        out.append(&mut self.tail);
        (!out.is_empty()).then(|| out.into())
    }
}

/// What a page by offset showed, when more follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetPage {
    pub(crate) table: Table,
    pub(crate) ids: Vec<u64>,
    /// Whether the walk goes by ascending ids.
    pub(crate) by_id: bool,
}

impl Reply {
    pub(super) fn raw(body: Vec<u8>) -> Self {
        Self { status: 200, body: body.into(), page: None, rest: None }
    }

    /// The same, its body written to the end.
    pub(crate) fn whole(mut self, base: &Base) -> Self {
        if let Some(mut rest) = self.rest.take() {
            let mut body = self.body.to_vec();
            while let Some(piece) = rest.next(base) {
                body.extend_from_slice(&piece);
            }
            self.body = body.into();
        }
        self
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        let mut out = Vec::with_capacity(512);
        value(body, &mut out);
        Self { status, body: out.into(), page: None, rest: None }
    }

    /// `{"success":true,"data":...}`.
    pub(super) fn data(status: u16, data: &Value) -> Self {
        Self::json(status, &json!({ "success": true, "data": data }))
    }

    pub(super) fn row(status: u16, row: &super::super::data::Json) -> Self {
        let mut out = Vec::with_capacity(2_048);
        out.extend_from_slice(b"{\"success\":true,\"data\":");
        object(row, &mut out);
        out.push(b'}');
        Self { status, body: out.into(), page: None, rest: None }
    }
}

/// Why a request is not answered with data.
#[derive(Debug)]
pub(super) struct Fail {
    status: u16,
    error: String,
}

impl Fail {
    pub(super) fn new(status: u16, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(400, error)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} not found"))
    }

    pub(super) fn not_simulated() -> Self {
        Self::new(501, "This operation is not simulated")
    }

    pub(super) fn reply(&self, version: Version) -> Reply {
        let body = match version {
            Version::V1 => json!({
                "success": false,
                "error": self.error,
                "error_info": "Please check developers.pipedrive.com for more information about Pipedrive API.",
                "data": null,
                "additional_data": null,
            }),
            Version::V2 => json!({
                "success": false,
                "error": self.error,
                "code": match self.status {
                    400 => "ERR_BAD_REQUEST",
                    404 => "ERR_NOT_FOUND",
                    410 => "ERR_GONE",
                    _ => "ERR_NOT_IMPLEMENTED",
                },
            }),
        };
        Reply::json(self.status, &body)
    }
}
