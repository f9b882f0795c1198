//! What the crate does, seen from outside.

mod memory;
mod paging;
mod pressure;
mod properties;
#[cfg(feature = "serde")]
mod shifting;
mod styles;
mod walk;
