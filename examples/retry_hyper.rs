//! A retry that knows what went wrong, around a hyper-util client.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use bytes::Bytes;
use examples::{BoxError, flaky, hyper_client, serve};
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::client::legacy::Error;
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer};
use tower_retry_classify::{Backoff, Class, HttpStatus, Jitter, RetryPolicy, Transport, Verdict};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(2)).await?;

    // hyper-util says whether it failed while it connected: then nothing was sent.
    let transport = Transport::new().also(|error: &(dyn std::error::Error + 'static)| match error
        .downcast_ref::<Error>(
    ) {
        Some(error) if error.is_connect() => Verdict::retry(Class::Connect),
        Some(_) => Verdict::retry(Class::Connection),
        None => Verdict::NoOpinion,
    });
    let backoff = Backoff::exponential(Duration::from_millis(5), 2.0).jitter(Jitter::Full);
    let policy = RetryPolicy::<Request<Full<Bytes>>, Response<_>>::builder()
        .classify(HttpStatus::new())
        .classify(transport)
        .max_retries(3)
        .backoff(backoff)
        .build()?;
    let stats = policy.stats();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .map_err(BoxError::from)
        .service(hyper_client());

    let response = client.oneshot(Request::get(&url).body(Full::default())?).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(stats.snapshot().failed_with(Class::Server), 2);
    println!("answered after {} attempts", stats.snapshot().attempts());
    Ok(())
}
