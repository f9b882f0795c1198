//! What the crate does, seen from outside.

mod cancellation;
mod clocks;
mod foreign;
mod msrv;
mod order;
mod outage;
mod paging;
mod retry_storm;
mod storm;
mod throttling;
