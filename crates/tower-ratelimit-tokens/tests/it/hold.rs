//! Units that are held until a response's body has ended.
#![cfg(feature = "http-body")]

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    BoxError, Budget, Charge, HoldLayer, Limiter, OnLimit, Refused, SameTerms, Terms,
};

const SECOND: Duration = Duration::from_secs(1);

fn limiter(max_hold: Option<Duration>) -> (Limiter, Charge) {
    let mut limits = Limiter::builder();
    let budget = Budget::concurrency(1);
    let budget = max_hold.map_or_else(|| budget.clone(), |hold| budget.clone().max_hold(hold));
    let places = limits.budget("places", budget);
    (limits.build().unwrap(), Charge::new().with(places, 1))
}

type Rows = StreamBody<futures::Iter>;

mod futures {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use super::*;

    /// A stream of frames that are all there.
    #[derive(Debug)]
    pub(super) struct Iter(pub(super) VecDeque<&'static str>);

    impl futures_core::Stream for Iter {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(|row| Ok(Frame::data(Bytes::from(row)))))
        }
    }
}

fn rows() -> Response<Rows> {
    Response::new(StreamBody::new(futures::Iter(VecDeque::from(["a", "b"]))))
}

fn used(limiter: &Limiter) -> u64 {
    limiter.status().budgets[0].used
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_the_body_has_ended_or_is_dropped() {
    let (limiter, one) = limiter(None);
    let mut api = HoldLayer::new(limiter.clone(), one)
        .layer(service_fn(|()| async { Ok::<_, BoxError>(rows()) }));
    let mut body = api.ready().await.unwrap().call(()).await.unwrap().into_body();
    let mut next = task::spawn(api.ready().await.unwrap().call(()));
    assert_pending!(next.poll());
    body.frame().await.unwrap().unwrap();
    assert_eq!(used(&limiter), 1);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "b");
    assert!(next.is_woken());
    let second = assert_ready_ok!(next.poll());
    assert_eq!(used(&limiter), 1);
    drop(second);
    assert_eq!(used(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_holds_its_place_no_longer_than_allowed() {
    let (limiter, one) = limiter(Some(10 * SECOND));
    let mut api = HoldLayer::new(limiter.clone(), one)
        .layer(service_fn(|()| async { Ok::<_, BoxError>(rows()) }));
    let forgotten = api.ready().await.unwrap().call(()).await.unwrap();
    let mut next = task::spawn(api.ready().await.unwrap().call(()));
    assert_pending!(next.poll());
    advance(9 * SECOND).await;
    assert_pending!(next.poll());
    advance(2 * SECOND).await;
    assert!(next.is_woken(), "its own timer");
    let second = assert_ready_ok!(next.poll());
    // Its late end frees nothing that is another's.
    drop(forgotten);
    assert_eq!(used(&limiter), 1);
    drop(second);
    assert_eq!(used(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_or_is_dropped_gives_its_place_back() {
    let (limiter, one) = limiter(None);
    let mut api =
        HoldLayer::new(limiter.clone(), one).layer(service_fn(|fails: bool| async move {
            if fails {
                Err("down")
            } else {
                std::future::pending::<Result<Response<Rows>, &str>>().await
            }
        }));
    api.ready().await.unwrap().call(true).await.unwrap_err();
    assert_eq!(used(&limiter), 0);
    let mut hangs = task::spawn(api.ready().await.unwrap().call(false));
    assert_pending!(hangs.poll());
    let mut waits = task::spawn(api.ready().await.unwrap().call(false));
    assert_pending!(waits.poll());
    drop(waits);
    assert_eq!(used(&limiter), 1);
    drop(hangs);
    assert_eq!(used(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_wait_is_refused() {
    let (limiter, one) = limiter(None);
    let layer = HoldLayer::with(limiter, one, SameTerms(Terms::new()), OnLimit::Reject);
    let mut api = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(rows()) }));
    let _held = api.ready().await.unwrap().call(()).await.unwrap();
    let error = api.ready().await.unwrap().call(()).await.unwrap_err();
    assert!(error.is::<Refused>());
}
