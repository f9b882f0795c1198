use tower_layer::Layer;

use crate::{Circuit, Gate, Guard};

/// Gate and guard in one, for use alone: refuses while open, records every outcome.
///
/// It makes a [`Guard`], which asks the circuit and records in one place. Two layers
/// are needed only if something that waits, such as a limiter, stands between them.
#[derive(Clone, Debug)]
pub struct CircuitLayer<J> {
    circuit: Circuit,
    judge: J,
}

impl<J> CircuitLayer<J> {
    /// A layer on `circuit`, whose outcomes `judge` judges.
    pub const fn new(circuit: Circuit, judge: J) -> Self {
        Self { circuit, judge }
    }
}

impl<S, J: Clone> Layer<S> for CircuitLayer<J> {
    type Service = Guard<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard::new(inner, self.circuit.clone(), self.judge.clone())
    }
}

/// The outer half: refuses at call while the circuit is open, and holds nothing.
#[derive(Clone, Debug)]
pub struct GateLayer {
    circuit: Circuit,
}

impl GateLayer {
    /// A gate on `circuit`.
    #[must_use]
    pub const fn new(circuit: Circuit) -> Self {
        Self { circuit }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate::new(inner, self.circuit.clone())
    }
}

/// The inner half: asks again, takes the trial place, and records the outcome.
#[derive(Clone, Debug)]
pub struct GuardLayer<J> {
    circuit: Circuit,
    judge: J,
}

impl<J> GuardLayer<J> {
    /// A guard on `circuit`, whose outcomes `judge` judges.
    pub const fn new(circuit: Circuit, judge: J) -> Self {
        Self { circuit, judge }
    }
}

impl<S, J: Clone> Layer<S> for GuardLayer<J> {
    type Service = Guard<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard::new(inner, self.circuit.clone(), self.judge.clone())
    }
}
