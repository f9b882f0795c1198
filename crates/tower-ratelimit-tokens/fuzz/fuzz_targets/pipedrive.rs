#![no_main]

use tower_ratelimit_tokens::PipedriveDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| PipedriveDialect::new(a, b), PipedriveDialect::new(a, b).burst_limit(100));
