//! Tower middleware that spends budgets: weighted, several at once, corrected by
//! what the server says.
//!
//! A [`Limiter`] holds named [budgets](Budget), one queue and one gate. A
//! [`TokenLimitLayer`] makes each call pay a [`Charge`] from all of its budgets
//! at once, or wait in the queue until it can.
//!
//! ```text
//!                    room in every budget, nobody waits
//!          ┌───────────────────────────────────────────────┐   ┌─────────┐
//!  call ───┤                                               ├──▶│  inner  │
//!          │   ┌──────── queue ────────┐   ┌── gate ──┐    │   │ service │
//!          ├──▶│ last · · · · · first  │──▶│ open?    │────┘   └────┬────┘
//!          │   └───────────────────────┘   └────▲─────┘             │
//!          │                                    │ 429, Retry-After  │
//!          │   ┌─────── budgets ───────┐        │                   ▼
//!          │   │ rolling · fixed · day │◀───────┴── dialect ◀── response
//!          │   │ bucket · concurrency  │   levels, refusals, settlement
//!          │   └───────────────────────┘
//!          └─▶ Err(Refused { kind, budget, retry_at })
//! ```
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_ratelimit_tokens::{BoxError, Budget, Charge, Limiter, Refused, TokenLimitLayer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let mut limits = Limiter::builder();
//! let burst = limits.budget("burst", Budget::rolling(2, Duration::from_secs(1)));
//! let limiter = limits.max_wait(Duration::from_millis(100)).build()?;
//!
//! let mut echo = ServiceBuilder::new()
//!     .layer(TokenLimitLayer::new(limiter.clone(), Charge::new().with(burst, 1)))
//!     .service(service_fn(|word: &'static str| async move { Ok::<_, BoxError>(word) }));
//!
//! for word in ["first", "second"] {
//!     assert_eq!(echo.ready().await?.call(word).await?, word);
//! }
//! // The third fits in a second, longer than we agreed to wait.
//! let error = echo.ready().await?.call("third").await.unwrap_err();
//! let refused = error.downcast_ref::<Refused>().expect("refused by us");
//! assert_eq!(refused.budget(), Some("burst"));
//! assert!(refused.retry_after() > Some(Duration::from_secs(1)));
//! assert_eq!(limiter.status().budgets[0].remaining, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What a call pays, and when
//!
//! A charge is taken from all budgets or from none, when the call is admitted.
//! From the moment of sending it is spent. When the call ends, a
//! [closure](TokenLimitLayer::settle) can keep it (the default), refund it (the
//! server never saw it) or set what it really cost. A rolling window's slot is
//! free one window after the answer or, without an answer, one window and the
//! transit bound after the sending, see
//! [`freed_by_answer`](Budget::freed_by_answer).
//!
//! What the server counts is held against ours at the time of *sending*: an
//! answer that comes late never overrules a newer one, and requests under way
//! are never forgotten. What others spend shows as `foreign` in the status.
//!
//! # What is shared
//!
//! The limiter. Every clone of the handle, every layer made with it, every
//! service of such a layer and every clone of those pays from the same budgets
//! and stands in the same queue. Several processes share a
//! [leased](Budget::leased) budget through a ledger, see [`Leases`]; then each
//! admits what both its own budget and its leases allow.
//!
//! # Readiness
//!
//! `poll_ready` is that of the inner service; nothing is acquired in it. A call
//! that need not wait calls the service that was polled ready. A call that must
//! wait lets that readiness go, so that what it held (a concurrency permit, a
//! connection) is free for others, keeps a clone, and readies the clone after
//! the wait. If the lease of a leased budget runs out while the clone becomes
//! ready, the charge is given back and the call waits once more, until the deadline
//! that it had.
//!
//! # Cancellation
//!
//! A response future that is dropped in the queue spends nothing and gives its
//! place up. Dropped between its grant and the sending, it gives everything
//! back, leases too. Dropped after the sending, it keeps its charge, because the server may
//! have counted it; its concurrency places are given back at once. An error of
//! the inner service is treated like that drop, unless the closure refunds.
//!
//! A call takes its place in the queue when its future is first polled. From
//! then on it must be polled when it is woken, or dropped: the first in the
//! queue owns the one timer, and all others wait for it.
//!
//! # The gate
//!
//! A refusal by the server closes the gate for all callers until the time that
//! the server names; a shorter time never shortens a longer one. Callers whose
//! deadline lies before that are refused at once. When the gate opens, calls go
//! at the pace of the budget with the shortest window for one such window
//! ([`after_gate`](LimiterBuilder::after_gate)), not all together. An exhausted
//! day does not close the gate: only calls that need that budget are refused.
//!
//! # Events
//!
//! Target `tower_ratelimit_tokens`; the field `event` is the name.
//!
//! | level | event | fields |
//! | --- | --- | --- |
//! | warn | `gate_closed` | `for_ms`, `reason` |
//! | warn | `budget_exhausted` | `budget`, `for_ms` |
//! | info | `new_day` | `budget` |
//! | debug | `foreign_use` | `budget`, `units` |
//! | debug | `refused` | `kind`, `budget`, `retry_ms` |
//!
//! # Features
//!
//! - `serde`: [`Status`] and what it holds can be serialised.
//!
//! # What it does not do
//!
//! It does not retry, and has no priorities. It does not talk to a store: the crate
//! `ratelimit-ledger` does. It is no server-side limiter: callers are not told apart.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod acquire;
mod book;
mod bucket;
mod budget;
mod charge;
mod clock;
mod concurrency;
mod config;
mod core;
mod cost;
mod day;
mod dialect;
mod error;
mod events;
mod fixed;
mod future;
mod gate;
mod layer;
mod lease;
mod leases;
mod limiter;
mod moment;
mod observe;
mod pipedrive;
#[cfg(test)]
mod properties;
mod queue;
mod retry_after;
mod rolling;
mod service;
mod settle;
mod status;
mod table;
mod tally;
mod ticket;

pub use self::{
    acquire::Acquire,
    charge::{BudgetId, Charge, EndpointId},
    clock::{AnchoredClock, SystemClock, WallClock},
    config::{Budget, LimiterBuilder},
    cost::{Cost, Deadline, NoDeadline},
    dialect::{BodyText, Dialect, HeadersOnly, HttpDialect, NoDialect},
    error::{ConfigError, ConfigProblem, Refused, RefusedKind},
    future::ResponseFuture,
    layer::TokenLimitLayer,
    lease::Lease,
    leases::{Counting, LeaseReport, LeasedBudget, LeasedUnits, Leases, ServerLevel, Sizing},
    limiter::{Admission, Limiter},
    observe::{GateReason, Observation, Observations},
    pipedrive::PipedriveDialect,
    retry_after::{RetryAfterDialect, retry_after},
    service::TokenLimit,
    settle::{KeepAll, Outcome, Settle, Settler},
    status::{BudgetKind, BudgetStatus, GateStatus, Refusals, Status, Usage},
    table::CostTable,
    ticket::{LeaseExpired, Ticket},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
