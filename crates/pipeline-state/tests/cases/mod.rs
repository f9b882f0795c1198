#![allow(unreachable_pub)]

pub mod items;
pub mod leases;
pub mod resume;
