//! The suite of adversarial services. Not part of the published package.

use tower::Layer;
use tower_health::{ErrorsBad, Health, HealthLayer};

fn layer() -> HealthLayer<ErrorsBad> {
    HealthLayer::new(Health::builder("contract").build().unwrap(), ErrorsBad)
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    tower_contract::check(|| "request", || "response", |probe| layer().layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn the_inner_service_need_not_be_clone() {
    tower_contract::check_not_clone(|| "request", || "response", |probe| layer().layer(probe))
        .await;
}
