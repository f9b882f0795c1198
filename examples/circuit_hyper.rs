//! A circuit breaker around a hyper-util client: after three failures in a row
//! the API is left alone, and the refusal says until when.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use bytes::Bytes;
use examples::{BoxError, flaky, hyper_client, serve};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_circuit::{Circuit, CircuitLayer, Open, State, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(3)).await?;

    let circuit =
        Circuit::builder("api").consecutive(3).open_for(Duration::from_millis(50)).build()?;
    let judge = |outcome: Result<&Response<_>, &_>| match outcome {
        Ok(response) if response.status().is_server_error() => Verdict::Failure,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure,
    };
    let mut client = ServiceBuilder::new()
        .layer(CircuitLayer::new(circuit.clone(), judge))
        .service(hyper_client());

    for _ in 0..3 {
        let request = Request::get(&url).body(Full::<Bytes>::default())?;
        let response = client.ready().await?.call(request).await?;
        println!("{}", response.status());
    }
    assert_eq!(circuit.state(), State::Open);

    let request = Request::get(&url).body(Full::default())?;
    let refusal = client.ready().await?.call(request).await.map(drop).unwrap_err();
    println!("refused: {refusal}");
    let open = refusal.downcast_ref::<Open>().ok_or("not our refusal")?;
    tokio::time::sleep_until(open.retry_at().ok_or("no instant")?).await;

    let request = Request::get(&url).body(Full::default())?;
    let response = client.ready().await?.call(request).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(circuit.state(), State::Closed);
    println!("closed again");
    Ok(())
}
