//! Over real loopback sockets: what only a transport can do.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{DEALS, sim, small, with_faults};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use saas_sim::pipedrive::{FaultKind, Faults, Sim};
use saas_sim::{Listen, Server, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

const LIMIT: Duration = Duration::from_secs(10);

async fn http(sim: &Sim) -> Server {
    serve(sim, Listen::http((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port")
}

fn request(sim: &Sim, server: &Server, target: &str) -> Request<Full<Bytes>> {
    Request::get(format!("{}{target}", server.url()))
        .header("x-api-token", sim.api_token())
        .body(Full::default())
        .expect("a request")
}

/// Sends one request on a connection of its own and reads until its end.
async fn raw(sim: &Sim, server: &Server) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = TcpStream::connect(server.addr()).await.expect("it listens");
    let head =
        format!("GET {DEALS} HTTP/1.1\r\nhost: x\r\nx-api-token: {}\r\n\r\n", sim.api_token());
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut got = Vec::new();
    let end = timeout(LIMIT, stream.read_to_end(&mut got)).await.expect("it ends");
    (got, end.map(drop).map_err(|error| error.kind()))
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let sim = sim(small());
    let server = http(&sim).await;
    let mut stream = TcpStream::connect(server.addr()).await.expect("it listens");
    let head =
        format!("GET /v1/users/me HTTP/1.1\r\nhost: x\r\nx-api-token: {}\r\n\r\n", sim.api_token());
    let mut got = vec![0; 64 * 1024];
    for remaining in (97..100).rev() {
        stream.write_all(head.as_bytes()).await.expect("written");
        let count = timeout(LIMIT, stream.read(&mut got)).await.expect("in time").expect("read");
        let text = String::from_utf8_lossy(&got[..count]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains(&format!("x-ratelimit-remaining: {remaining}\r\n")), "{text}");
    }
    server.shutdown().await;
    assert_eq!(stream.read(&mut got).await.expect("closed"), 0);
}

#[tokio::test]
async fn a_reset_before_the_head_is_an_rst_or_a_plain_close() {
    let sim = with_faults("rates = { reset = 1.0 }");
    let server = http(&sim).await;
    let mut ends = Vec::new();
    for _ in 0..30 {
        let (got, end) = raw(&sim, &server).await;
        assert!(got.is_empty(), "{}", String::from_utf8_lossy(&got));
        ends.push(end);
    }
    assert!(ends.contains(&Err(ErrorKind::ConnectionReset)), "{ends:?}");
    assert!(ends.contains(&Ok(())), "{ends:?}");
    assert_eq!(sim.truth().fault(FaultKind::Reset), 30);
    assert_eq!(sim.truth().answered, 0);
}

#[tokio::test]
async fn a_reset_inside_the_body_comes_after_the_head() {
    let sim = with_faults("rates = { reset_in_body = 1.0 }");
    let server = http(&sim).await;
    let mut parts = 0;
    for _ in 0..10 {
        let (got, end) = raw(&sim, &server).await;
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        // The peer's kernel may throw away what was not read when the RST came.
        parts += usize::from(got.starts_with(b"HTTP/1.1 200") && !got.ends_with(b"}"));
    }
    assert!(parts > 0, "no head was ever seen");
    let client = Client::builder(TokioExecutor::new()).build_http();
    if let Ok(response) = client.request(request(&sim, &server, DEALS)).await {
        assert!(response.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn cut_json_is_framed_as_a_whole_answer() {
    let sim = with_faults("rates = { truncated_json = 1.0 }");
    let server = http(&sim).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request(&sim, &server, DEALS)).await.expect("an answer");
    let claimed: usize =
        response.headers()["content-length"].to_str().expect("text").parse().expect("a number");
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body.len(), claimed);
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err());
}

#[tokio::test]
async fn a_slow_body_is_whole_and_a_hang_ends_with_the_server() {
    let sim = with_faults(
        "drip = { pieces = 5, pause_ms = 20 }\n\
         rules = [{ fault = \"slow_drip\", nth = 1 }, { fault = \"hang\", nth = 2 }]",
    );
    let server = http(&sim).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let slow = client.request(request(&sim, &server, DEALS)).await.expect("an answer");
    let body = slow.into_body().collect().await.expect("a whole body").to_bytes();
    serde_json::from_slice::<serde_json::Value>(&body).expect("whole JSON");

    let hung = tokio::spawn(client.request(request(&sim, &server, DEALS)));
    while sim.truth().fault(FaultKind::Hang) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!hung.is_finished());
    timeout(LIMIT, server.shutdown()).await.expect("a hang does not hold the server up");
    hung.await.expect("no panic").expect_err("the connection ended");
}

fn roots(pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a root");
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn tls_is_trusted_through_its_authority_only() {
    let sim = sim(small());
    let server = serve(&sim, Listen::https((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let connect = |config| {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .enable_http2()
            .build();
        Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector)
    };
    let client = connect(roots(server.ca_pem().expect("TLS")));
    let response = client.request(request(&sim, &server, DEALS)).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));

    let other = serve(&sim, Listen::https((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    let stranger = connect(roots(other.ca_pem().expect("TLS")));
    stranger.request(request(&sim, &server, DEALS)).await.expect_err("not its authority");
    assert_eq!(sim.truth().requests, 1);

    for kind in ["reset", "reset_in_body"] {
        let faults = Faults::from_toml(&format!("rates = {{ {kind} = 1.0 }}"));
        sim.set_faults(faults.expect("good faults")).expect("good faults");
        let failed = match client.request(request(&sim, &server, DEALS)).await {
            Ok(response) => response.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(failed, "{kind}");
    }
    sim.set_faults(Faults::none()).expect("good faults");
    let again = client.request(request(&sim, &server, DEALS)).await.expect("a new connection");
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn only_loopback_is_listened_on_unless_asked() {
    let sim = sim(small());
    let all = (Ipv4Addr::UNSPECIFIED, 0);
    let error = serve(&sim, Listen::http(all)).await.expect_err("not loopback");
    assert!(error.to_string().contains("loopback only"));
    serve(&sim, Listen::http(all).beyond_loopback()).await.expect("asked for");
    let taken = http(&sim).await;
    let error = serve(&sim, Listen::http(taken.addr())).await.expect_err("taken");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn the_truth_can_be_asked_over_the_socket() {
    let sim = sim(small());
    let server = http(&sim).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let ask = async |target: &str| {
        let response = client.request(request(&sim, &server, target)).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")
    };
    ask(DEALS).await;
    let truth = ask("/__sim/truth").await;
    assert_eq!(truth["charged"], 1);
    assert_eq!(truth["operations"][0]["operation"], "GET v2 /deals");
    let one = ask("/__sim/digest?entity=deals").await;
    assert_eq!(one["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(ask("/__sim/digest").await["deals"], one);
}
