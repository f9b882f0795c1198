//! How a service is doing, learnt from the calls that pass, around hyper-util.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bytes::Bytes;
use examples::{BoxError, flaky, hyper_client, serve};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_health::{Health, HealthLayer, State, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(6)).await?;

    let health = Health::builder("api").build()?;
    let judge = |outcome: Result<&Response<_>, &_>| match outcome {
        Ok(response) if !response.status().is_server_error() => Verdict::Good,
        _ => Verdict::Bad,
    };
    let mut client = ServiceBuilder::new()
        .layer(HealthLayer::new(health.clone(), judge))
        .service(hyper_client());

    assert_eq!(health.state(), State::Unknown);
    for _ in 0..20 {
        let request = Request::get(&url).body(Full::<Bytes>::default())?;
        client.ready().await?.call(request).await?;
    }
    let report = health.report();
    println!("{:?}: {}; half the calls within {:?}", report.state, report.reason, report.p50);
    assert_eq!(report.error_rate, 0.3);
    assert_ne!(report.state, State::Healthy);
    Ok(())
}
