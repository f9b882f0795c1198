//! Whether the API's host does what it is asked: a failure detector that is fed by real attempts.
//!
//! The settings `robustness.failure_detector` (`PIGEON_FD_*`) govern it. The host is unhealthy after so many failed
//! attempts in a row, or if for so many intervals none of the attempts under way was answered; degraded if answers take
//! longer than the response time-out on average, or one in ten attempts fails. While nothing is asked of it, its silence
//! says nothing: after a while it is unknown again, unless it was unwell, which only answers change.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_health::{FailureDetector, FailureKind, TargetState, TargetStatus};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    config::{ConfigError, FailureDetection, Problem},
    judge::{self, Fault},
};

const OPERATION: &str = "attempt";

/// The host of one client, watched. Clones watch the same host.
///
/// ```
/// use pipedrive_service::{Client, Config, Sources};
/// use tower_health::TargetState;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sources = Sources::new()
///     .set("connection.api_token", "secret")
///     .set("connection.company_domain", "acme")
///     .env([("PIGEON_FD_FAILURE_THRESHOLD", "5")]);
/// let client = Client::new(Config::load(&sources)?)?;
/// let status = client.host().expect("health monitoring is on").status();
/// assert_eq!((&*status.target, status.state), ("acme.pipedrive.com", TargetState::Unknown));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    detector: FailureDetector,
    name: Arc<str>,
    interval: Duration,
    /// After so long without work nothing is known any more; before the detector would take it for silence.
    idle: Duration,
    work: Mutex<Work>,
}

/// What is asked of the host.
struct Work {
    under_way: usize,
    /// When an attempt began or ended last.
    at: Instant,
    /// As the newest outcome left it.
    state: TargetState,
}

impl Host {
    pub(crate) fn new(name: &str, settings: &FailureDetection) -> Result<Self, ConfigError> {
        let said = |text: String| ConfigError::one(Problem::said(text));
        let detector = settings.builder("pipedrive").forget_after(None).max_targets(1).build();
        let detector = detector.map_err(|error| said(error.to_string()))?;
        let name: Arc<str> = name.into();
        detector.register(Arc::clone(&name), ()).map_err(|error| said(error.to_string()))?;
        let interval = settings.heartbeat_interval;
        let idle = interval * settings.failure_threshold / 2;
        let work = Work { under_way: 0, at: Instant::now(), state: TargetState::Unknown };
        Ok(Self {
            inner: Arc::new(Inner { detector, name, interval, idle, work: Mutex::new(work) }),
        })
    }

    /// All that is known of the host now.
    #[must_use]
    pub fn status(&self) -> TargetStatus {
        loop {
            let rest = self.work().rest(self.inner.idle, Instant::now());
            self.excuse(rest);
            if let Some(status) = self.inner.detector.health(&self.inner.name) {
                return status;
            }
            self.begin_anew();
        }
    }

    /// A loop that finds out that attempts are not answered while they are under way, once every heartbeat interval, and
    /// tells it by an event of tower-health, `detector.changed`. Spawn the future; dropped, nothing else changes.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let host = self.clone();
        async move {
            loop {
                tokio::time::sleep(host.inner.interval).await;
                drop(host.status());
            }
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.inner.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before something is asked of a host of which nothing was: the silence until now was nobody's. What follows from
    /// that is done outside of the lock, since it may be told.
    fn excuse(&self, rest: Rest) {
        let Inner { detector, name, .. } = &*self.inner;
        match rest {
            Rest::None => {}
            Rest::Short => drop(detector.heartbeat(name)),
            Rest::Long => self.begin_anew(),
        }
    }

    fn begin_anew(&self) {
        // There is room: it is the only one.
        drop(self.inner.detector.register(Arc::clone(&self.inner.name), ()));
    }

    fn begin(&self) -> Attempt {
        let since = Instant::now();
        let rest = {
            let mut work = self.work();
            let rest = work.rest(self.inner.idle, since);
            work.under_way += 1;
            rest
        };
        self.excuse(rest);
        Attempt { host: self.clone(), since, ended: false }
    }
}

/// How long nothing was asked of the host.
#[derive(Clone, Copy)]
enum Rest {
    /// Something is, or it is unwell or not known well, and then silence changes nothing.
    None,
    Short,
    /// For so long that nothing is known of it.
    Long,
}

impl Work {
    fn rest(&mut self, idle: Duration, now: Instant) -> Rest {
        if self.under_way > 0 {
            return Rest::None;
        }
        let rested = now - self.at;
        let rest = match self.state {
            TargetState::Unhealthy | TargetState::Recovering => Rest::None,
            // It may have failed already: what was counted stays.
            TargetState::Unknown if rested < idle => return Rest::None,
            TargetState::Healthy | TargetState::Degraded if rested < idle => Rest::Short,
            _ => {
                self.state = TargetState::Unknown;
                Rest::Long
            }
        };
        self.at = now;
        rest
    }
}

/// One attempt under way. Dropped before its answer, somebody has waited too long for it.
struct Attempt {
    host: Host,
    since: Instant,
    ended: bool,
}

impl Attempt {
    /// What it came to, as [`judge::works`] says, and whether there was any answer.
    fn end(&mut self, outcome: Option<Result<(), Fault>>, answered: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Inner { detector, name, .. } = &*self.host.inner;
        let now = Instant::now();
        let took = now - self.since;
        let state = match outcome {
            // A 429 says that it lives.
            None if answered => detector.heartbeat(name).ok(),
            None => None,
            Some(Ok(())) => detector.record_success(name, OPERATION, took).ok(),
            Some(Err(fault)) => {
                let kind = match fault {
                    Fault::Connection => FailureKind::Connection,
                    Fault::Timeout => FailureKind::Timeout,
                    Fault::Server | Fault::Body => FailureKind::Error,
                };
                detector.record_failure(name, OPERATION, kind, took).ok()
            }
        };
        let mut work = self.host.work();
        work.under_way -= 1;
        work.at = now;
        work.state = state.unwrap_or(work.state);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(Some(Err(Fault::Timeout)), false);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// Feeds a [`Host`] with what becomes of each attempt. Changes nothing, and is ready when the inner service is.
#[derive(Clone, Debug)]
pub struct HostLayer {
    host: Host,
}

impl HostLayer {
    /// Feeds this host.
    #[must_use]
    pub const fn new(host: Host) -> Self {
        Self { host }
    }
}

impl<S> Layer<S> for HostLayer {
    type Service = WatchHost<S>;

    fn layer(&self, inner: S) -> WatchHost<S> {
        WatchHost { inner, host: self.host.clone() }
    }
}

/// See [`HostLayer`].
#[derive(Clone, Debug)]
pub struct WatchHost<S> {
    inner: S,
    host: Host,
}

impl<S, R> Service<R> for WatchHost<S>
where
    S: Service<R, Response = Response<Bytes>, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HostFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let attempt = self.host.begin();
        HostFuture { answer: self.inner.call(request), attempt }
    }
}

pin_project! {
    /// The response future of [`WatchHost`].
    #[must_use = "futures do nothing unless polled"]
    pub struct HostFuture<F> {
        #[pin]
        answer: F,
        attempt: Attempt,
    }
}

impl<F> Future for HostFuture<F>
where
    F: Future<Output = Result<Response<Bytes>, BoxError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.answer.poll(cx);
        if let Poll::Ready(outcome) = &polled {
            this.attempt.end(judge::works(outcome.as_ref()), outcome.is_ok());
        }
        polled
    }
}

impl<F> fmt::Debug for HostFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFuture").finish_non_exhaustive()
    }
}
