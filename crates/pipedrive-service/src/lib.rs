//! Pipedrive over a stack of tower layers: never banned, nothing lost, no budget wasted.
#![forbid(unsafe_code)]

pub mod auth;
mod call;
pub mod classify;
mod client;
pub mod collect;
pub mod config;
pub mod costs;
mod entity;
mod error;
mod interim;
mod page;
mod plan;
mod query;
pub mod request_id;
pub mod transport;

pub use self::{
    call::{Call, CallBuilder},
    client::{Client, Me},
    config::{Config, ConfigError, Sources},
    entity::{Action, Entity, Operation, Paging, UnknownEntity, Version},
    error::{ConnectionFault, Context, Error, ErrorKind, ErrorReport},
    page::{Row, RowId, RowsPage},
    plan::{AuthKind, Plan},
    query::{ListQuery, Sort, WalkOptions},
};
pub use interim::Position;

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
