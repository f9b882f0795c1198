#![no_main]

use tower_ratelimit_tokens::AutotaskDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| AutotaskDialect::new(a), AutotaskDialect::new(a).threads(b));
