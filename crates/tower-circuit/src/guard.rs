use std::task::{Context, Poll};

use tower_service::Service;

use crate::{BoxError, Circuit, GuardFuture, Judge, SelectCircuit};

/// Asks a circuit for leave, and tells it the outcome; see [`CircuitLayer`](crate::CircuitLayer)
/// and [`GuardLayer`](crate::GuardLayer).
#[derive(Clone, Debug)]
pub struct Guard<S, J, C = Circuit> {
    inner: S,
    circuit: C,
    judge: J,
}

impl<S, J, C> Guard<S, J, C> {
    /// Puts a guard on `circuit` before `inner`.
    pub const fn new(inner: S, circuit: C, judge: J) -> Self {
        Self { inner, circuit, judge }
    }
}

impl<S, J, C, Request> Service<Request> for Guard<S, J, C>
where
    C: SelectCircuit<Request>,
    S: Service<Request>,
    S::Error: Into<BoxError>,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = GuardFuture<S::Future, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.circuit.with(&request, Circuit::enter) {
            // The permit exists before the call: should that panic, it is recorded.
            Ok(permit) => {
                let response = self.inner.call(request);
                GuardFuture::called(response, permit, self.judge.clone())
            }
            Err(open) => GuardFuture::refused(open),
        }
    }
}
