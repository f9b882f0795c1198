//! Looking into error bodies without losing them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use tower::{Service, ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
use tower_retry_classify::{
    BoxError, Class, Classify as _, GrpcStatus, PeekLayer, Peeked, RetryPolicy, Verdict,
};

/// Gives these frames, pending once before each, and panics when polled after its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    pub(crate) frames: VecDeque<Result<Bytes, &'static str>>,
    pub(crate) trailers: Option<HeaderMap>,
    pending: bool,
    ended: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.pending = !self.pending;
        if self.pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        assert!(!self.ended, "polled after its end");
        if let Some(frame) = self.frames.pop_front() {
            self.ended = frame.is_err();
            return Poll::Ready(Some(frame.map(Frame::data)));
        }
        let trailers = self.trailers.take();
        self.ended = trailers.is_none();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = |frame: &Result<Bytes, _>| frame.as_ref().map_or(0, |it| it.len() as u64);
        SizeHint::with_exact(self.frames.iter().map(bytes).sum())
    }
}

async fn peek(
    status: u16,
    body: Frames,
    limit: usize,
) -> Response<impl Body<Data = Bytes, Error = &'static str>> {
    let answer = Response::builder().status(status).body(body).unwrap();
    let mut answer = Some(answer);
    let inner =
        service_fn(move |()| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    let mut service = ServiceBuilder::new().layer(PeekLayer::new().limit(limit)).service(inner);
    service.ready().await.unwrap().call(()).await.unwrap()
}

pub(crate) fn bytes(frames: &[&'static str]) -> Frames {
    let frames = frames.iter().map(|it| Ok(Bytes::from_static(it.as_bytes()))).collect();
    Frames { frames, ..Frames::default() }
}

#[tokio::test]
async fn an_error_s_body_is_seen_and_still_there() {
    for (limit, seen, whole) in
        [(64, "one two", true), (7, "one two", false), (5, "one t", false), (2, "on", false)]
    {
        let answer = peek(500, bytes(&["one", "", " two"]), limit).await;
        let peeked = Peeked::of(&answer).unwrap();
        assert_eq!(peeked.start(), seen);
        // Whether more follows is not asked when the bound is reached.
        assert_eq!(peeked.is_whole(), whole, "{limit}");
        assert_eq!(answer.body().size_hint().exact(), Some(7));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one two");
    }
}

#[tokio::test]
async fn a_success_and_a_bound_of_nothing_are_not_looked_at() {
    for (status, limit) in [(200, 64), (302, 64), (500, 0)] {
        let answer = peek(status, bytes(&["one"]), limit).await;
        assert_eq!(Peeked::of(&answer), None);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one");
    }
}

#[tokio::test]
async fn trailers_arrive_after_the_body() {
    let mut frames = bytes(&["one"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "14".parse().unwrap());
    frames.trailers = Some(trailers.clone());
    for limit in [64, 1] {
        let answer = peek(503, frames.clone(), limit).await;
        let mut body = Box::pin(answer.into_body());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        assert!(!body.is_end_stream(), "the trailers are still to come");
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_body_that_breaks_breaks_for_the_caller_at_the_same_place() {
    let mut frames = bytes(&["one"]);
    frames.frames.push_back(Err("reset"));
    let answer = peek(500, frames, 64).await;
    let peeked = Peeked::of(&answer).unwrap();
    assert_eq!((&peeked.start()[..], peeked.is_whole()), (&b"one"[..], false));
    let mut body = Box::pin(answer.into_body());
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "reset");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_whole_body_is_noted_up_to_its_bound() {
    let note = |status: u16, length| {
        Peeked::note(Response::builder().status(status).body(vec![b'x'; length]).unwrap())
    };
    let (all, cut) = (note(500, 65_536), note(500, 65_537));
    let peeked =
        |answer: &Response<_>| Peeked::of(answer).map(|it| (it.start().len(), it.is_whole()));
    assert_eq!(peeked(&all), Some((65_536, true)));
    assert_eq!(peeked(&cut), Some((65_536, false)));
    assert_eq!(peeked(&note(200, 1)), None);
    assert!(!format!("{:?}", Peeked::of(&all)).contains('x'), "no body in a log");
}

#[tokio::test(start_paused = true)]
async fn a_code_in_a_streaming_body_is_retried_though_the_status_says_no() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let inner = service_fn(|_: http::Request<()>| {
        let first = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let body = if first { "<Code>SlowDown</Code>" } else { "done" };
        let answer = Response::builder().status(if first { 400 } else { 200 });
        std::future::ready(Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(body)).unwrap()))
    });
    let policy = RetryPolicy::aws().build().unwrap();
    let stats = policy.stats();
    let service =
        ServiceBuilder::new().layer(RetryLayer::new(policy)).layer(PeekLayer::new()).service(inner);
    // A POST without a key: the code says that it was not acted on.
    let answer = service.oneshot(http::Request::post("/").body(()).unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "done");
    assert_eq!(stats.snapshot().failed_with(Class::RateLimit), 1);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_added_whatever_the_chunks(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
        limit in 0usize..100,
    ) {
        let all = chunks.concat();
        let frames = chunks.into_iter().map(|it| Ok(Bytes::from(it))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (peeked, body) = runtime.block_on(async {
            let answer = peek(500, Frames { frames, ..Frames::default() }, limit).await;
            let peeked = Peeked::of(&answer).map(|it| it.start().clone());
            (peeked, answer.into_body().collect().await.unwrap().to_bytes())
        });
        prop_assert_eq!(&body[..], &all[..]);
        if let Some(peeked) = peeked {
            prop_assert_eq!(&peeked[..], &all[..all.len().min(limit)]);
        } else {
            prop_assert_eq!(limit, 0);
        }
    }
}

/// An answer of 200, as gRPC's always are, through a layer that looks for its status.
async fn grpc(
    headers: &[(&'static str, &'static str)],
    body: Frames,
) -> Response<impl Body<Data = Bytes, Error = &'static str>> {
    let mut answer = Response::builder().body(body).unwrap();
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().unwrap());
    }
    let mut answer = Some(answer);
    let inner =
        service_fn(move |()| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    ServiceBuilder::new().layer(PeekLayer::new().grpc()).service(inner).oneshot(()).await.unwrap()
}

