//! What the crate does, seen from outside.

mod churn;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod data_lists;
mod data_model;
mod data_rows;
#[path = "../data_support/mod.rs"]
mod data_support;
mod data_walks;
mod endings;
mod faults;
mod hostile;
mod large_rows;
mod limits;
mod price;
mod program;
mod recents;
mod socket;
mod storm;
