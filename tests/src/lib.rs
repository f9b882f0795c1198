//! What the tests across crates share: a simulated account, the real stack over it, and a wire between them
//! that can be cut.
//!
//! Everything runs in one process on Tokio's clock. With the clock paused, days pass in milliseconds.
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    reason = "a test helper that panics fails the test, and is meant to"
)]

mod digest;
mod walks;
mod wire;
mod world;

pub use self::{
    digest::{digest_of, sim_entity},
    walks::{Walked, walk_all},
    wire::{Weather, Wire, WireBody},
    world::{World, pass, say, seed},
};
