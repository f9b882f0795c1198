//! What the crate does, seen from outside.

mod budget;
mod config;
#[cfg(feature = "hyper")]
mod hyper_errors;
mod marks;
mod observed;
mod peek;
mod policy;
mod replay;
mod retry_after;
mod rules;
mod support;
mod without_tower;
