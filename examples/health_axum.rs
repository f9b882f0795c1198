//! A watcher is told when the state of an axum router changes.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use examples::{BoxError, flaky};
use http::Request;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_health::{Health, HealthLayer, State, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let health = Health::builder("router").build()?;
    let mut changes = health.watch();
    let judge = |outcome: Result<&Response, &Infallible>| match outcome {
        Ok(response) if response.status().is_server_error() => Verdict::Bad,
        _ => Verdict::Good,
    };
    let mut router =
        ServiceBuilder::new().layer(HealthLayer::new(health.clone(), judge)).service(flaky(12));

    for _ in 0..12 {
        let request = Request::get("/").body(Body::empty())?;
        ServiceExt::<Request<Body>>::ready(&mut router).await?.call(request).await?;
    }
    changes.changed().await?;
    println!("{:?}", changes.borrow_and_update());
    assert_eq!(health.state(), State::Unavailable);
    Ok(())
}
