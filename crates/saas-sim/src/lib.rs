#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod pipedrive;
mod server;

pub use self::server::{Listen, ServeError, Server, serve};

/// Any error that can cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
