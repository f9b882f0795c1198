//! What the crate does, seen from outside.

mod budget;
mod config;
mod policy;
mod retry_after;
mod support;
