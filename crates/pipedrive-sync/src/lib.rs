//! The program `pipedrive` as a library.
pub mod store;
pub mod wall;
