//! The HTTP client at the bottom of the stack: hyper-util, rustls with ring, a pool, a proxy.

mod proxy;
mod tls;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

pub use self::{
    proxy::{ProxyConnector, ProxySettings, ProxyUri},
    tls::TlsError,
};

/// The client that [`build`] makes.
pub type HyperClient = Client<HttpsConnector<ProxyConnector>, Full<Bytes>>;

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// A PEM file of certificates to trust besides the public ones. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Through which proxy to go. Default: none.
    pub proxy: ProxySettings,
    /// How long connecting may take; it is also within the request time-out. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept. Default: 60 s.
    pub pool_idle_timeout: Duration,
    /// How many idle connections are kept per host. Default: 32.
    pub pool_max_idle: usize,
    /// After how much silence TCP probes the other side. Default: 30 s.
    pub tcp_keepalive: Duration,
    /// Offer HTTP/2 besides HTTP/1.1 over TLS. Default: yes.
    pub http2: bool,
    /// How often HTTP/2 pings while requests are open. Default: 20 s.
    pub http2_keepalive: Duration,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            proxy: ProxySettings::default(),
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(60),
            pool_max_idle: 32,
            tcp_keepalive: Duration::from_secs(30),
            http2: true,
            http2_keepalive: Duration::from_secs(20),
        }
    }
}

/// Builds the client. Its clones share one pool.
///
/// # Errors
///
/// If the file of certificates cannot be read.
pub fn build(config: &TransportConfig) -> Result<HyperClient, TlsError> {
    let tls = tls::client_config(config.ca_file.as_deref())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(config.tcp_keepalive));
    tcp.set_connect_timeout(Some(config.connect_timeout));
    let tcp = ProxyConnector::new(tcp, &config.proxy);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1();
    let connector = if config.http2 {
        connector.enable_http2().wrap_connector(tcp)
    } else {
        connector.wrap_connector(tcp)
    };
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        // Without it idle connections are never thrown away.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle)
        .http2_keep_alive_interval(config.http2_keepalive)
        .http2_adaptive_window(true)
        .build(connector))
}
