//! Two budgets at once around a hyper-util client: at most five requests in any
//! 100 ms, and twenty tokens a minute, of which a request costs two. Calls wait
//! in line; one that cannot be served in time is refused at once.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use bytes::Bytes;
use examples::{BoxError, flaky, hyper_client, serve};
use http::Request;
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Refused, TokenLimitLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(0)).await?;

    let mut limits = Limiter::builder();
    let burst = limits.budget("burst", Budget::rolling(5, Duration::from_millis(100)));
    let minute = limits.budget("minute", Budget::fixed(20, Duration::from_secs(60)));
    let limiter = limits.max_wait(Duration::from_secs(1)).build()?;

    let cost = Charge::new().with(burst, 1).with(minute, 2);
    let mut client = ServiceBuilder::new()
        .layer(TokenLimitLayer::new(limiter.clone(), cost))
        .service(hyper_client());

    for number in 1..=10 {
        let request = Request::get(&url).body(Full::<Bytes>::default())?;
        let response = client.ready().await?.call(request).await?;
        println!("{number}: {}", response.status());
    }

    // Twenty tokens are gone, and the minute is longer than we agreed to wait.
    let request = Request::get(&url).body(Full::default())?;
    let refusal = client.ready().await?.call(request).await.map(drop).unwrap_err();
    println!("refused: {refusal}");
    let refused = refusal.downcast_ref::<Refused>().ok_or("not our refusal")?;
    assert_eq!(refused.budget(), Some("minute"));
    Ok(())
}
