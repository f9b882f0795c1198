//! An active probe through reqwest: one request for all who ask, kept for a minute.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{BoxError, flaky, serve};
use tower_health::{Prober, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(0)).await?;

    let reqwest = reqwest::Client::new();
    let ask = reqwest.get(&url).build()?;
    let prober = Prober::builder("api", reqwest, move || ask.try_clone().expect("it has no body"))
        .judge(|outcome: Result<&reqwest::Response, &_>| match outcome {
            Ok(response) if response.status().is_success() => Verdict::Good,
            _ => Verdict::Bad,
        })
        .ttl(Duration::from_secs(60))
        .build()?;

    let (one, two) = tokio::join!(prober.check(), prober.check());
    println!("{one:?}");
    assert!(prober.is_healthy());
    assert_eq!(one, two);
    Ok(())
}
