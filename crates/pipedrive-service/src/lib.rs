//! Pipedrive over a stack of tower layers: never banned, nothing lost, no budget wasted.
#![forbid(unsafe_code)]

pub mod classify;
mod client;
pub mod costs;
mod entity;
mod error;
mod interim;
mod page;
mod query;

pub use self::{
    client::{Client, Me},
    entity::{Action, Entity, Operation, Paging, UnknownEntity, Version},
    error::{ConnectionFault, Context, Error, ErrorKind, ErrorReport},
    page::{Row, RowId, RowsPage},
    query::{ListQuery, Sort, WalkOptions},
};
pub use interim::Position;

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
