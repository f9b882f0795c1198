//! What the crate does, seen from outside.

mod cancellation;
mod cancellation_layer;
mod clocks;
mod config;
mod days;
mod deadlines;
mod dialects;
#[path = "../explore/mod.rs"]
mod explore;
mod extremes;
mod forgotten;
#[cfg(feature = "http-body")]
mod hold;
mod hostile;
mod hostile_keys;
mod keys;
mod layer;
mod leases;
mod pacing;
mod planning;
mod priorities;
mod properties;
mod queue;
mod storm;
mod threads;
mod told_cost;
mod told_empty;
mod ways;
