#![no_main]

use tower_ratelimit_tokens::HubspotDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| HubspotDialect::new(a, b), HubspotDialect::new(a, b).secondly(c));
