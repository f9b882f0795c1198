//! A walk over a list that pages by cursor, through hyper-util, with the page
//! size in the hands of a controller.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::pin::pin;

use bytes::Bytes;
use examples::{BoxError, flaky, hyper_client, serve};
use futures_util::TryStreamExt;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::{ServiceBuilder, ServiceExt};
use tower_adaptive_page::{
    AdaptivePageLayer, LearnBody, Next, PageController, Parsed, Style, Walk, walk,
};

#[derive(serde::Deserialize)]
struct Numbers {
    data: Vec<u32>,
    next: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(0)).await?;

    let pages = PageController::builder().bounds(2, 10).server_max(10).build()?;
    let client = ServiceBuilder::new()
        .layer(AdaptivePageLayer::new(pages.clone()).learn(LearnBody))
        .service(hyper_client().map_err(BoxError::from).and_then(
            |response: Response<Incoming>| async {
                let (head, body) = response.into_parts();
                Ok::<_, BoxError>(Response::from_parts(head, body.collect().await?.to_bytes()))
            },
        ));

    let base = format!("{url}/numbers").parse()?;
    let how = Walk::get(base, Style::cursor("cursor", "limit"), |response: Response<Bytes>| {
        let page: Numbers = serde_json::from_slice(response.body())?;
        Ok(Parsed::new(page.data, Next::cursor(page.next)))
    });
    let mut walk = pin!(walk::<_, Full<Bytes>, _, _, _>(client, how.page_size(500)));

    let mut rows = Vec::new();
    while let Some(page) = walk.try_next().await? {
        println!("{} rows; go on at {:?}", page.items.len(), page.next);
        rows.extend(page.items);
    }
    assert_eq!(rows, (1..=25).collect::<Vec<_>>());
    Ok(())
}
