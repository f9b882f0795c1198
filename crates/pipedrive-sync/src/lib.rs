//! The program `pipedrive` as a library.
#![forbid(unsafe_code)]

pub mod digest;
pub mod exit;
pub mod progress;
pub mod store;
pub mod wall;
