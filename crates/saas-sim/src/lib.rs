//! A faithful simulator of rate-limited SaaS APIs, with real limits and injected faults.
#![forbid(unsafe_code)]
