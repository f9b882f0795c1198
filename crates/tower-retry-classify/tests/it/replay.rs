//! Which bodies are sent twice, and which once.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
use tower_retry_classify::{BoxError, ReplayBody, ReplayLayer, RetryPolicy, Retryable};

use crate::peek::{Frames, bytes};

/// What arrived at a server that is never well.
type Sent = Arc<Mutex<Vec<(Bytes, bool)>>>;

/// Sends a PUT through a layer with a bound of ten bytes; what arrived, and whether it broke.
async fn send<B>(body: B) -> Vec<(Bytes, bool)>
where
    B: Body<Data = Bytes, Error = &'static str> + Send + 'static,
{
    let sent = Sent::default();
    let policy = RetryPolicy::http().max_retries(2).build().unwrap();
    let seen = Arc::clone(&sent);
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new().limit(10))
        .layer(RetryLayer::new(policy))
        .service(service_fn(move |request: Request<ReplayBody<B>>| {
            let seen = Arc::clone(&seen);
            async move {
                let mut body = Box::pin(request.into_body());
                let (mut all, mut broken) = (Vec::new(), false);
                while let Some(frame) = body.frame().await {
                    match frame.map(Frame::into_data) {
                        Ok(Ok(data)) => all.extend_from_slice(&data),
                        Ok(Err(_)) => {}
                        Err(_) => broken = true,
                    }
                }
                seen.lock().unwrap().push((all.into(), broken));
                Ok::<_, BoxError>(Response::builder().status(503).body(())?)
            }
        }));
    let answer = service.oneshot(Request::put("/").body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 503);
    std::mem::take(&mut sent.lock().unwrap())
}

/// Says nothing of its length.
struct Unsized(Frames);

impl Body for Unsized {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Says that it is short.
struct Liar(Frames);

impl Body for Liar {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(3)
    }
}

fn whole(text: &'static str, times: usize) -> Vec<(Bytes, bool)> {
    vec![(Bytes::from_static(text.as_bytes()), false); times]
}

#[tokio::test(start_paused = true)]
async fn a_body_within_the_bound_is_sent_again_whole() {
    assert_eq!(send(bytes(&["one", "", " two"])).await, whole("one two", 3));
    assert_eq!(send(bytes(&["0123456789"])).await, whole("0123456789", 3));
    assert_eq!(send(bytes(&[])).await, whole("", 3));
}

#[tokio::test(start_paused = true)]
async fn a_longer_body_and_one_of_unknown_length_are_sent_once_and_whole() {
    assert_eq!(send(bytes(&["01234", "56789", "X"])).await, whole("0123456789X", 1));
    assert_eq!(send(Unsized(bytes(&["one", "two"]))).await, whole("onetwo", 1));
}

/// Is to be eleven bytes, none of which ever comes.
struct Later;

impl Body for Later {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(11)
    }
}

#[tokio::test(start_paused = true)]
async fn what_streams_is_sent_before_it_is_there() {
    let service = ServiceBuilder::new().layer(ReplayLayer::new().limit(10)).service(service_fn(
        |request: Request<ReplayBody<Later>>| {
            assert!(!request.body().is_whole());
            std::future::ready(Ok::<_, BoxError>(()))
        },
    ));
    service.oneshot(Request::put("/").body(Later).unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_longer_than_it_says_loses_nothing() {
    let long = ["0123", "4567", "89XY", "Z"];
    assert_eq!(send(Liar(bytes(&long))).await, whole("0123456789XYZ", 1));
    assert_eq!(send(Liar(bytes(&["0123456789X"]))).await, whole("0123456789X", 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_sent_once_and_breaks_there() {
    let mut frames = bytes(&["one"]);
    frames.frames.push_back(Err("reset"));
    assert_eq!(send(Liar(frames)).await, [(Bytes::from_static(b"one"), true)]);
}

#[tokio::test(start_paused = true)]
async fn trailers_are_sent_again_too() {
    let mut frames = bytes(&["one"]);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    frames.trailers = Some(trailers.clone());
    let seen = Mutex::new(0);
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(RetryPolicy::http().max_retries(1).build().unwrap()))
        .service(service_fn(|request: Request<ReplayBody<Frames>>| async {
            let body = request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers(), Some(&trailers));
            assert_eq!(body.to_bytes(), "one");
            *seen.lock().unwrap() += 1;
            Ok::<_, BoxError>(Response::builder().status(503).body(())?)
        }));
    service.oneshot(Request::put("/").body(frames).unwrap()).await.unwrap();
    assert_eq!(seen.into_inner().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_everything_that_the_request_had() {
    let seen = Mutex::new(Vec::new());
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(RetryPolicy::http().max_retries(1).build().unwrap()))
        .service(service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
            let (parts, _) = request.into_parts();
            let mark = parts.extensions.get::<Retryable>().copied();
            let all = (parts.method, parts.uri, parts.version, parts.headers, mark);
            seen.lock().unwrap().push(all);
            std::future::ready(Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap()))
        }));
    let request = Request::post("/deals?x=1")
        .version(http::Version::HTTP_2)
        .header("a", "b")
        .extension(Retryable(true))
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    service.oneshot(request).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].3["a"], "b");
}
