//! What the crate does, seen from outside.

mod config;
mod detector;
mod detector_model;
mod gate;
mod health;
mod phi_or_misses;
mod probe;
mod probe_loop;
mod properties;
mod scenario;
mod telling;
