//! Pipedrive over a stack of tower layers: never banned, nothing lost, no budget wasted.
#![forbid(unsafe_code)]

mod api;
pub mod auth;
pub mod budgets;
mod builder;
mod call;
pub mod classify;
mod client;
pub mod collect;
pub mod config;
pub mod costs;
mod entity;
mod error;
pub mod judge;
mod page;
mod plan;
mod probe;
mod query;
pub mod request_id;
mod requests;
pub mod stack;
pub mod trace;
pub mod transport;
mod walk;

pub use self::{
    budgets::Budgets,
    builder::ClientBuilder,
    call::{Call, CallBuilder},
    client::{Client, Me},
    config::{Config, ConfigError, Sources},
    entity::{Action, Entity, Operation, Paging, UnknownEntity, Version},
    error::{ConnectionFault, Context, Error, ErrorKind, ErrorReport},
    page::{Row, RowId, RowsPage},
    plan::{AuthKind, Plan},
    query::{ListQuery, Sort, WalkOptions},
    walk::RowsWalk,
};
pub use tower_adaptive_page::Position;

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
