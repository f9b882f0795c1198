//! What the crate does, seen from outside.

mod bad_input;
#[path = "../cases/mod.rs"]
mod cases;
mod conformance;
mod postgres;
#[path = "../support/mod.rs"]
mod support;
mod work;
