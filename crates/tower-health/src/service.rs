use std::task::{Context, Poll};

use tower_service::Service;

use crate::{Health, Judge, ResponseFuture};

/// Measures every call to `S`: its outcome, and the time from `call` to the answer.
///
/// It changes nothing: responses and errors pass through as they are.
#[derive(Clone, Debug)]
pub struct HealthService<S, J> {
    inner: S,
    health: Health,
    judge: J,
}

impl<S, J> HealthService<S, J> {
    /// Measures `inner` for `health`.
    pub const fn new(inner: S, health: Health, judge: J) -> Self {
        Self { inner, health, judge }
    }
}

impl<S, J, Request> Service<Request> for HealthService<S, J>
where
    S: Service<Request>,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The watch starts before the call: should that panic, it is counted.
        let stopwatch = Stopwatch::start(self.health.clone());
        ResponseFuture::new(self.inner.call(request), stopwatch, self.judge.clone())
    }
}

pub(crate) use self::stopwatch::Stopwatch;

mod stopwatch {
    use tokio::time::Instant;

    use crate::{Health, Verdict};

    /// Times one call. Dropped before it is stopped, it counts as a cancelled one.
    #[derive(Debug)]
    pub(crate) struct Stopwatch {
        health: Health,
        /// `None` once it was stopped.
        started: Option<Instant>,
    }

    impl Stopwatch {
        pub(crate) fn start(health: Health) -> Self {
            Self { health, started: Some(Instant::now()) }
        }

        pub(crate) fn stop(&mut self, verdict: Verdict) {
            let Some(started) = self.started.take() else { return };
            if verdict != Verdict::Ignore {
                let now = Instant::now();
                self.health.record_at(verdict, now.saturating_duration_since(started), now);
            }
        }
    }

    impl Drop for Stopwatch {
        fn drop(&mut self) {
            self.stop(self.health.cancelled());
        }
    }
}
