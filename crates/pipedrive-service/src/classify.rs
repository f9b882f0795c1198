//! What went wrong, in Pipedrive's terms.

use crate::interim::Class;

/// The edge's ban.
pub const BANNED: Class = Class::Custom("banned");
/// A success whose body is not what the API promises.
pub const GARBLED: Class = Class::Custom("garbled");
/// A refusal of our own.
pub const LOCAL: Class = Class::Custom("local");

/// A success whose body is not what the API promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Garbled {
    /// Not JSON, or JSON cut short.
    #[error("the body is not whole JSON")]
    Json(#[source] serde_json::Error),
    /// HTML where JSON was due.
    #[error("the body is {content_type}, not JSON")]
    Html {
        /// What the answer says it is.
        content_type: String,
    },
    /// `data` is null or absent.
    #[error("the answer has no data")]
    NoData,
    /// A 2xx that says it did not succeed.
    #[error("the answer says that it did not succeed")]
    Unsuccessful,
    /// A row without an identifier.
    #[error("a row has no identifier")]
    NoId,
}

impl Garbled {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}
