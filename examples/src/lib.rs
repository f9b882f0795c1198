//! One file for each way of use, each runnable offline.
#![forbid(unsafe_code)]
