//! The lock and the atomic of a circuit: the standard ones, or those of the model checker in the
//! workspace `loom` beside this crate, which builds the same sources.
#![allow(unexpected_cfgs, reason = "only that workspace knows the feature")]

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
