//! How much to ask for at a time: page size from memory and server limits, and resumable page walkers.
#![forbid(unsafe_code)]
