//! What a request costs, by method and path, around an axum router in process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use axum::body::Body;
use examples::{BoxError, flaky};
use http::{Method, Request};
use tower::{ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{Admission, Budget, Charge, CostTable, Limiter, TokenLimitLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut limits = Limiter::builder();
    let tokens = limits.budget("tokens", Budget::fixed(100, Duration::from_secs(60)));
    let limiter = limits.build()?;

    let costs = CostTable::new(Charge::new().with(tokens, 1)).route(
        Method::GET,
        "/numbers",
        Charge::new().with(tokens, 20),
    );
    let client =
        ServiceBuilder::new().layer(TokenLimitLayer::new(limiter.clone(), costs)).service(flaky(0));

    client.clone().oneshot(Request::get("/").body(Body::empty())?).await?;
    for _ in 0..4 {
        let list = Request::get("/numbers?limit=5").body(Body::empty())?;
        client.clone().oneshot(list).await?;
    }

    let status = limiter.status();
    println!("{} of {} tokens used", status.budgets[0].used, status.budgets[0].limit);
    assert_eq!(status.budgets[0].used, 81);
    assert!(matches!(
        limiter.would_admit(&Charge::new().with(tokens, 20), None),
        Admission::At { .. }
    ));
    Ok(())
}
