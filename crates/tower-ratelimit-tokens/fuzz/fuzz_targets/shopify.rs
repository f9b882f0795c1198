#![no_main]

use tower_ratelimit_tokens::ShopifyDialect;
use tower_ratelimit_tokens_fuzz::target;

target!(|[a, b, c]| ShopifyDialect::new().rest(a).graphql(b), ShopifyDialect::new().graphql(b));
