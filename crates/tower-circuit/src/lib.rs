//! Tower middleware that stops calling what is down: a circuit breaker as gate, guard or both.
//!
//! A [`Circuit`] is *closed* while the service works: calls go through and their outcomes
//! are counted. Too many failures in a row, or too large a part of the calls in a window
//! failed or slow, or an answer that says when the service will be back, and it is *open*:
//! calls are refused at once with [`Open`], which says why and when to come back. After the open time it is *half-open*: a bounded number of calls go through
//! as trials. Enough successes close it; one failure opens it again.
//!
//! ```text
//!             too many failures, open_until()
//!  ┌────────┐ ─────────────────────────────▶ ┌──────┐ ◀──────────┐
//!  │ closed │                                │ open │            │ a trial fails
//!  └────────┘ ◀──── enough trials ─────┐     └──────┘            │
//!                    succeed           │        │ open time over │
//!                                   ┌───────────▼──┐             │
//!                                   │  half-open   │ ────────────┘
//!                                   └──────────────┘
//! ```
//!
//! Four layers work on it:
//!
//! ```text
//!  alone:      CircuitLayer ▶ service      refuses
//!              WaitLayer ▶ service         waits
//!
//!  in a stack: GateLayer ▶ whatever waits (a limiter, a queue) ▶ GuardLayer ▶ service
//!              refuses;                                          asks again; takes the
//!              holds nothing                                     trial place; records
//! ```
//!
//! The gate keeps calls out of a queue at whose end they would be refused. The guard stands
//! behind the queue, so that waiting is no outcome of the service, and a trial place is
//! taken only when the trial is about to be sent.
//!
//! # Example
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_circuit::{BoxError, Circuit, CircuitLayer, Open, State, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let circuit = Circuit::builder("upstream").consecutive(2).build()?;
//! let judge = |outcome: Result<&u16, &BoxError>| match outcome {
//!     Ok(status) if *status < 500 => Verdict::Success,
//!     _ => Verdict::Failure,
//! };
//! let mut service = ServiceBuilder::new()
//!     .layer(CircuitLayer::new(circuit.clone(), judge))
//!     .service(service_fn(|status: u16| async move { Ok::<_, BoxError>(status) }));
//!
//! for _ in 0..2 {
//!     assert_eq!(service.ready().await?.call(503).await?, 503);
//! }
//! assert_eq!(circuit.state(), State::Open);
//! let error = service.ready().await?.call(200).await.unwrap_err();
//! let open = error.downcast_ref::<Open>().unwrap();
//! assert_eq!(open.reason().to_string(), "2 failures in a row");
//!
//! tokio::time::advance(open.wait().unwrap()).await;
//! assert_eq!(service.ready().await?.call(200).await?, 200);
//! assert_eq!(circuit.state(), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! # One for each
//!
//! [`Circuits`] is a registry of circuits that were built alike, one for each host, zone, worker or class of request;
//! [`Circuits::by`] makes layers choose by the request. For one circuit per class of *error*, put one layer per class
//! around the service, each with a judge that calls only its own class a failure. [`Circuit::call`] needs no tower.
//!
//! # What counts
//!
//! A [`Judge`] gives each outcome a [`Verdict`]: success, failure, ignore, throttled (a 429, which
//! counts for nothing unless [`throttled`](CircuitBuilder::throttled) says else), or down for a named time. An
//! answer that comes after the circuit has changed its state says nothing about the state
//! it is in now: only calls that began as trials count as trials, and a success that began
//! before the circuit opened does not close it.
//!
//! # What is shared
//!
//! All clones of a [`Circuit`], and all services made by all layers on it, share one state.
//! Two circuits with the same name share nothing.
//!
//! # Readiness
//!
//! `poll_ready` is that of the inner service, and the ready service is the one that is
//! called. A refused call leaves that readiness with the service for the next one. Nothing
//! is acquired in `poll_ready`: asking and refusing happen in `call`. The inner service
//! need not be `Clone`. [`WaitLayer`] is the exception to all of this: it waits in `poll_ready` while the circuit
//! would refuse, and takes the trial place there. An error of `poll_ready` reaches the caller and counts for nothing:
//! no call was made.
//!
//! # Cancellation
//!
//! A call that is dropped before its answer counts as
//! [`cancelled`](CircuitBuilder::cancelled) says, a failure by default, because a time-out
//! further out shows itself in no other way. A dropped trial gives its place back. So does
//! one whose inner service or judge panics, and one that has not ended within
//! [`trial_time`](CircuitBuilder::trial_time).
//!
//! # Events
//!
//! | name | level | target | fields |
//! | --- | --- | --- | --- |
//! | `circuit.transition` | WARN if it opens, else INFO | `tower_circuit` | `circuit`, `number`, `from`, `to`, `mode`, `reason`, `open_for` if it opens |
//! | `circuit.refused` | DEBUG | `tower_circuit` | `circuit`, `state`, `reason` |
//! | `circuit.callback_panicked` (a listener, or [`Peers`]) | ERROR | `tower_circuit` | `circuit` |
//!
//! # Cost
//!
//! While closed, a call costs one atomic load, one clone of an `Arc`, and at its end one more load; a failure and the
//! success after one take one uncontended lock. With a ratio each success is one atomic step more, which threads that
//! meet there take in cache lines of their own, and one reading of the clock; with a slow ratio two. It
//! allocates nothing. No window grows with the traffic: ten buckets and their sum, or two bits for
//! each call that a window of calls holds. A circuit of a registry holds about 400 bytes with
//! consecutive failures only, 580 with a window of time, 400 and two bits a call with one of calls, its key beside.
//! A registry costs one uncontended lock and one reading of the clock more.
//!
//! # What it does not do
//!
//! It does not time calls out; put a time-out inside it. It does not retry, and a retry
//! around it should not repeat an [`Open`]: nothing was sent. It keeps no state across
//! restarts by itself: [`Circuit::snapshot`] and [`Circuit::restore`] are for that.
//!
//! # Features
//!
//! `serde`: the plain status types and [`Snapshot`] can be serialised. Off by default.
#![forbid(unsafe_code)]

mod breaker;
mod call;
mod circuit;
mod circuits;
mod config;
mod error;
mod fine;
mod future;
mod gate;
mod guard;
mod judge;
mod layer;
mod open_time;
mod peers;
mod place;
pub mod presets;
mod rules;
mod select;
mod snapshot;
mod status;
mod sync;
mod trial;
mod wait;
mod waiters;
mod window;

pub use self::{
    call::CallError,
    circuit::Circuit,
    circuits::{Circuits, CircuitsBuilder},
    config::CircuitBuilder,
    error::{ConfigError, Open, Problem},
    future::{GateFuture, GuardFuture},
    gate::Gate,
    guard::Guard,
    judge::{ErrorsFail, Judge, Verdict},
    layer::{CircuitLayer, GateLayer, GuardLayer},
    open_time::OpenTime,
    peers::{Peers, View},
    rules::{Throttled, Window},
    select::{Keyed, SelectCircuit},
    snapshot::{RestoreError, Snapshot},
    status::{Figures, Mode, Reason, State, Status, Transition, WindowCounts},
    trial::Permit,
    wait::{Wait, WaitLayer},
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
