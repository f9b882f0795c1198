//! What the crate does, seen from outside.

mod bad_database;
mod bad_input;
mod by_recents;
#[path = "../cases/mod.rs"]
mod cases;
mod circuits;
#[path = "../common/mod.rs"]
mod common;
mod export;
mod ledger;
mod limits;
mod names;
mod options;
mod postgres;
mod postgres_again;
mod price;
mod quarantine;
mod store;
mod sync;
mod wait;
