//! What the crate does, seen from outside.

mod alone;
mod chaos;
mod conformance;
mod driver;
mod pause;
mod stores;
#[path = "../support/mod.rs"]
mod support;
