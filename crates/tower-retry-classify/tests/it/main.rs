//! What the crate does, seen from outside.

mod budget;
mod config;
mod faults;
#[cfg(feature = "hyper")]
mod hyper_errors;
mod marks;
mod observed;
mod peek;
mod peers;
mod policy;
mod properties;
mod replay;
mod replay_log;
mod retry_after;
mod rules;
mod storm;
mod support;
mod without_tower;
