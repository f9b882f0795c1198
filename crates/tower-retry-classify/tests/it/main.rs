//! What the crate does, seen from outside.

mod budget;
mod config;
#[cfg(feature = "hyper")]
mod hyper_errors;
mod peek;
mod policy;
mod retry_after;
mod rules;
mod support;
