//! Tower middleware that knows how well a service is doing: passive score and active probe.
//!
//! [`HealthLayer`] measures every call that passes and changes none. A [`Health`] turns what
//! it sees into a state with a reason. A [`Prober`] asks by itself, when somebody wants to
//! know and the last answer is too old. Neither needs the other.
//!
//! ```text
//!  call ──▶ HealthLayer ──▶ service            who wants to know
//!              │ outcome, latency                     │ check()
//!              ▼                                      ▼
//!           Health                                 Prober ──── one request for all who ask ──▶ service
//!     ten slots of time                        answer kept for its life time
//!              │
//!              ▼
//!  healthy · degraded · critical · unavailable · unknown        state(), report(), watch()
//! ```
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_health::{BoxError, Health, HealthLayer, State, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let health = Health::builder("upstream").degraded_at(0.1, Duration::from_secs(1)).build()?;
//! let judge = |outcome: Result<&u16, &BoxError>| match outcome {
//!     Ok(status) if *status < 500 => Verdict::Good,
//!     _ => Verdict::Bad,
//! };
//! let mut service = ServiceBuilder::new()
//!     .layer(HealthLayer::new(health.clone(), judge))
//!     .service(service_fn(|status: u16| async move { Ok::<_, BoxError>(status) }));
//!
//! assert_eq!(health.state(), State::Unknown);
//! for n in 0..20 {
//!     service.ready().await?.call(if n % 4 == 3 { 503 } else { 200 }).await?;
//! }
//! let report = health.report();
//! assert_eq!(report.state, State::Degraded);
//! assert_eq!(report.error_rate, 0.25);
//! # Ok(())
//! # }
//! ```
//!
//! # How a state is found
//!
//! From the outcomes of the last [`window`](HealthBuilder::window), 60 s by default:
//!
//! | state | by default from |
//! | --- | --- |
//! | healthy | less than all below |
//! | degraded | 10 % bad calls, or more than 1,000 ms on average, or 3 bad calls in a row |
//! | critical | 50 % bad calls, or more than 10 s on average |
//! | unavailable | 90 % bad calls |
//! | unknown | no call yet, or none for 60 s |
//!
//! Rates and averages are believed from 10 calls on. A worse state is entered at once. A
//! better one only after 5 calls and 5 s that all spoke for it, in the window and alone, so that a service on the
//! edge of a limit does not flicker. What is idle becomes unknown, though no call comes:
//! that is found when somebody reads the state.
//!
//! So a service of 600 ms, called some times per second, goes through these:
//!
//! | what happens | state | when |
//! | --- | --- | --- |
//! | all is well | healthy | with the first call |
//! | latency doubles to 1,200 ms | degraded | as soon as the minute's average passes 1,000 ms |
//! | 5 % of the calls fail | healthy | |
//! | 30 % fail | degraded | at 10 % of the minute, or at 3 in a row |
//! | all fail | critical, then unavailable | at half and at nine tenths of the minute |
//! | nobody calls | unknown | after a minute |
//! | it is back after that | healthy | with the first call |
//! | it is back with no silence between | critical, degraded, healthy | as the bad calls leave the minute |
//!
//! # Many targets
//!
//! A [`FailureDetector`] watches workers or nodes that beat. They are named, and hold whatever
//! is to be remembered of them.
//!
//! | state | by default |
//! | --- | --- |
//! | unknown | registered, and not heard of yet |
//! | healthy | beats, and works |
//! | degraded | no sign of life for 60 s; or 10 % of 10 operations or more in 5 minutes failed |
//! | unhealthy | no sign of life for 90 s; or 3 operations failed in a row |
//! | recovering | was unhealthy and gave a sign of life; the 3rd makes it whole, any failure unhealthy |
//!
//! A heartbeat and a success are signs of life, a failure is none. With
//! [`phi`](DetectorBuilder::phi) the time until degraded and unhealthy follows from the beats
//! themselves: their mean, 3.6 and 5.2 of their standard deviations for a phi of 8, and a pause.
//! The loop of [`watch_over`](FailureDetector::watch_over) finds a silence within a hundredth
//! of the interval after that time. A heartbeat costs a reading of the clock, one look-up and
//! one short lock, and allocates nothing unless the state changes.
//!
//! # Acting on it
//!
//! A [`HealthGateLayer`] refuses calls by state. Listeners
//! ([`on_change`](HealthBuilder::on_change), on probe and detector too) act on whatever else
//! there is: they force a circuit open while a probe finds the service down, and let it close
//! when the probe passes. A [`SystemHealth`] sums up many parts.
//!
//! # What is shared
//!
//! All clones of a [`Health`], and all services made by all layers on it, share one score.
//! All clones of a [`Prober`] share its checks, and all clones of a [`FailureDetector`] its targets.
//!
//! # Readiness
//!
//! `poll_ready` is that of the inner service, and the ready service is the one that is
//! called, by the gate too. Time spent waiting for readiness is not measured: it is a queue's, not the
//! service's. An error of `poll_ready` reaches the caller and counts for nothing. The inner
//! service need not be `Clone`, except for a probe.
//!
//! # Cancellation
//!
//! A call that is dropped before its answer counts, with the time it had run, as
//! [`cancelled`](HealthBuilder::cancelled) says: as a bad one by default, because a time-out
//! further out shows itself in no other way. If the caller that makes a check for a probe is
//! dropped, the next one that waits makes it.
//!
//! # Events
//!
//! | name | level | target | fields |
//! | --- | --- | --- | --- |
//! | `health.changed` | WARN if it got worse, else INFO | `tower_health` | `health`, `number`, `from`, `to`, `reason` |
//! | `health.checked` | DEBUG | `tower_health` | `health`, `outcome`, `took`, `state` |
//! | `detector.changed` | WARN if it became degraded or unhealthy, else INFO | `tower_health` | `detector`, `target_name`, `number`, `from`, `to`, `reason` |
//! | `detector.forgotten` | INFO | `tower_health` | `detector`, `target_name` |
//!
//! No event holds the text of an error.
//!
//! # Metrics
//!
//! [`OpenMetrics`] writes them, [`METRICS`] lists them, the README shows them in a table.
//! [`Health::sample_every`] gives a [`Sample`] to a sink every so often, for a table of one's
//! own; a [`SampleBuffer`] is one that is bounded.
//!
//! # Cost
//!
//! A call costs two readings of the clock, one clone of an `Arc` and one uncontended lock.
//! It allocates nothing. Quantiles are computed when somebody asks for a report; they are
//! right to one part in a hundred, from a microsecond to ten minutes.
//!
//! # What it does not do
//!
//! It changes no call: only a [`HealthGateLayer`] refuses, if you use one. It
//! spawns nothing: to probe every five minutes, spawn [`Prober::watch_over`]. It keeps nothing across restarts.
//!
//! # Features
//!
//! `serde`: the plain status types can be serialised. Off by default.
#![forbid(unsafe_code)]

mod config;
mod detector;
mod error;
mod future;
mod gate;
mod health;
mod judge;
mod latencies;
mod layer;
mod listeners;
mod metrics;
mod probe;
mod prober;
mod report;
mod ring;
mod samples;
mod score;
mod service;
mod stop;
mod system;
mod window;

pub use self::{
    config::HealthBuilder,
    detector::{
        DetectorBuilder, FailureDetector,
        status::{
            FailureKind, NotRegistered, Operation, TargetChange, TargetReason, TargetState,
            TargetStatus, TooManyTargets,
        },
    },
    error::{ConfigError, Problem},
    future::ResponseFuture,
    gate::{Admit, BetterThan, GateFuture, HealthGate, HealthGateBuilder, HealthGateLayer, Shed},
    health::Health,
    judge::{ErrorsBad, Judge, Verdict},
    layer::HealthLayer,
    metrics::{METRICS, Metric, OpenMetrics},
    probe::{Check, CheckOutcome, ProbeStatus},
    prober::{Prober, ProberBuilder},
    report::{Change, Reason, Report, State, Trend},
    samples::{Sample, SampleBuffer, SampleSink},
    service::HealthService,
    stop::LoopHandle,
    system::{Assess, Assessment, PartReport, SystemHealth, SystemHealthBuilder, SystemReport},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
