//! The same breaker around reqwest, whose client is a `tower::Service`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{BoxError, flaky, serve};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_circuit::{Circuit, CircuitLayer, State, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(2)).await?;

    let circuit =
        Circuit::builder("api").consecutive(2).open_for(Duration::from_secs(60)).build()?;
    let judge = |outcome: Result<&reqwest::Response, &reqwest::Error>| match outcome {
        Ok(response) if response.status().is_server_error() => Verdict::Failure,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure,
    };
    let reqwest = reqwest::Client::new();
    let mut client = ServiceBuilder::new()
        .layer(CircuitLayer::new(circuit.clone(), judge))
        .service(reqwest.clone());

    for _ in 0..2 {
        let response = client.ready().await?.call(reqwest.get(&url).build()?).await?;
        println!("{}", response.status());
    }
    let refused = client.ready().await?.call(reqwest.get(&url).build()?).await;
    assert!(refused.is_err());
    assert_eq!(circuit.state(), State::Open);

    // An operator knows better.
    circuit.reset();
    let response = client.ready().await?.call(reqwest.get(&url).build()?).await?;
    assert_eq!(response.text().await?, "hello");
    Ok(())
}
