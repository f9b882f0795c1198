//! What is settled about an account besides its seed and size.

use serde::{Deserialize, Serialize};

use super::EPOCH;

/// What is settled about an account besides its seed and size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountOptions {
    /// The newest change of the new account lies just before this second of Unix time.
    /// Default: [`EPOCH`].
    pub epoch: i64,
    /// Whether version 1 cuts a page size above the maximum down to it (unconfirmed) instead of
    /// answering 400. Default: true.
    pub clamp_v1_limit: bool,
    /// Whether the version 1 operations that left the description still answer; else 410.
    /// Default: true.
    pub legacy_v1: bool,
    /// The first label of the company's host name. Default: `acme`.
    pub company_domain: String,
    /// The least length of a row of the large kinds in bytes, reached by a property `x_padding`
    /// that the real API does not have. Default: 0, none.
    pub row_bytes: usize,
    /// How `/v1/recents` behaves where no official source says.
    pub recents: Recents,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            epoch: EPOCH,
            clamp_v1_limit: true,
            legacy_v1: true,
            company_domain: "acme".to_owned(),
            row_bytes: 0,
            recents: Recents::default(),
        }
    }
}

/// How `/v1/recents` behaves where no official source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recents {
    /// How a deleted row shows. That `data` can be null is seen by one source. Default: null.
    pub deleted: RecentsDeleted,
    /// Whether a row of the very second of `since_timestamp` is shown. Unconfirmed; one client
    /// asks from a second earlier. Default: false.
    pub inclusive: bool,
    /// Seconds that it reaches back; a month is documented, its length is not. Default: 30 days.
    pub reach_s: u64,
    /// What a `since_timestamp` from before that gets. Unconfirmed. Default: the month, silently.
    pub too_old: RecentsTooOld,
}

impl Default for Recents {
    fn default() -> Self {
        Self {
            deleted: RecentsDeleted::Null,
            inclusive: false,
            reach_s: 30 * 86_400,
            too_old: RecentsTooOld::Cut,
        }
    }
}

/// How `/v1/recents` shows a deleted row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecentsDeleted {
    /// With its item and id; `data` is null.
    #[default]
    Null,
    /// With the whole row, marked as deleted.
    Row,
    /// Not at all.
    Absent,
}

/// What `/v1/recents` does when asked for more than it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecentsTooOld {
    /// Shows what it has, and says nothing.
    #[default]
    Cut,
    /// Answers 400.
    Refuse,
}
