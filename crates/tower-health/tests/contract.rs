//! The suite of adversarial services. Not part of the published package.

use tower::Layer;
use tower_health::{ErrorsBad, Health, HealthGateLayer, HealthLayer};

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

fn gate() -> HealthGateLayer {
    HealthGateLayer::builder(Health::builder("contract").build().unwrap()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_gate_keeps_the_contract() {
    tower_contract::check(|| "request", || "response", |probe| gate().layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn the_gate_needs_no_clone_of_the_inner_service() {
    tower_contract::check_not_clone(|| "request", || "response", |probe| gate().layer(probe)).await;
}
