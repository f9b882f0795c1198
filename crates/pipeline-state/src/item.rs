use std::{fmt, num::ParseIntError, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) i64);

        impl $name {
            /// The number by which the database knows it.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// One pipeline: one run of named phases over its items.
    PipelineId;
    /// One item in one phase.
    ItemId;
    /// One claim of one worker; never given twice.
    LeaseId;
}

/// Where an item stands in its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Nobody works on it.
    Pending,
    /// A worker holds it under a lease.
    Processing,
    /// Done.
    Completed,
    /// Tried and failed, with a category.
    Failed,
    /// Left out on purpose.
    Skipped,
}

/// An item that a worker has claimed. It is the worker's until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub id: ItemId,
    /// Its name, as it was added.
    pub name: String,
    /// How often it has been claimed, this claim included: 1 at first.
    pub attempt: u32,
    /// The lease under which it is held.
    pub lease: LeaseId,
    pub(crate) pipeline: PipelineId,
    pub(crate) phase: i64,
}

impl Item {
    fn update(&self, outcome: Outcome) -> Update {
        Update {
            item: self.id,
            lease: self.lease,
            pipeline: self.pipeline,
            phase: self.phase,
            outcome,
            produces: Vec::new(),
        }
    }

    /// It is done.
    #[must_use]
    pub fn completed(&self) -> Update {
        self.update(Outcome::Completed)
    }

    /// It is left out on purpose.
    #[must_use]
    pub fn skipped(&self) -> Update {
        self.update(Outcome::Skipped)
    }

    /// It failed. The category, such as `rate_limit`, is what failures are counted and reset by: at
    /// most [`MAX_CATEGORY`](crate::MAX_CATEGORY) bytes. The message is cut after
    /// [`MAX_MESSAGE`](crate::MAX_MESSAGE).
    #[must_use]
    pub fn failed(&self, category: impl Into<String>, message: impl Into<String>) -> Update {
        let failure = Failure { category: category.into(), message: message.into() };
        self.update(Outcome::Failed(failure))
    }

    /// It was not worked on after all, and is pending again at once.
    #[must_use]
    pub fn released(&self) -> Update {
        self.update(Outcome::Released)
    }
}

/// Why an item failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failures are counted and reset by.
    pub category: String,
    /// For people.
    pub message: String,
}

/// What became of a claimed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Completed,
    /// It is left out on purpose.
    Skipped,
    /// It failed.
    Failed(Failure),
    /// It is pending again.
    Released,
}

/// What became of one claimed item, to be [written](crate::Pipeline::update) with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub(crate) item: ItemId,
    pub(crate) lease: LeaseId,
    pub(crate) pipeline: PipelineId,
    pub(crate) phase: i64,
    pub(crate) outcome: Outcome,
    pub(crate) produces: Vec<(String, Vec<String>)>,
}

impl Update {
    /// Adds items to a phase in the same transaction: they are there if and only if this update is.
    /// Names that the phase has already are left as they are.
    #[must_use]
    pub fn produces<N: Into<String>>(
        mut self,
        phase: impl Into<String>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.produces.push((phase.into(), names.into_iter().map(Into::into).collect()));
        self
    }

    /// The item.
    #[must_use]
    pub const fn item(&self) -> ItemId {
        self.item
    }

    /// What became of it.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

/// An item that failed, as [`Pipeline::failed`](crate::Pipeline::failed) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    /// Its number, by which the next page of the list is asked for.
    pub id: ItemId,
    /// Its phase.
    pub phase: String,
    /// Its name.
    pub name: String,
    /// How often it has been claimed.
    pub attempts: u32,
    /// Why it failed.
    #[serde(flatten)]
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
}
