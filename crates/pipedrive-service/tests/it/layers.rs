//! Layers of our own that stand in the stack, each alone.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pipedrive_service::{
    BoxError, Call,
    auth::{AuthLayer, Origin, WrongOrigin},
    collect::{BodyBroken, BodyTooLarge, CollectLayer},
};
use proptest::prelude::*;
use secrecy::SecretString;
use tower::{Layer as _, Service, ServiceExt, service_fn};
use tower_test::mock;

/// A body that comes in pieces, some of which may be errors.
struct Pieces {
    pieces: VecDeque<Result<Bytes, io::Error>>,
    claims: Option<u64>,
}

fn pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> Pieces {
    Pieces { pieces: pieces.into_iter().map(|piece| Ok(piece.into())).collect(), claims: None }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.claims.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn collect(body: Pieces, max_body: u64) -> Result<Bytes, BoxError> {
    let mut body = Some(body);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let body = body.take().expect("called once");
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let mut service = CollectLayer::new(max_body).layer(inner);
    let answer = service.ready().await?.call(Request::new(Bytes::new())).await?;
    Ok(answer.into_body())
}

#[tokio::test]
async fn a_body_of_just_the_bound_is_held_and_one_byte_more_is_not() {
    assert_eq!(collect(pieces([vec![1; 6], vec![2; 4]]), 10).await.unwrap().len(), 10);
    let error = collect(pieces([vec![1; 6], vec![2; 5]]), 10).await.unwrap_err();
    assert_eq!(error.downcast::<BodyTooLarge>().unwrap().limit(), 10);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_not_read() {
    let body =
        Pieces { pieces: VecDeque::from([Err(io::Error::other("was read"))]), claims: Some(11) };
    assert!(collect(body, 10).await.unwrap_err().is::<BodyTooLarge>());
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error_with_its_cause() {
    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
    let body = Pieces {
        pieces: VecDeque::from([Ok(Bytes::from_static(b"abc")), Err(broken)]),
        claims: None,
    };
    let error = collect(body, 10).await.unwrap_err().downcast::<BodyBroken>().unwrap();
    assert_eq!(error.received(), 3);
    assert!(std::error::Error::source(&*error).unwrap().is::<io::Error>());
}

proptest! {
    #[test]
    fn pieces_come_together_in_order(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let whole: Vec<u8> = parts.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let max = whole.len() as u64;
        prop_assert_eq!(runtime.block_on(collect(pieces(parts.clone()), max)).unwrap(), whole);
        if max > 0 {
            prop_assert!(runtime.block_on(collect(pieces(parts), max - 1)).is_err());
        }
    }
}

#[tokio::test]
async fn each_sending_is_counted_as_an_attempt() {
    let inner = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(pieces([])))
    });
    let mut service = CollectLayer::default().layer(inner);
    let call = Call::builder("/x").build();
    for sent in 1..=3 {
        let mut request = Request::new(Bytes::new());
        request.extensions_mut().insert(call.clone());
        service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(call.attempts(), sent);
    }
}

fn auth() -> AuthLayer {
    let origin = Origin::of(&"https://acme.pipedrive.com".parse().unwrap()).unwrap();
    let token = SecretString::from("hunter2".to_owned());
    AuthLayer::header(origin, http::HeaderName::from_static("x-api-token"), &token).unwrap()
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

#[tokio::test]
async fn the_token_goes_to_its_host_and_is_marked_sensitive() {
    let (mut service, mut handle) = mock::spawn_with(|inner| auth().layer(inner));
    handle.allow(3);
    tokio_test::assert_ready_ok!(service.poll_ready());
    for uri in ["https://acme.pipedrive.com/api/v2/deals", "https://ACME.pipedrive.com:443/x"] {
        let answer = service.call(get(uri));
        let (request, send): (Request<()>, _) = handle.next_request().await.unwrap();
        assert_eq!(request.headers()["x-api-token"], "hunter2");
        assert!(request.headers()["x-api-token"].is_sensitive());
        assert!(!format!("{request:?}").contains("hunter2"));
        send.send_response(());
        answer.await.unwrap();
        tokio_test::assert_ready_ok!(service.poll_ready());
    }
    assert!(!format!("{:?}", auth()).contains("hunter2"));
}

#[tokio::test]
async fn to_any_other_host_scheme_or_port_nothing_is_sent() {
    let (mut service, mut handle) =
        mock::spawn_with::<Request<()>, (), _, _>(|inner| auth().layer(inner));
    handle.allow(1);
    for uri in [
        "http://acme.pipedrive.com/",
        "https://acme.pipedrive.com:8443/",
        "https://evil.test/",
        "https://acme.pipedrive.com.evil.test/",
        "https://api.pipedrive.com/",
        "/api/v2/deals",
    ] {
        tokio_test::assert_ready_ok!(service.poll_ready());
        // Whoever sends it waits for an answer that never comes.
        let refused = tokio_test::task::spawn(service.call(get(uri))).poll();
        let error = tokio_test::assert_ready_err!(refused);
        let wrong =
            error.downcast::<WrongOrigin>().unwrap_or_else(|error| panic!("{uri}: {error}"));
        assert_eq!(wrong.allowed(), "https://acme.pipedrive.com");
        assert!(!wrong.to_string().contains("hunter2"));
    }
    tokio_test::assert_pending!(tokio_test::task::spawn(handle.next_request()).poll());
}

#[test]
fn a_secret_with_a_line_break_is_refused_without_being_shown() {
    let origin = Origin::of(&"https://acme.test".parse().unwrap()).unwrap();
    let error =
        AuthLayer::bearer(origin, &SecretString::from("hunter2\r\nx: y".to_owned())).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
