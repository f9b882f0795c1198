use tower_layer::Layer;

use crate::{Circuit, Gate, Guard};

/// Gate and guard in one, for use alone: refuses while open, records every outcome.
///
/// It makes a [`Guard`], which asks the circuit and records in one place. Two layers
/// are needed only if something that waits, such as a limiter, stands between them.
///
/// The circuit of each layer is a [`Circuit`], or one for each key of the request: see
/// [`Circuits::by`](crate::Circuits::by).
#[derive(Clone, Debug)]
pub struct CircuitLayer<J, C = Circuit> {
    circuit: C,
    judge: J,
}

impl<J, C> CircuitLayer<J, C> {
    /// A layer on `circuit`, whose outcomes `judge` judges.
    ///
    /// Give a function rather than a closure if a spawned `async` block awaits `oneshot`; see [`Judge`](crate::Judge).
    pub const fn new(circuit: C, judge: J) -> Self {
        Self { circuit, judge }
    }
}

impl<S, J: Clone, C: Clone> Layer<S> for CircuitLayer<J, C> {
    type Service = Guard<S, J, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard::new(inner, self.circuit.clone(), self.judge.clone())
    }
}

/// The outer half: refuses at call while the circuit is open, and holds nothing.
#[derive(Clone, Debug)]
pub struct GateLayer<C = Circuit> {
    circuit: C,
}

impl<C> GateLayer<C> {
    /// A gate on `circuit`.
    #[must_use]
    pub const fn new(circuit: C) -> Self {
        Self { circuit }
    }
}

impl<S, C: Clone> Layer<S> for GateLayer<C> {
    type Service = Gate<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate::new(inner, self.circuit.clone())
    }
}

/// The inner half: asks again, takes the trial place, and records the outcome.
#[derive(Clone, Debug)]
pub struct GuardLayer<J, C = Circuit> {
    circuit: C,
    judge: J,
}

impl<J, C> GuardLayer<J, C> {
    /// A guard on `circuit`, whose outcomes `judge` judges.
    ///
    /// Give a function rather than a closure if a spawned `async` block awaits `oneshot`; see [`Judge`](crate::Judge).
    pub const fn new(circuit: C, judge: J) -> Self {
        Self { circuit, judge }
    }
}

impl<S, J: Clone, C: Clone> Layer<S> for GuardLayer<J, C> {
    type Service = Guard<S, J, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard::new(inner, self.circuit.clone(), self.judge.clone())
    }
}
