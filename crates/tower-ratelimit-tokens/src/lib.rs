//! Tower middleware that spends budgets: weighted, several at once, corrected by
//! what the server says.
//!
//! A [`Limiter`] holds named [budgets](Budget), one queue and one gate. A
//! [`TokenLimitLayer`] makes each call pay a [`Charge`] from all of its budgets
//! at once, or wait in the queue until it can. Budgets can be kept apart by
//! account, token, zone or endpoint; calls can be more or less urgent.
//!
//! ```text
//!                room in every budget, nobody is passed to his harm
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
//! # Who pays
//!
//! A budget is shared by all calls, or each key of a [scope](LimiterBuilder::scope)
//! has it for itself ([`Budget::per`]). Scopes can lie [inside one
//! another](LimiterBuilder::scope_within). The charge names the payer
//! ([`Charge::key`], [`Cost::keyed`]). Keys are bounded in number
//! ([`max_keys`](LimiterBuilder::max_keys)) and forgotten when they are idle and
//! nothing would be lost by it. A key takes about 200 bytes for a token bucket,
//! 350 for a rolling window and 450 for a fixed window or a day.
//!
//! # Who goes first
//!
//! Calls that pay from the same accounts stand in one line, the more urgent
//! ([`Priority`]) before the less urgent, equals in the order in which they came.
//! A call of one level less that has waited
//! [`level_every`](LimiterBuilder::level_every) longer stands before the more
//! urgent one, so nothing starves. A retry that names its first
//! [arrival](Terms::arrived) keeps its place.
//!
//! A line waits at the budget that binds it. Whoever is first there is the first
//! to get what comes in, so a heavy call is not starved by light ones. Calls that
//! pay from other accounts pass, unless that would delay the first of all.
//!
//! A share of a budget can be kept for urgent calls ([`Budget::keep`]). Under
//! stress, calls below some urgency can be turned away ([`Limiter::shed`],
//! [`Limiter::shed_while`]). A full queue refuses the newcomer, or the least
//! urgent ([`WhenFull`]).
//!
//! # What others spend, and what nobody told us
//!
//! In a rolling window as much is kept free as others used at most in any of the
//! last eight windows (and a sixteenth more), as far as the server's counts show
//! it. Where a server tells no levels, its refusals do: a tenth less is tried, and
//! slowly more again ([`Budget::learns_from_refusals`]). What an endpoint really
//! costs is learnt where answers show it, and
//! [proposed](Limiter::cost_proposals) where the table says otherwise.
//!
//! # Looking ahead
//!
//! [`would_admit`](Limiter::would_admit) says when a call could go and which
//! budget binds; [`plan`](Limiter::plan) what a piece of work would cost and when
//! it could be done; [`forecast`](Limiter::forecast) when a period's budget will
//! be gone; [`quota_report`](Limiter::quota_report) who used it. A period's budget
//! can be spread over it ([`Pace`]).
//!
//! # What is shared
//!
//! The limiter. Every clone of the handle, every layer made with it, every
//! service of such a layer and every clone of those pays from the same budgets
//! and stands in the same queue. Several processes share a
//! [leased](Budget::leased) budget through a ledger, see [`Leases`]; then each
//! admits what both its own budget and its leases allow.
//!
//! A call of whose end something is to be heard takes 256 bytes there at most until
//! it has ended; as much room is kept as was ever needed at once.
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
//! then on it must be polled when it is woken, or dropped: one of those who wait
//! owns the one timer, and all others rely on it. (Any other use of the limiter
//! also does what is due.)
//!
//! # How exact
//!
//! Rolling windows expire in steps ([`Budget::resolution`]), rounded toward not
//! exceeding. A bucket makes up for timers that fire late, by at most two
//! milliseconds' refill. A unit that comes back to a bucket is worth what had not
//! been spilled in the meantime, never more.
//!
//! # Dialects
//!
//! A [`Dialect`] reads what a response says. There is one each for the
//! [IETF's fields](IetfDialect), [GitHub](GithubDialect),
//! [HubSpot](HubspotDialect), [Shopify](ShopifyDialect),
//! [Autotask](AutotaskDialect), [OpenAI](OpenAiDialect) and
//! [Pipedrive](PipedriveDialect), one for [headers of any name](GenericDialect)
//! and one for [`Retry-After` alone](RetryAfterDialect). [`dialects`] lists what
//! they read, where that is documented, and how far a server is believed.
//!
//! # The gate
//!
//! A refusal by the server closes the gate for all callers until the time that
//! the server names; a shorter time never shortens a longer one. Callers whose
//! deadline lies before that are refused at once. When the gate opens, calls go
//! at the pace of the budget with the shortest window for one such window
//! ([`after_gate`](LimiterBuilder::after_gate)), not all together; so it is after
//! the reset of a period for which calls have waited. An exhausted day does not
//! close the gate: only calls that need that budget are refused. Nor does a
//! refusal of one key's budget: only that key waits.
//!
//! # Events
//!
//! Target `tower_ratelimit_tokens`; the field `event` is the name.
//!
//! | level | event | fields |
//! | --- | --- | --- |
//! | warn | `gate_closed` | `for_ms`, `reason` |
//! | warn | `budget_exhausted` | `budget`, `for_ms` |
//! | warn | `budget_warning` | `budget`, `used`, `limit` |
//! | warn | `shedding` | `below`, `reason` |
//! | info | `limit_learnt` | `budget`, `limit` |
//! | info | `new_day` | `budget` |
//! | debug | `foreign_use` | `budget`, `units` |
//! | debug | `refused` | `kind`, `budget`, `retry_ms`, `reason` |
//!
//! # Features
//!
//! - `http-body`: `HoldLayer`, which holds units until a response's body has ended.
//! - `serde`: [`Status`] and what it holds can be serialised.
//!
//! # What it does not do
//!
//! It does not retry, and does not share budgets between processes by itself: the
//! crate `ratelimit-ledger` does, by leases.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod accounts;
mod acquire;
mod book;
mod bucket;
mod budget;
mod builder;
mod charge;
mod clock;
mod concurrency;
mod config;
mod core;
mod cost;
mod costs;
mod day;
mod dialect;
pub mod dialects;
mod dips;
mod error;
mod events;
mod fixed;
mod foreign;
mod future;
mod gate;
#[cfg(feature = "http-body")]
mod hold;
mod layer;
mod learn;
mod lease;
mod lease_report;
mod leases;
mod limiter;
mod manage;
mod moment;
mod observe;
mod pace;
mod planning;
mod priority;
#[cfg(test)]
mod properties;
mod queue;
mod ring;
mod rolling;
mod scope;
mod service;
mod settle;
mod shared;
mod spec;
mod status;
mod table;
mod tally;
mod ticket;
mod trend;

