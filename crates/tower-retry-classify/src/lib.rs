//! A retry policy that knows what went wrong, and whether, when and how often to
//! try again. It is a [`tower::retry::Policy`]: tower's own `Retry` does the rest.
//!
//! ```text
//!  outcome ──▶ local refusal? ───────────────────────────▶ the last real outcome,
//!                  │ no                                     the refusal attached
//!              classifiers ── no opinion, never ─────────▶ the outcome as it is
//!                  │ retry (class, after)
//!              may it be sent twice? ─── no ─┐
//!              retries left?  ────────── no ─┤
//!              Retry-After or back-off       ├───────────▶ the outcome at once,
//!              ends before the deadline? no ─┤              the reason attached
//!              budget pays? ──────────── no ─┘
//!                  │ yes
//!                wait ──▶ next attempt
//! ```
//!
//! # Example
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//!
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn};
//! use tower_retry_classify::{BoxError, Class, NotRetried, Reason, RetryPolicy};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let policy = RetryPolicy::http().max_retries(2).build()?;
//! let stats = policy.stats();
//!
//! let calls = AtomicU32::new(0);
//! let api = service_fn(|_: Request<&'static str>| {
//!     let status = if calls.fetch_add(1, Relaxed) == 0 { 503 } else { 200 };
//!     async move { Ok::<_, BoxError>(Response::builder().status(status).body("")?) }
//! });
//! let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(api);
//!
//! let answer = client.clone().oneshot(Request::get("/deals").body("")?).await?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(stats.snapshot().failed_with(Class::Server), 1);
//! assert_eq!(stats.snapshot().recovered(), 1);
//!
//! // A POST that the server may have acted on is not sent again.
//! calls.store(0, Relaxed);
//! let answer = client.oneshot(Request::post("/deals").body("")?).await?;
//! assert_eq!(answer.status(), 503);
//! assert_eq!(NotRetried::of(&answer).map(NotRetried::reason), Some(Reason::NotIdempotent));
//! # Ok(())
//! # }
//! ```
//!
//! # What is decided, and how
//!
//! - **What went wrong.** Each [`Classify`] in the row says nothing, *retry* or
//!   *never*, and names a [`Class`]. Later ones overrule earlier ones.
//!   [`HttpStatus`] and [`Transport`] are the general ones; [`AwsCodes`] and
//!   [`GrpcStatus`] know more of what a service says, [`Rules`] come from a file.
//!   Error bodies can be looked into by way of a [`PeekLayer`].
//! - **May it be sent twice.** GET, HEAD, OPTIONS, PUT and DELETE; others with a
//!   [key header](RetryBuilder::key_header), which an [`IdempotencyKeyLayer`] makes,
//!   or a mark ([`Retryable`], [`idempotent`](RetryBuilder::idempotent)).
//!   A 429 or a connection that never opened may always be repeated, as the server
//!   did not act ([`Class::is_untouched`]). A request that cannot be copied is sent
//!   once, whatever happens; a [`ReplayLayer`] makes short bodies copyable.
//! - **When.** What the server asks for in `Retry-After`, never shortened; else a
//!   [`Backoff`], per class if wanted. If the wait cannot end before the
//!   [deadline](RetryBuilder::deadline), it does not begin. A [`DeadlineLayer`] around
//!   everything gives each request one.
//! - **How often.** [`max_retries`](RetryBuilder::max_retries) after the first
//!   attempt, per class if wanted, and only as long as the [`RetryBudget`] pays.
//! - **Not at all.** What our own layers refuse ([`RetryBuilder::local`]) was never
//!   sent and is never retried. When a retry meets such a refusal, the caller gets
//!   the last outcome that really happened: a response with [`NotRetried`] in its
//!   extensions, or [`GaveUp`] with the real error as its source.
//!
//! - **In the end.** A [`FallbackLayer`] is asked when nothing helped.
//!
//! Without tower, [`RetryPolicy::run`] does the same with a closure.
//!
//! The wait is that of the policy, so put what shall be inside each attempt (the
//! time-out, the limiter) inside of `Retry`. The error of the inner service must be
//! [`BoxError`]; `ServiceBuilder::map_err` makes it so.
//!
//! # What is shared
//!
//! All clones of a [`RetryPolicy`] share its configuration, its [`RetryBudget`], its
//! [`RetryStats`] and what it has [learned](Learning). What belongs to one request (the number of retries, the last
//! outcome, the stream of chance) is each clone's own: `Retry` makes one per request.
//!
//! # Readiness
//!
//! `Retry::poll_ready` is that of the inner service. While a call waits for its next
//! attempt it keeps a clone of the inner service that is not ready, so it reserves
//! nothing; the clone is polled ready after the wait. An error of that readiness
//! goes to the caller directly: tower does not ask the policy about it. A layer that
//! refuses should therefore do so in its response future.
//!
//! # Cancellation
//!
//! Dropping a response future ends the attempt or the wait. Nothing is sent
//! afterwards. What the budget paid for a retry that was dropped stays paid.
//!
//! # Memory
//!
//! While a call waits, the failed response is kept, with its body, in case the next
//! attempt is refused locally. A body that streams keeps its connection from being
//! used by others; see [`RetryBuilder::forget_responses`].
//!
//! What is known of failures is bounded: an hour, 255 endpoints at a time, 256 pairs of
//! endpoint and class in each minute (the rest counted as others), under 1 MiB in all.
//!
//! # Events
//!
//! | target | level | message | fields |
//! | --- | --- | --- | --- |
//! | `tower_retry_classify` | debug | `retry` | `class`, `retry` (from 1), `wait_ms` |
//! | `tower_retry_classify` | debug | `gave_up` | `class`, `reason`, `retries` |
//! | `tower_retry_classify` | warn | `replay_log_full` | `capacity` |
//!
//! Never a URL, a header or an error text.
//!
//! # What it does not do
//!
//! It does not send a second request beside a slow one (hedging), it does not cache,
//! it does not refresh credentials (a 401 is final), and it never sends an empty body in
//! place of one that cannot be copied. Requests that cannot be copied and policies
//! without retries are not counted in the statistics, as `Retry` does not ask then.
//!
//! # Features
//!
//! - `serde`: statistics, classes and reasons can be serialised; profiles,
//!   strategies, jitter and rules read too. Off by default.
//! - `hyper`: [`Transport`] knows the errors of hyper and of hyper-util's client. Off
//!   by default.
#![forbid(unsafe_code)]

