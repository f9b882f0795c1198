//! The retry around reqwest. Requests are `http::Request`s, so that the policy
//! sees methods and headers and can tell what may be sent twice.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use bytes::Bytes;
use examples::{BoxError, flaky, serve};
use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn};
use tower_retry_classify::{Backoff, NotRetried, Reason, RetryPolicy};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(1)).await?;

    let policy = RetryPolicy::<Request<Bytes>, Response<reqwest::Body>>::http()
        .backoff(Backoff::constant(Duration::from_millis(5)))
        .build()?;
    let reqwest = reqwest::Client::new();
    let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(service_fn(
        |request: Request<Bytes>| {
            let reqwest = reqwest.clone();
            async move {
                let request = reqwest::Request::try_from(request)?;
                Ok::<_, BoxError>(Response::from(reqwest.execute(request).await?))
            }
        },
    ));

    // A POST that the server may have acted on is sent once ...
    let response = client.clone().oneshot(Request::post(&url).body(Bytes::new())?).await?;
    println!(
        "POST: {}, {:?}",
        response.status(),
        NotRetried::of(&response).map(NotRetried::reason)
    );

    // ... a GET until it is answered.
    let url = serve(flaky(2)).await?;
    let response = client.oneshot(Request::get(&url).body(Bytes::new())?).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(NotRetried::of(&response).map(NotRetried::reason), None::<Reason>);
    Ok(())
}
