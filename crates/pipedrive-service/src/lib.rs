//! Pipedrive over a stack of tower layers: never banned, nothing lost, no budget wasted.
#![forbid(unsafe_code)]
