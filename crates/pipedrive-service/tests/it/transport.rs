//! The client over real sockets: TLS, proxies, and the ways in which a network fails.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::{config, sim, small};
use pipedrive_service::{Client, ConnectionFault, Entity, ErrorKind, ListQuery};
use saas_sim::{Listen, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn to(url: &str, more: &[(&str, &str)]) -> Client {
    let mut settings = vec![("PIPEDRIVE_BASE_URL", url), ("PIGEON_RETRY_BASE_DELAY_MS", "1")];
    settings.extend_from_slice(more);
    Client::new(config(&settings)).unwrap_or_else(|error| panic!("{error}"))
}

/// A file that is gone when the test is over.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn plain_http_works_on_this_machine() {
    let sim = sim(small());
    let server = serve(&sim, Listen::http(LOCAL)).await.unwrap();
    let client = to(&server.url(), &[]);
    let page = client.list(Entity::Deals, ListQuery::new().limit(50)).await.unwrap();
    assert_eq!(page.rows.len(), 50);
    server.shutdown().await;
}

#[tokio::test]
async fn tls_is_trusted_through_a_file_of_certificates_and_not_without() {
    let sim = sim(small());
    let server = serve(&sim, Listen::https(LOCAL)).await.unwrap();
    let ca = file(server.ca_pem().unwrap());
    for http2 in ["true", "false"] {
        let trusted =
            [("PIPEDRIVE_CA_FILE", ca.path().to_str().unwrap()), ("PIPEDRIVE_HTTP2", http2)];
        to(&server.url(), &trusted).me().await.unwrap_or_else(|error| panic!("{error:?}"));
    }
    let before = sim.truth().requests;
    let error = to(&server.url(), &[]).me().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection(ConnectionFault::Tls), "{error:?}");
    assert!(!error.is_retryable() && error.advice().contains("PIPEDRIVE_CA_FILE"));
    assert_eq!(error.context().attempts, 1, "a wrong certificate stays wrong");
    assert_eq!(sim.truth().requests, before);
    server.shutdown().await;
}

#[tokio::test]
async fn nobody_listening_and_an_unknown_host_are_told_apart() {
    let free = TcpListener::bind(LOCAL).await.unwrap().local_addr().unwrap();
    let client = to(&format!("http://{free}"), &[]);
    let error = client.me().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection(ConnectionFault::Refused), "{error:?}");
    assert!(error.is_retryable() && error.context().attempts == 4);
    assert_eq!(
        client.limiter().status().budget("day").unwrap().used,
        0,
        "what was never sent costs nothing"
    );
    let error = to("https://no-such-host.invalid", &[]).me().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection(ConnectionFault::UnknownHost), "{error:?}");
}

#[tokio::test]
async fn a_file_of_certificates_that_is_none_is_a_wrong_configuration() {
    let none = file("no certificate");
    let path = none.path().to_str().unwrap();
    let error = Client::new(config(&[("PIPEDRIVE_CA_FILE", path)])).unwrap_err();
    assert!(error.to_string().contains(path), "{error}");
    let missing = Client::new(config(&[("PIPEDRIVE_CA_FILE", "/nonexistent/ca.pem")])).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/ca.pem"), "{missing}");
}

#[tokio::test]
async fn a_client_without_a_token_is_not_built() {
    let error = Client::new(config(&[("PIPEDRIVE_API_TOKEN", "")])).unwrap_err();
    assert!(error.to_string().contains("PIPEDRIVE_API_TOKEN is not set"), "{error}");
    let error = Client::new(config(&[("PIPEDRIVE_API_TOKEN", "hunter2\nx")])).unwrap_err();
    assert!(
        error.to_string().contains("PIPEDRIVE_API_TOKEN") && !error.to_string().contains("hunter2"),
        "{error}"
    );
}

/// A proxy that knows CONNECT; says how many tunnels it dug and what credentials it was shown.
async fn proxy() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tunnels = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut inward, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(inward.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                let authorised =
                    head.to_lowercase().contains("proxy-authorization: basic dtpodw50zxiy");
                let (Some(target), true) = (target, authorised) else {
                    return inward
                        .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                        .await;
                };
                let mut outward = TcpStream::connect(target).await?;
                count.fetch_add(1, Relaxed);
                inward.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut inward, &mut outward).await.map(drop)
            });
        }
    });
    (address, tunnels)
}

#[tokio::test]
async fn requests_go_through_the_proxy_unless_the_host_is_excepted() {
    let sim = sim(small());
    let server = serve(&sim, Listen::https(LOCAL)).await.unwrap();
    let ca = file(server.ca_pem().unwrap());
    let ca = ("PIPEDRIVE_CA_FILE", ca.path().to_str().unwrap());
    let (address, tunnels) = proxy().await;
    let good = format!("http://u:hunter2@{address}");
    to(&server.url(), &[ca, ("HTTPS_PROXY", &good)])
        .me()
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(tunnels.load(Relaxed), 1);
    to(&server.url(), &[ca, ("HTTPS_PROXY", &good), ("NO_PROXY", "127.0.0.1")]).me().await.unwrap();
    assert_eq!(tunnels.load(Relaxed), 1);
    // A proxy that does not let us in is no answer of the API's.
    let bad = format!("http://{address}");
    let error = to(&server.url(), &[ca, ("PIPEDRIVE_PROXY", &bad)]).me().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connection(_)), "{error:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_tried_again() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for whole in [false, true] {
            let (mut stream, _) = listener.accept().await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let body: &[u8] = br#"{"success":true,"data":{"id":7,"name":"Ines"}}"#;
            let start = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(start.as_bytes()).await?;
            stream.write_all(if whole { body } else { &body[..10] }).await?;
            stream.shutdown().await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let me = to(&format!("http://{address}"), &[]).me().await.unwrap();
    assert_eq!((me.id, me.name.as_str()), (7, "Ines"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_in_time() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = to(&url, &[("PIGEON_CB_TIMEOUT_MS", "50"), ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0")]);
    let answer = tokio::time::timeout(Duration::from_secs(10), client.me())
        .await
        .expect("our time-out is shorter");
    assert_eq!(*answer.unwrap_err().kind(), ErrorKind::Timeout);
}
