#![allow(missing_docs, unreachable_pub)]

pub mod store;
pub mod views;
