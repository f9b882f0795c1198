//! What the benchmarks share: an inner service that answers at once, and one
//! call through a stack without an executor in between.

pub mod counting;
pub mod pairs;
pub mod rounds;

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower::{BoxError, Service};

/// Answers every request with its response at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service<()> for Echo {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// A request that is nothing but the number of whoever pays.
impl Service<u64> for Echo {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _payer: u64) -> Self::Future {
        ready(Ok(()))
    }
}

impl Service<http::Request<bytes::Bytes>> for Echo {
    type Response = http::Response<bytes::Bytes>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: http::Request<bytes::Bytes>) -> Self::Future {
        ready(Ok(http::Response::new(bytes::Bytes::new())))
    }
}

/// Readies and calls a service whose answer is there at once.
///
/// # Panics
///
/// When the service is not ready or does not answer at once: then the
/// benchmark would measure something else.
pub fn one_call<S, R>(service: &mut S, request: R) -> Result<S::Response, S::Error>
where
    S: Service<R>,
{
    let mut cx = Context::from_waker(Waker::noop());
    match service.poll_ready(&mut cx) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(error)) => return Err(error),
        Poll::Pending => panic!("the service was not ready at once"),
    }
    let mut response = pin!(service.call(request));
    match response.as_mut().poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the service did not answer at once"),
    }
}

/// Readies and calls a service that cannot answer at once, polls the answer once
/// and lets it go.
///
/// # Panics
///
/// When it is not ready or does answer.
pub fn one_wait<S, R>(service: &mut S, request: R)
where
    S: Service<R>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))), "the service was not ready");
    let mut response = pin!(service.call(request));
    assert!(response.as_mut().poll(&mut cx).is_pending(), "the service answered at once");
}