fn status(code: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers
}

fn verdict<B>(answer: &Response<B>) -> Verdict {
    GrpcStatus::new().classify(&(), Ok(answer))
}

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

#[tokio::test]
async fn a_grpc_status_in_trailers_before_any_message_is_seen_and_still_there() {
    for (frames, code, expected) in [
        (bytes(&[]), "14", Verdict::retry(Class::Server)),
        (bytes(&["", ""]), "8", Verdict::retry(Class::RateLimit)),
        (bytes(&[]), "7", Verdict::never(Class::Forbidden)),
        (bytes(&[]), "0", Verdict::NoOpinion),
    ] {
        let answer = grpc(&[GRPC], Frames { trailers: Some(status(code)), ..frames }).await;
        assert_eq!(verdict(&answer), expected, "{code}");
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers(), Some(&status(code)));
    }
}

#[tokio::test]
async fn a_grpc_message_is_handed_on_when_it_comes_and_what_follows_is_not_waited_for() {
    let frames = Frames { trailers: Some(status("14")), ..bytes(&["a message", "another"]) };
    let answer = grpc(&[GRPC], frames).await;
    assert_eq!((verdict(&answer), Peeked::of(&answer)), (Verdict::NoOpinion, None));
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&status("14")));
    assert_eq!(whole.to_bytes(), "a messageanother");
    // After the first message this one would hang.
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    send.send(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"first")))).unwrap();
    let body = http_body_util::StreamBody::new(futures_util::stream::poll_fn(move |cx| {
        receive.poll_recv(cx)
    }));
    let answer = Response::builder().header(GRPC.0, GRPC.1).body(Box::pin(body)).unwrap();
    let mut answer = Some(answer);
    let inner =
        service_fn(move |()| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    let peek = ServiceBuilder::new().layer(PeekLayer::new().grpc()).service(inner);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), peek.oneshot(())).await;
    let mut body = answer.expect("the first message has come").unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
}

#[tokio::test]
async fn other_answers_and_those_with_their_status_in_the_headers_are_left_alone() {
    let frames = || Frames { trailers: Some(status("14")), ..bytes(&[]) };
    for headers in [&[("content-type", "application/json")][..], &[GRPC, ("grpc-status", "5")]] {
        assert_eq!(Peeked::of(&grpc(headers, frames()).await), None, "{headers:?}");
    }
    let at_once = grpc(&[GRPC, ("grpc-status", "5")], frames()).await;
    assert_eq!(verdict(&at_once), Verdict::never(Class::NotFound));
    // Unless it is asked for.
    let answer = peek(200, frames(), 64).await;
    assert_eq!(Peeked::of(&answer), None);
}
