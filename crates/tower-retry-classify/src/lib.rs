//! A retry policy that knows what went wrong.
#![forbid(unsafe_code)]

mod attach;
mod backoff;
mod budget;
mod classify;
mod config;
mod error;
mod future;
mod http;
mod methods;
mod policy;
pub mod retry_after;
mod stats;
mod transport;
mod verdict;

pub use self::{
    attach::AttachRefusal,
    backoff::{Backoff, Jitter, Strategy},
    budget::{Quota, RetryBudget},
    classify::{Chain, Classify},
    config::{ClassPolicy, Profile, RetryBuilder},
    error::{ConfigError, GaveUp, NotRetried, Problem, Reason},
    future::RetryDelay,
    http::HttpStatus,
    methods::{Repeatable, is_idempotent},
    policy::RetryPolicy,
    stats::{RetrySnapshot, RetryStats},
    transport::Transport,
    verdict::{Class, Verdict},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
