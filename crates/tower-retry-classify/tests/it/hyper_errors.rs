//! What hyper and hyper-util say when something goes wrong, over real sockets.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tower_retry_classify::{BoxError, Class, Transport, Verdict};

/// Asks a server that accepts, says this and hangs up.
async fn ask(says: &'static [u8]) -> BoxError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = [0; 16];
        let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut asked).await;
        socket.write_all(says).await.unwrap();
    });
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = tokio::time::timeout(Duration::from_secs(10), client.get(uri.parse().unwrap()));
    let error = answer.await.unwrap().unwrap_err();
    server.await.unwrap();
    error.into()
}

#[tokio::test]
async fn each_kind_is_told_apart() {
    let judge = |error: BoxError| Transport::new().judge(&*error);
    assert_eq!(judge(ask(b"").await), Verdict::retry(Class::Connection));
    assert_eq!(judge(ask(b"HTTP/1.1 2").await), Verdict::retry(Class::Connection));
    assert_eq!(judge(ask(b"not http at all\r\n\r\n").await), Verdict::retry(Class::Body));

    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let refused = client.get(closed.parse().unwrap()).await.unwrap_err();
    assert_eq!(judge(refused.into()), Verdict::retry(Class::Connect));
    let relative = client.get("/no-host".parse().unwrap()).await.unwrap_err();
    assert_eq!(judge(relative.into()), Verdict::NoOpinion, "a user's mistake is not retried");
}

#[tokio::test]
async fn a_connection_that_took_too_long_to_open_was_never_used() {
    let slow = tower::service_fn(|_: http::Uri| {
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        std::future::ready(Err::<hyper_util::rt::TokioIo<tokio::net::TcpStream>, _>(error))
    });
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(slow);
    let error: BoxError = client.get("http://a/".parse().unwrap()).await.unwrap_err().into();
    assert_eq!(Transport::new().judge(&*error), Verdict::retry(Class::Connect));
}

/// A request's body that breaks at once.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::task::Poll::Ready(Some(Err("out of ideas".into())))
    }
}

#[tokio::test]
async fn a_body_of_the_user_s_that_breaks_is_nobody_else_s_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let _server = tokio::spawn(async move { listener.accept().await.unwrap() });
    let client = Client::builder(TokioExecutor::new()).build_http::<Broken>();
    let request = http::Request::post(uri).body(Broken).unwrap();
    let error: BoxError = client.request(request).await.unwrap_err().into();
    assert_eq!(Transport::new().judge(&*error), Verdict::NoOpinion, "{error:?}");
}
