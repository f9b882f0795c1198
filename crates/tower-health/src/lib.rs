//! Tower middleware that knows how well a service is doing: passive score and active probe.
#![forbid(unsafe_code)]
