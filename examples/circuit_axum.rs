//! The breaker around an axum router: the same layer guards a service in process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use examples::{BoxError, flaky};
use http::Request;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_circuit::{Circuit, CircuitLayer, State, Verdict, Window};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Half of at least four calls within a minute.
    let circuit = Circuit::builder("router")
        .failure_ratio(0.5)
        .window(Window::Time(Duration::from_secs(60)), 4)
        .build()?;
    let judge = |outcome: Result<&Response, &Infallible>| match outcome {
        Ok(response) if response.status().is_server_error() => Verdict::Failure,
        _ => Verdict::Success,
    };
    let mut router =
        ServiceBuilder::new().layer(CircuitLayer::new(circuit.clone(), judge)).service(flaky(4));

    for _ in 0..4 {
        let request = Request::get("/").body(Body::empty())?;
        let response = ServiceExt::<Request<Body>>::ready(&mut router).await?.call(request).await?;
        println!("{}", response.status());
    }
    assert_eq!(circuit.state(), State::Open);
    println!("{:?}", circuit.status().last.reason);
    Ok(())
}
