#![no_main]

use tower_ratelimit_tokens::OpenAiDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| OpenAiDialect::new(a, b));
