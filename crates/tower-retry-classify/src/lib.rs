//! A tower retry policy that knows what went wrong, and whether, when and how often to try again.
#![forbid(unsafe_code)]
