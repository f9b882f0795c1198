//! One suite of adversarial services that every layer of this workspace must pass.
//!
//! [`check`] puts the layer under test around a [`Probe`], a service that
//! misbehaves in every way that `tower_service::Service` allows and panics in
//! every case that it forbids. [`check_not_clone`] does the same with a service
//! that cannot be cloned, for layers that do not need it.
//!
//! | law | what it catches |
//! | --- | --- |
//! | only the instance that was polled ready is called | calling the clone |
//! | readiness comes after some polls | a layer that asks once and parks |
//! | readiness, once given, stays | a layer that polls it away |
//! | one permit is enough for one call after the other | a ready service left behind |
//! | a service that is never ready is never called | readiness made up |
//! | an error of readiness arrives | a swallowed error, or a panic |
//! | an error of the call arrives, with its cause | a replaced error |
//! | a dropped response gives the permit back | leaks in the future |
//! | a dropped ready service gives the permit back | leaks in `poll_ready` |
//! | a slow answer wakes the caller | a lost waker |
//! | many clones share few permits; each request arrives once | lost or doubled calls, deadlock |
//!
//! Run it on a paused clock, so that a deadlock ends at once instead of after
//! an hour:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use tower::limit::ConcurrencyLimit;
//!
//! tower_contract::check(|| "request", || "response", |probe| ConcurrencyLimit::new(probe, 100)).await;
//! # }
//! ```
#![forbid(unsafe_code)]

mod laws;
mod probe;

pub use self::{
    laws::{check, check_not_clone},
    probe::{BoxError, Probe, ProbeError, ProbeFuture, Script, SingleProbe},
};
