//! Pipedrive over a stack of [tower](https://docs.rs/tower) layers: never banned, nothing lost, no budget wasted.
//!
//! ```text
//!  Client ── get, list, walk, create, update, delete, me, call
//!    │
//!  trace · request id   one span and one id per call
//!    page size          how much to ask for                          tower-adaptive-page
//!      retry            what went wrong, and whether to try again    tower-retry-classify
//!        circuit gate   refuses at once while the API is down        tower-circuit
//!          limiter      pays for each attempt, waits its turn        tower-ratelimit-tokens
//!            guard      asks again after the queue, records          tower-circuit
//!              health   outcomes and latency of real attempts        tower-health
//!                time-out ─ collect ─ auth ─ decompress ─ hyper-util client
//! ```
//!
//! [`Client`] is the way in. [`stack`] puts the layers in order around any transport and has each of them as a function
//! of its own. [`Config`] gathers the settings; [`config::SETTINGS`] lists them all.
//!
//! # Example
//!
//! Any [`Service`](tower::Service) can stand in for the network:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use pipedrive_service::{Client, Config, Entity, Sources};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let api = tower::service_fn(|request: Request<Full<Bytes>>| async move {
//!     assert_eq!(request.uri(), "https://acme.pipedrive.com/api/v2/deals/7");
//!     assert!(request.headers()["x-api-token"].is_sensitive());
//!     let body = r#"{"success":true,"data":{"id":7,"title":"rollout"}}"#;
//!     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(body))))
//! });
//! let settings = Sources::new()
//!     .set("connection.api_token", "secret")
//!     .set("connection.company_domain", "acme");
//! let client = Client::with_transport(Config::load(&settings)?, api)?;
//!
//! let deal = client.get(Entity::Deals, 7).await?;
//! assert_eq!(deal.value()["title"], "rollout");
//! // One record of version 2 costs one token of the day.
//! assert_eq!(client.limiter().status().budget("day").unwrap().used, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is shared
//!
//! Clones of a [`Client`], and the walks it makes, share budgets, circuit, health, page size, retry budget, statistics
//! and connections. Two clients share nothing: two of them with one token would each spend the whole burst window, and
//! learn of each other only through the server's headers.
//!
//! # Readiness
//!
//! Each call readies a clone of the stack of its own, so nothing is held between calls. Waiting for budget holds no
//! connection. Whoever calls the [`stack`] directly finds it ready whenever its transport is; it refuses at call.
//!
//! # Priorities
//!
//! Calls wait for budget in the order of their [`Priority`], among equals in the order in which they were made; a retry
//! keeps the place of its first attempt. See [`Client::with_priority`], [`ListQuery::priority`] and [`Call`].
//!
//! # Cancellation
//!
//! A call that is dropped while it waits for budget has sent and spent nothing. One that is dropped after it was sent
//! keeps its charge, since the server has counted it, and the circuit and health take it for a failure, since a
//! time-out of the caller's own looks just so. Dropping a [`RowsWalk`] drops the request that is under way.
//!
//! # Events
//!
//! | target | level | message | fields |
//! | --- | --- | --- | --- |
//! | `pipedrive_service::call` | debug, a span | `call` | `method`, `template`, `request_id` |
//! | `pipedrive_service::call` | debug | `call.answered` | `status`, `attempts`, `took_ms` |
//! | `pipedrive_service::call` | debug | `call.failed` | `error`, `attempts`, `took_ms` |
//! | `pipedrive_service::rules` | info | `rules.reloaded` | `file`, `rules` |
//! | `pipedrive_service::rules` | warn | `rules.rejected` | `file`, `rules`, `error` |
//!
//! The layers have events of their own; see their docs. No event holds a token, a header, a query or a body.
//!
//! # What it does not do
//!
//! It keeps no state on disk, refreshes no OAuth token, uploads no file and follows no redirect. It has no type for each
//! kind of record: see [`Row`].
#![forbid(unsafe_code)]

mod api;
pub mod auth;
pub mod budgets;
mod builder;
mod call;
pub mod circuits;
pub mod classify;
mod client;
pub mod collect;
pub mod config;
pub mod costs;
mod entity;
mod error;
pub mod error_rules;
mod holdings;
pub mod inspect;
mod json;
pub mod judge;
pub mod lazy_clone;
mod page;
mod plan;
mod probe;
mod query;
pub mod recents;
mod rejected;
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
    client::{Client, Me, ServerCount},
    config::{Config, ConfigError, Sources},
    entity::{Action, Entity, Operation, Paging, UnknownEntity, Version},
    error::{ConnectionFault, Context, Error, ErrorKind, ErrorReport},
    page::{Row, RowId, RowsPage},
    plan::{AuthKind, Plan},
    query::{ListQuery, Sort, WalkOptions},
    rejected::{RejectedRow, RowFault},
    walk::RowsWalk,
};
pub use tower_adaptive_page::Position;
pub use tower_ratelimit_tokens::{OnLimit, Priority};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
