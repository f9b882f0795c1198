//! The program `pipedrive` as a library: what its commands are made of, for its tests and for programs
//! that want a sync inside.
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod digest;
pub mod engine;
pub mod exit;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod progress;
pub mod report;
pub mod signals;
pub mod store;
pub mod table;
pub mod wall;

/// The README's figures and names are kept true by hand; its code is shell.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
pub struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
