//! Tower middleware that spends budgets: weighted, several at once, corrected by what the server says.
#![forbid(unsafe_code)]

mod acquire;
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
mod limiter;
mod moment;
mod observe;
mod pipedrive;
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
    limiter::{Admission, Limiter},
    observe::{GateReason, Observation, Observations},
    pipedrive::PipedriveDialect,
    retry_after::{RetryAfterDialect, retry_after},
    service::TokenLimit,
    settle::{KeepAll, Outcome, Settle, Settler},
    status::{BudgetKind, BudgetStatus, GateStatus, Refusals, Status, Usage},
    table::CostTable,
    ticket::Ticket,
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
