//! The same walk through reqwest, stopped after a page and resumed from where
//! it stopped, as after a restart.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bytes::Bytes;
use examples::{BoxError, flaky, serve};
use futures_util::TryStreamExt;
use http::Request;
use tower::service_fn;
use tower_adaptive_page::{Next, Parsed, Position, Style, Walk, walk};

#[derive(serde::Deserialize)]
struct Numbers {
    data: Vec<u32>,
    next: Option<String>,
}

#[allow(clippy::needless_pass_by_value, reason = "the walk hands the answer over")]
fn parse(body: Bytes) -> Result<Parsed<Vec<u32>>, BoxError> {
    let page: Numbers = serde_json::from_slice(&body)?;
    Ok(Parsed::new(page.data, Next::cursor(page.next)))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = serve(flaky(0)).await?;
    let base: http::Uri = format!("{url}/numbers").parse()?;
    let reqwest = reqwest::Client::new();
    let client = service_fn(|request: Request<Bytes>| {
        let reqwest = reqwest.clone();
        async move {
            let request = reqwest::Request::try_from(request)?;
            Ok::<_, BoxError>(reqwest.execute(request).await?.bytes().await?)
        }
    });

    let how = || Walk::get(base.clone(), Style::cursor("cursor", "limit"), parse).page_size(10);
    let mut first = std::pin::pin!(walk(client, how()));
    let page = first.try_next().await?.ok_or("no page")?;
    let mut rows = page.items;

    // What a program keeps beside its rows, as text.
    let kept = page.next.ok_or("no more pages")?.to_string();
    println!("stopped after {} rows; go on at {kept}", rows.len());

    let position: Position = kept.parse()?;
    let mut rest = std::pin::pin!(walk(client, how().from(position)));
    while let Some(page) = rest.try_next().await? {
        rows.extend(page.items);
    }
    assert_eq!(rows, (1..=25).collect::<Vec<_>>());
    Ok(())
}
