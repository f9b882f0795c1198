use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, Circuit, GuardFuture, Judge, place::Place};

/// Back-pressure: as [`CircuitLayer`](crate::CircuitLayer), but the service is not ready while the circuit would refuse.
///
/// For use alone. In a stack, what waits should be the limiter, and the circuit should refuse at call.
///
/// - `poll_ready` waits for the end of the open time, a free trial place, or an operator, in this order of likelihood.
///   While half-open it takes the trial place, so that of many who wait as many become ready as there are places.
///   A place that is not used within [`trial_time`](crate::CircuitBuilder::trial_time) is free again, without a verdict.
/// - It holds no readiness of the inner service while it waits, for which that must be `Clone`.
/// - A service that became ready while the circuit was closed, and is called after it opened, is refused with
///   [`Open`](crate::Open).
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_circuit::{BoxError, Circuit, ErrorsFail, WaitLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let circuit = Circuit::builder("api").open_for(Duration::from_secs(60)).build()?;
/// let mut service = ServiceBuilder::new()
///     .layer(WaitLayer::new(circuit.clone(), ErrorsFail))
///     .service(service_fn(|()| async { Ok::<_, BoxError>("back") }));
///
/// circuit.force_open(Some(Duration::from_secs(60)));
/// let start = Instant::now();
/// assert_eq!(service.ready().await?.call(()).await?, "back");
/// assert_eq!(start.elapsed().as_secs(), 60);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WaitLayer<J> {
    circuit: Circuit,
    judge: J,
}

impl<J> WaitLayer<J> {
    /// A layer on `circuit`, whose outcomes `judge` judges.
    pub const fn new(circuit: Circuit, judge: J) -> Self {
        Self { circuit, judge }
    }
}

impl<S, J: Clone> Layer<S> for WaitLayer<J> {
    type Service = Wait<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        Wait::new(inner, self.circuit.clone(), self.judge.clone())
    }
}

/// Waits until a circuit lets calls through, and tells it their outcomes; see [`WaitLayer`].
pub struct Wait<S, J> {
    inner: S,
    circuit: Circuit,
    judge: J,
    /// The trial place that was taken with the readiness.
    place: Option<Place>,
    ticket: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S, J> Wait<S, J> {
    /// Waits for `circuit` before `inner`.
    pub const fn new(inner: S, circuit: Circuit, judge: J) -> Self {
        Self { inner, circuit, judge, place: None, ticket: None, timer: None }
    }

    /// Ready when the circuit would let a call through.
    fn poll_circuit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.circuit.glance().is_err() {
            self.ticket = Some(self.circuit.waiters().register(self.ticket, cx.waker()));
            // What changed before the registration is seen now, and what comes later wakes us.
            let at = match self.circuit.glance() {
                Ok(()) => break,
                Err(Some(at)) => at,
                Err(None) => {
                    self.timer = None;
                    return Poll::Pending;
                }
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        self.rest();
        Poll::Ready(())
    }

    fn rest(&mut self) {
        self.timer = None;
        if let Some(ticket) = self.ticket.take() {
            self.circuit.waiters().remove(ticket);
        }
    }
}

impl<S, J, Request> Service<Request> for Wait<S, J>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = GuardFuture<S::Future, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        loop {
            if self.place.is_none() {
                ready!(self.poll_circuit(cx));
            }
            ready!(self.inner.poll_ready(cx)).map_err(Into::into)?;
            if self.place.is_some() {
                return Poll::Ready(Ok(()));
            }
            if let Ok(place) = self.circuit.reserve() {
                self.place = place;
                return Poll::Ready(Ok(()));
            }
            // Somebody was quicker: we wait again, and let the readiness go.
            self.inner = self.inner.clone();
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let admitted = match self.place.take() {
            Some(place) => place.send(),
            None => self.circuit.enter(),
        };
        match admitted {
            Ok(permit) => {
                let response = self.inner.call(request);
                GuardFuture::called(response, permit, self.judge.clone())
            }
            Err(open) => GuardFuture::refused(open),
        }
    }
}

/// The clone waits for itself: it holds no place.
impl<S: Clone, J: Clone> Clone for Wait<S, J> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.circuit.clone(), self.judge.clone())
    }
}

impl<S, J> Drop for Wait<S, J> {
    fn drop(&mut self) {
        self.rest();
    }
}

impl<S: fmt::Debug, J> fmt::Debug for Wait<S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("inner", &self.inner)
            .field("circuit", &self.circuit)
            .field("waiting", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::ErrorsFail;

    #[test]
    fn who_waits_holds_one_waker_and_none_when_dropped() {
        let circuit = Circuit::builder("test").build().unwrap();
        circuit.force_open(None);
        let inner = |(): ()| async { Ok::<_, BoxError>(()) };
        let mut cx = Context::from_waker(Waker::noop());
        let mut service = Wait::new(tower::service_fn(inner), circuit.clone(), ErrorsFail);
        for _ in 0..3 {
            assert!(service.poll_ready(&mut cx).is_pending());
        }
        let clone = service.clone();
        assert_eq!(circuit.waiters().len(), 1);
        drop((service, clone));
        assert_eq!(circuit.waiters().len(), 0);
    }
}
