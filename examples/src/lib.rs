//! What the examples share: a small server on the loopback that fails as told,
//! and a hyper-util client as a plain service.
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    extract::Query,
    http::StatusCode,
    response::IntoResponse,
    routing::{any, get},
};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The error of every example's `main`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client of hyper-util: a `tower::Service` like any other.
pub type HyperClient = Client<HttpConnector, Full<Bytes>>;

/// A hyper-util client for plain HTTP.
#[must_use]
pub fn hyper_client() -> HyperClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Reads a response's body to its end, for layers that look into it.
///
/// # Errors
///
/// If the connection breaks before that.
pub async fn collect<B>(response: Response<B>) -> Result<Response<Bytes>, BoxError>
where
    B: Body,
    BoxError: From<B::Error>,
{
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// An API that answers 503 to its first `failures` requests of `/` and 200 to
/// all others. `/numbers?cursor=&limit=` is a list of 1 to 25 in pages.
pub fn flaky(failures: usize) -> Router {
    let asked = Arc::new(AtomicUsize::new(0));
    let root = move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            if number < failures {
                (StatusCode::SERVICE_UNAVAILABLE, "not now").into_response()
            } else {
                "hello".into_response()
            }
        }
    };
    Router::new().route("/", any(root)).route("/numbers", get(numbers))
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    cursor: u32,
    limit: u32,
}

async fn numbers(Query(page): Query<Page>) -> impl IntoResponse {
    let data: Vec<u32> = (page.cursor + 1..=25).take(page.limit as usize).collect();
    let last = data.last().copied().unwrap_or(25);
    let next = (last < 25).then(|| last.to_string());
    Json(serde_json::json!({ "data": data, "next": next }))
}

/// Serves `router` on a free port of the loopback and says where.
///
/// # Errors
///
/// If no port can be had.
pub async fn serve(router: Router) -> Result<String, BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// The project's front page is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
