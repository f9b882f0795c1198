//! A service that plays a script, and knows when it was called.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Service, ServiceExt, retry::Retry};
use tower_retry_classify::{BoxError, RetryPolicy};

pub(crate) type Request = http::Request<&'static str>;
pub(crate) type Response = http::Response<&'static str>;
pub(crate) type Outcome = Result<Response, BoxError>;

/// A refusal by a layer of ours.
#[derive(Debug, thiserror::Error)]
#[error("the circuit is open")]
pub(crate) struct Local;

pub(crate) fn is_local(error: &BoxError) -> bool {
    error.is::<Local>()
}

pub(crate) fn status(status: u16) -> Outcome {
    Ok(http::Response::builder().status(status).body("body").unwrap())
}

pub(crate) fn told(code: u16, after: &str) -> Outcome {
    let response = http::Response::builder().status(code).header("retry-after", after);
    Ok(response.body("body").unwrap())
}

pub(crate) fn io(kind: std::io::ErrorKind) -> Outcome {
    Err(std::io::Error::from(kind).into())
}

pub(crate) fn request(method: http::Method) -> Request {
    http::Request::builder().method(method).uri("/deals").body("payload").unwrap()
}

pub(crate) fn get() -> Request {
    request(http::Method::GET)
}

/// Answers by the script, at once; panics when it is at its end.
#[derive(Clone)]
pub(crate) struct Script {
    state: Arc<Mutex<(VecDeque<Outcome>, Vec<Instant>)>>,
}

impl Script {
    pub(crate) fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let state = (outcomes.into_iter().collect(), Vec::new());
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }

    /// The waits between the calls, in whole milliseconds.
    pub(crate) fn waits(&self) -> Vec<u128> {
        let state = self.state.lock().unwrap();
        state.1.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }

    pub(crate) async fn run(
        &self,
        policy: &RetryPolicy<Request, Response>,
        request: Request,
    ) -> Outcome {
        Retry::new(policy.clone(), self.clone()).oneshot(request).await
    }
}

impl Service<Request> for Script {
    type Response = Response;
    type Error = BoxError;
    type Future = std::future::Ready<Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        let mut state = self.state.lock().unwrap();
        state.1.push(Instant::now());
        std::future::ready(state.0.pop_front().expect("called more often than scripted"))
    }
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
