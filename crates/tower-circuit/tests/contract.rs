//! The suite of adversarial services. Not part of the published package.

use tower::Layer;
use tower_circuit::{
    Circuit, CircuitLayer, ErrorsFail, Gate, GateLayer, Guard, GuardLayer, Verdict, WaitLayer,
};

/// Never opens: the suite brings errors of its own.
fn circuit() -> Circuit {
    let circuit = Circuit::builder("contract").cancelled(Verdict::Ignore).build().unwrap();
    circuit.force_closed();
    circuit
}

#[tokio::test(start_paused = true)]
async fn the_circuit_keeps_the_contract() {
    tower_contract::check(
        || "request",
        || "response",
        |probe| CircuitLayer::new(circuit(), ErrorsFail).layer(probe),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn gate_over_guard_keeps_the_contract() {
    tower_contract::check(
        || "request",
        || "response",
        |probe| {
            let circuit = circuit();
            let guard = GuardLayer::new(circuit.clone(), ErrorsFail).layer(probe);
            GateLayer::new(circuit).layer(guard)
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn back_pressure_keeps_the_contract() {
    tower_contract::check(
        || "request",
        || "response",
        |probe| WaitLayer::new(circuit(), ErrorsFail).layer(probe),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_inner_service_need_not_be_clone() {
    tower_contract::check_not_clone(
        || "request",
        || "response",
        |probe| {
            let circuit = circuit();
            Gate::new(Guard::new(probe, circuit.clone(), ErrorsFail), circuit)
        },
    )
    .await;
}
