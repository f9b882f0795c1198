//! Packed answers, whole and broken.

use std::{collections::VecDeque, convert::Infallible, io::Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use pipedrive_service::{BoxError, collect::CollectLayer, gunzip::GunzipLayer};
use proptest::prelude::*;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends a body in pieces of that length through the layer.
async fn through(
    encoding: &str,
    body: &[u8],
    piece: usize,
) -> Result<(HeaderMap, Bytes), BoxError> {
    let pieces: VecDeque<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
    let length = body.len();
    let inner = service_fn(move |_: Request<()>| {
        let pieces =
            pieces.clone().into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let response = Response::builder()
            .header("content-encoding", encoding)
            .header("content-length", length)
            .body(StreamBody::new(stream::iter(pieces)))
            .unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let answer = GunzipLayer::new().layer(inner).oneshot(Request::new(())).await?;
    let (head, body) = answer.into_parts();
    Ok((head.headers, body.collect().await?.to_bytes()))
}

proptest! {
    #[test]
    fn whatever_was_packed_comes_out(
        parts in prop::collection::vec(prop::collection::vec(0..4_u8, 0..3_000), 1..4),
        piece in 1..5_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Gzip may be several streams, one behind the other.
        let wire: Vec<u8> = parts.iter().flat_map(|part| packed(part)).collect();
        let (headers, body) = runtime.block_on(through("gzip", &wire, piece)).unwrap();
        prop_assert_eq!(body, parts.concat());
        prop_assert!(headers.is_empty(), "{:?}", headers);
    }

    #[test]
    fn what_is_cut_or_spoilt_is_never_taken_for_whole(at: prop::sample::Index, change in 1..=255_u8, piece in 1..100_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = "the quick brown fox jumps over the lazy dog ".repeat(20);
        let wire = packed(text.as_bytes());
        let cut = &wire[..at.index(wire.len() - 1) + 1];
        prop_assert!(runtime.block_on(through("gzip", cut, piece)).is_err());
        let mut spoilt = wire.clone();
        // All but the ten bytes of the head, most of which say nothing of the text.
        let place = 10 + at.index(wire.len() - 10);
        spoilt[place] ^= change;
        // The bits that fill up the last byte say nothing either.
        if let Ok((_, body)) = runtime.block_on(through("gzip", &spoilt, piece)) {
            prop_assert_eq!(body, text);
        }
    }
}

#[tokio::test]
async fn what_is_not_packed_passes_as_it_is() {
    let (headers, body) = through("identity", b"plain", 2).await.unwrap();
    assert_eq!(body, "plain");
    assert_eq!(
        (&headers["content-encoding"], &headers["content-length"]),
        (&"identity".parse().unwrap(), &"5".parse().unwrap())
    );
    let inner = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"plain"))))
    });
    let answer = GunzipLayer::new().layer(inner).oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.body().size_hint().exact(), Some(5));
    assert!(!answer.body().is_end_stream());
}

#[tokio::test]
async fn an_encoding_without_a_body_is_an_empty_body() {
    assert_eq!(through("gzip", b"", 1).await.unwrap().1, "");
}

#[tokio::test]
async fn gzip_is_asked_for_unless_the_caller_asks_for_something_else() {
    let mut echo = GunzipLayer::new().layer(service_fn(|request: Request<()>| async move {
        let asked = request.headers()["accept-encoding"].clone();
        Ok::<_, Infallible>(
            Response::builder().header("asked", asked).body(Full::<Bytes>::default()).unwrap(),
        )
    }));
    let answer = echo.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(answer.headers()["asked"], "gzip");
    let plain = Request::builder().header("accept-encoding", "identity").body(()).unwrap();
    let answer = echo.ready().await.unwrap().call(plain).await.unwrap();
    assert_eq!(answer.headers()["asked"], "identity");
}

#[tokio::test]
async fn a_small_answer_that_unpacks_to_a_huge_one_is_cut_off_at_the_bound() {
    let wire = Bytes::from(packed(&vec![0; 8 << 20]));
    assert!(wire.len() < 20 << 10);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::builder().header("content-encoding", "gzip");
        let response = response.body(Full::new(wire.clone())).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let service = CollectLayer::new(1 << 20).layer(GunzipLayer::new().layer(inner));
    let error = service.oneshot(Request::new(Bytes::new())).await.unwrap_err();
    assert!(error.is::<pipedrive_service::collect::BodyTooLarge>(), "{error}");
}
