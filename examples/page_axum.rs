//! A walk over an axum router, in process, item by item.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use axum::body::Body;
use bytes::Bytes;
use examples::{BoxError, flaky};
use futures_util::TryStreamExt;
use http::Request;
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};
use tower_adaptive_page::{Next, Parsed, Style, Walk, walk};

#[derive(serde::Deserialize)]
struct Numbers {
    data: Vec<u32>,
    next: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let router = flaky(0);
    let client = service_fn(|request: Request<Body>| {
        let router = router.clone();
        async move {
            Ok::<Bytes, BoxError>(
                router.oneshot(request).await?.into_body().collect().await?.to_bytes(),
            )
        }
    });

    let how = Walk::get("/numbers".parse()?, Style::cursor("cursor", "limit"), |body: Bytes| {
        let page: Numbers = serde_json::from_slice(&body)?;
        Ok(Parsed::new(page.data, Next::cursor(page.next)))
    });
    let walk = walk(client, how.page_size(7).prefetch(1));
    let rows: Vec<u32> = walk.items().try_collect().await?;
    assert_eq!(rows, (1..=25).collect::<Vec<_>>());
    println!("{} rows", rows.len());
    Ok(())
}
