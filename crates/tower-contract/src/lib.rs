//! One suite of adversarial services that every layer must pass.
#![forbid(unsafe_code)]
