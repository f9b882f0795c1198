//! The suite of adversarial services. Not part of the published package.

use http::{Request, Response};
use tower::Layer;
use tower_adaptive_page::{AdaptivePageLayer, LearnBody, Memory, PageController};

fn plenty() -> Option<Memory> {
    Some(Memory { used: 1, limit: 100 })
}

fn layer() -> AdaptivePageLayer {
    AdaptivePageLayer::new(PageController::builder().probe(plenty).build().unwrap())
}

fn request(uri: &'static str) -> impl Fn() -> Request<()> + Send + Sync + 'static {
    move || Request::get(uri).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn list_requests_keep_the_contract() {
    tower_contract::check(
        request("/deals?limit=500"),
        || Response::new("page"),
        |probe| layer().learn(LearnBody).layer(probe),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_pass_untouched_keep_the_contract() {
    tower_contract::check(
        request("/deals/1"),
        || Response::new("deal"),
        |probe| layer().layer(probe),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_keeps_the_contract() {
    tower_contract::check(
        request("/deals?limit=500"),
        || Response::new("page"),
        |probe| layer().enabled(false).layer(probe),
    )
    .await;
}
