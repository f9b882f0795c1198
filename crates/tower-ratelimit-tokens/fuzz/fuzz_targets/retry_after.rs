#![no_main]

use std::time::Duration;

use tower_ratelimit_tokens::RetryAfterDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(
    |[a, b, c]| RetryAfterDialect::new(),
    RetryAfterDialect::new().too_many(Duration::from_secs(1)),
);
