//! From a request to an answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::Instant;
use tower_service::Service;

use super::body::SimBody;
use super::exchange::Exchange;
use super::sim::Sim;
use super::{answer, control};
use crate::BoxError;

/// The simulator as a service in this process; see [`Sim::service`].
///
/// Always ready. Takes requests with any body; paths are those of the company's host.
#[derive(Clone, Debug)]
pub struct SimService {
    sim: Sim,
}

impl SimService {
    pub(super) fn new(sim: Sim) -> Self {
        Self { sim }
    }
}

impl<B> Service<Request<B>> for SimService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<SimBody>;
    type Error = SimError;
    type Future = SimFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SimError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> SimFuture {
        let sim = self.sim.clone();
        SimFuture { answer: Box::pin(async move { respond(&sim, request).await }) }
    }
}

/// The answer to come, of [`SimService`].
#[must_use = "futures do nothing unless polled"]
pub struct SimFuture {
    answer: Pin<Box<dyn Future<Output = Result<Response<SimBody>, SimError>> + Send>>,
}

impl Future for SimFuture {
    type Output = Result<Response<SimBody>, SimError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx)
    }
}

impl fmt::Debug for SimFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFuture").finish_non_exhaustive()
    }
}

/// There is no answer: the simulator reset the connection, or the request's body failed.
///
/// The source of a reset is an [`io::Error`] of kind `ConnectionReset`.
#[derive(Debug)]
pub struct SimError {
    reset: bool,
    source: BoxError,
}

impl SimError {
    pub(super) fn reset() -> Self {
        let source = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer");
        Self { reset: true, source: source.into() }
    }

    /// Whether it is an injected reset.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.reset
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reset {
            "the simulator reset the connection before an answer"
        } else {
            "the body of the request could not be read"
        })
    }
}

impl std::error::Error for SimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

async fn respond<B>(sim: &Sim, request: Request<B>) -> Result<Response<SimBody>, SimError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let shared = &*sim.shared;
    let (parts, body) = request.into_parts();
    if let Some(path) = parts.uri.path().strip_prefix("/__sim/") {
        let body = read(body, shared.config.max_body).await?;
        return Ok(control::respond(sim, &parts, path, body.as_deref().unwrap_or_default()));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let number = shared.state().ledger.arrived(&parts.method, target, Instant::now());
    let exchange = Exchange::new(sim, number, &parts);
    let Some(body) = read(body, shared.config.max_body).await? else {
        return Ok(exchange.finish(answer::error(413, "Payload too large"), None, None));
    };
    exchange.run(&body).await
}

/// Reads a body of at most `limit` bytes; none if it is larger.
async fn read<B>(body: B, limit: usize) -> Result<Option<Bytes>, SimError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Ok(Some(Bytes::new()));
    }
    match Box::pin(Limited::new(body, limit).collect()).await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(source) => Err(SimError { reset: false, source }),
    }
}
