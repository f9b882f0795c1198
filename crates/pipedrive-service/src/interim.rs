//! Stands in for types of the layers until they land.
#![allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Position {
    Offset(u64),
    Cursor(String),
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    RateLimit, Server, Timeout, Connection, Auth, Quota, BadRequest, NotFound, Custom(&'static str),
}
impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
