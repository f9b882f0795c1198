//! Numbers under one name, and what differs for one class.

use std::time::Duration;

use crate::Backoff;

/// A number of retries and their delays under one name.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Profile {
    /// Retries after the first attempt.
    pub max_retries: u32,
    /// The delays before them.
    pub backoff: Backoff,
}

impl Profile {
    /// 3 retries, 1 s doubled up to 30 s, 10 % jitter.
    pub const GENERIC: Self = Self::doubling(3, 30);
    /// The Laravel client's: 3 retries, 1 s doubled up to 16 s.
    pub const LARAVEL: Self = Self::doubling(3, 16);
    /// Autotask's: 5 retries, 1 s doubled up to 60 s.
    pub const AUTOTASK: Self = Self::doubling(5, 60);
    /// Pigeon's for HTTP: 3 retries, 1 s doubled up to 10 s.
    pub const PIGEON_HTTP: Self = Self::doubling(3, 10);
    /// Pigeon's for AWS: 5 retries, 2 s doubled up to 60 s.
    pub const AWS: Self = Self::doubling_from(2, 5, 60);

    const fn doubling(max_retries: u32, cap: u64) -> Self {
        Self::doubling_from(1, max_retries, cap)
    }

    const fn doubling_from(base: u64, max_retries: u32, cap: u64) -> Self {
        let backoff = Backoff::exponential(Duration::from_secs(base), 2.0);
        Self { max_retries, backoff: backoff.cap(Duration::from_secs(cap)) }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::GENERIC
    }
}

/// What is different for one class. What is not set is as in the policy.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ClassPolicy {
    pub(crate) backoff: Option<Backoff>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) untouched: Option<bool>,
}

impl ClassPolicy {
    /// No difference.
    pub const fn new() -> Self {
        Self { backoff: None, max_retries: None, untouched: None }
    }

    /// Never retried.
    pub const fn never() -> Self {
        Self::new().max_retries(0)
    }

    /// Delays of its own. [`Backoff::none`] means never.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// A failure of this class is retried while the request has had fewer
    /// retries than this, of whatever class.
    pub const fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = Some(max_retries);
        self
    }

    /// The server is known not to have acted, so that even a request that is not
    /// idempotent may be repeated. Default: [`Class::is_untouched`](crate::Class::is_untouched).
    pub const fn untouched(mut self) -> Self {
        self.untouched = Some(true);
        self
    }

    /// The server may have acted. See [`untouched`](Self::untouched).
    pub const fn touched(mut self) -> Self {
        self.untouched = Some(false);
        self
    }
}
