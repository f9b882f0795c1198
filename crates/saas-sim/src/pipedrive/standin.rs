//! A stand-in for the account while it is being written.
#[path = "data/entity.rs"]
#[allow(dead_code, unreachable_pub)]
mod entity;
use super::ops::Matched;
use bytes::Bytes;
pub use entity::{Entity, Sizes};
use jiff::Timestamp;
#[derive(Debug)]
pub struct Account;
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}
impl Account {
    pub fn new(_: u64, _: Sizes) -> Self {
        Self
    }
    pub fn handle(&self, matched: &Matched, query: Option<&str>, body: &[u8], _: Timestamp) -> Reply {
        let next = if matched.op.search { serde_json::Value::Null } else { "next".into() };
        let json = serde_json::json!({"success": true, "data": [{"id": 1, "op": matched.op.label(), "query": query, "body": body.len()}], "additional_data": {"next_cursor": next}});
        Reply { status: 200, body: json.to_string().into() }
    }
    pub fn digest(&self, _: Entity) -> super::digest::Digest {
        super::digest::Digest { rows: 0, sha256: String::new() }
    }
}
