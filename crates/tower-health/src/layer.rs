use tower_layer::Layer;

use crate::{Health, HealthService};

/// Measures every call to a service; see [`HealthService`].
#[derive(Clone, Debug)]
pub struct HealthLayer<J> {
    health: Health,
    judge: J,
}

impl<J> HealthLayer<J> {
    /// A layer that feeds `health` with what `judge` says of each outcome.
    ///
    /// Give a function rather than a closure if a spawned `async` block awaits `oneshot`; see [`Judge`](crate::Judge).
    pub const fn new(health: Health, judge: J) -> Self {
        Self { health, judge }
    }
}

impl<S, J: Clone> Layer<S> for HealthLayer<J> {
    type Service = HealthService<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthService::new(inner, self.health.clone(), self.judge.clone())
    }
}
