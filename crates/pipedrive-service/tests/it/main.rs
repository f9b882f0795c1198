//! What the crate does, seen from outside.

mod circuits;
mod config;
mod error_rules;
mod host;
mod layers;
mod order;
mod secrets;
mod sim;
#[path = "../support/mod.rs"]
mod support;
mod terms;
mod transport;
mod walks;