mod advice;
mod attach;
mod aws;
mod backoff;
mod budget;
mod classify;
mod config;
mod config_error;
mod deadline;
mod error;
mod error_log;
mod error_stats;
mod fallback;
mod faults;
mod future;
mod grpc;
mod history;
mod http;
mod key;
mod learn;
mod marks;
mod methods;
mod observe;
mod peek;
mod policy;
mod presets;
mod profile;
mod quota;
mod replay;
mod replay_log;
pub mod retry_after;
mod rules;
mod run;
mod share;
mod shared;
mod stats;
mod transport;
mod verdict;

pub use self::{
    advice::{Advice, Severity, Step},
    attach::AttachRefusal,
    aws::AwsCodes,
    backoff::{Backoff, Jitter, Strategy},
    budget::{BudgetRule, RetryBudget},
    classify::{Chain, Classify},
    config::RetryBuilder,
    config_error::{ConfigError, Problem},
    deadline::{DeadlineExceeded, DeadlineFuture, DeadlineLayer, WithDeadline},
    error::{GaveUp, NotRetried, Reason},
    error_stats::{ErrorPattern, ErrorStats, Shape, TopError},
    fallback::{Failed, Fallback, FallbackFuture, FallbackLayer},
    faults::{Fault, FaultBuilder, FaultFuture, FaultLayer, Faulty, Injected},
    future::RetryDelay,
    grpc::GrpcStatus,
    history::{Event, History, RecentHistory, RetryRecord},
    http::HttpStatus,
    key::{IdempotencyKey, IdempotencyKeyLayer},
    learn::Learning,
    marks::{Deadline, Retryable},
    methods::{Repeatable, is_idempotent},
    peek::{Peek, PeekBody, PeekFuture, PeekLayer, Peeked},
    policy::RetryPolicy,
    profile::{ClassPolicy, Profile},
    quota::Quota,
    replay::{Replay, ReplayBody, ReplayFuture, ReplayLayer},
    replay_log::{Done, ReplayLog, Replayed},
    rules::{Rule, RuleSet, Rules},
    run::Operation,
    share::Share,
    stats::{RetrySnapshot, RetryStats},
    transport::Transport,
    verdict::{Category, Class, Verdict},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
