//! What the crate does, seen from outside.

mod circuit;
mod config;
mod keyed;
mod open_time;
mod peers;
mod snapshot;
mod threads;
mod trips;
mod waiting;
mod watching;
