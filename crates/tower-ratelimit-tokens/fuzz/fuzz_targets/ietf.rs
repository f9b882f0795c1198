#![no_main]

use tower_ratelimit_tokens::{IetfDialect, QuotaUnit};
use tower_ratelimit_tokens_fuzz::target;

target!(
    |[a, b, c]| IetfDialect::new()
        .policy("burst", a)
        .policy_in("bandwidth", b, QuotaUnit::ContentBytes)
        .default_policy(c),
    IetfDialect::new().policy("burst", a).policy("daily", b).partition(b"trial121323"),
);
