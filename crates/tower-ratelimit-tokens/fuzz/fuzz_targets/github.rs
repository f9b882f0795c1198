#![no_main]

use tower_ratelimit_tokens::GithubDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| GithubDialect::new(a).resource("search", b).resource("graphql", c));