#[cfg(feature = "http-body")]
pub use self::hold::{HeldBody, Hold, HoldFuture, HoldLayer};
pub use self::{
    acquire::Acquire,
    builder::{LimiterBuilder, WhenFull},
    charge::{BudgetId, Charge, EndpointId},
    clock::{AnchoredClock, SystemClock, WallClock},
    config::Budget,
    cost::{Cost, Keyed},
    dialect::{BodyText, Dialect, HeadersOnly, HttpDialect, NoDialect},
    dialects::{
        AutotaskDialect, BELIEVED_PAUSE, GenericDialect, GithubDialect, HubspotDialect,
        IetfDialect, MAX_PAUSE, OpenAiDialect, PipedriveDialect, QuotaUnit, ResetForm,
        RetryAfterDialect, ShopifyDialect, retry_after,
    },
    error::{ConfigError, Problem, Refused, RefusedKind},
    future::ResponseFuture,
    layer::{OnLimit, TokenLimitLayer},
    lease::Lease,
    lease_report::{Counting, LeaseReport, LeasedBudget, LeasedUnits, ServerLevel, Sizing},
    leases::Leases,
    limiter::Limiter,
    observe::{GateReason, Observation, Observations},
    pace::Pace,
    planning::{Admission, BudgetNeed, CostProposal, Forecast, Plan},
    priority::{Ask, Priority, SameTerms, Terms, TermsFromExtensions},
    scope::{Key, ScopeId},
    service::TokenLimit,
    settle::{KeepAll, Outcome, Settle, Settler},
    status::{
        BudgetKind, BudgetStatus, GateStatus, KeyStatus, Refusals, ShedStatus, Status, Usage,
    },
    table::CostTable,
    ticket::{LeaseExpired, Ticket},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
