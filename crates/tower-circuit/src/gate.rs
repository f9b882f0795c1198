use std::task::{Context, Poll};

use tower_service::Service;

use crate::{BoxError, Circuit, GateFuture, SelectCircuit};

/// Refuses calls while a circuit is open; see [`GateLayer`](crate::GateLayer).
#[derive(Clone, Debug)]
pub struct Gate<S, C = Circuit> {
    inner: S,
    circuit: C,
}

impl<S, C> Gate<S, C> {
    /// Puts a gate on `circuit` before `inner`.
    pub const fn new(inner: S, circuit: C) -> Self {
        Self { inner, circuit }
    }
}

impl<S, C, Request> Service<Request> for Gate<S, C>
where
    C: SelectCircuit<Request>,
    S: Service<Request>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.circuit.with(&request, Circuit::look) {
            Ok(()) => GateFuture::called(self.inner.call(request)),
            Err(open) => GateFuture::refused(open),
        }
    }
}
