//! Tower middleware that stops calling what is down: a circuit breaker as gate, guard or both.
#![forbid(unsafe_code)]
