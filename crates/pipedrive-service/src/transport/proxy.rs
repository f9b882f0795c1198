use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::BoxError;

/// The address of a proxy, such as `http://user:secret@proxy.example:3128`. Its `Debug` hides user and secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUri {
    text: String,
    uri: Uri,
}

impl ProxyUri {
    /// Reads an address; without a scheme, `http://` is meant.
    ///
    /// # Errors
    ///
    /// If it has no host, or its scheme is not `http`: a proxy that itself speaks TLS or SOCKS is not supported.
    pub fn parse(text: &str) -> Result<Self, NotAProxy> {
        let text = text.trim();
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        match text.parse::<Uri>() {
            Ok(uri)
                if uri.scheme_str() == Some("http")
                    && uri.host().is_some_and(|host| !host.is_empty()) =>
            {
                Ok(Self { text, uri })
            }
            _ => Err(NotAProxy { _private: () }),
        }
    }

    fn shown(&self) -> String {
        let host = self.uri.host().unwrap_or_default();
        self.uri
            .port_u16()
            .map_or_else(|| format!("http://{host}"), |port| format!("http://{host}:{port}"))
    }
}

impl fmt::Debug for ProxyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProxyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// That is not the address of an HTTP proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proxy is written http://host:port")]
pub struct NotAProxy {
    _private: (),
}

/// Which requests go through a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// The proxy. Default: none.
    pub uri: Option<ProxyUri>,
    /// Hosts that are reached without it, separated by commas, as in `NO_PROXY`. Default: none.
    pub except: String,
}

/// Connects by TCP, through a tunnel (`CONNECT`) where a proxy is set.
#[derive(Clone, Debug)]
pub struct ProxyConnector {
    direct: HttpConnector,
    matcher: Option<Arc<Matcher>>,
}

impl ProxyConnector {
    pub(super) fn new(direct: HttpConnector, settings: &ProxySettings) -> Self {
        let matcher = settings.uri.as_ref().map(|proxy| {
            Arc::new(Matcher::builder().all(proxy.text.clone()).no(settings.except.clone()).build())
        });
        Self { direct, matcher }
    }
}

/// Only once per connection, so a box does no harm.
type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Connecting {
        let Some(intercept) = self.matcher.as_ref().and_then(|matcher| matcher.intercept(&target))
        else {
            let connecting = self.direct.call(target);
            return Box::pin(async move { connecting.await.map_err(Into::into) });
        };
        // `call` is on the ready connector: a tunnel is built anew for each connection and takes a clone, and an
        // `HttpConnector` is always ready.
        let mut tunnel = Tunnel::new(intercept.uri().clone(), self.direct.clone());
        if let Some(credentials) = intercept.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let connecting = tunnel.call(target);
        Box::pin(async move { connecting.await.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_secret() {
        let proxy = ProxyUri::parse("http://user:hunter2@proxy.test:3128").unwrap();
        assert_eq!(format!("{proxy:?} {proxy}"), "http://proxy.test:3128 http://proxy.test:3128");
        assert_eq!(
            ProxyUri::parse("proxy.test:3128").unwrap().to_string(),
            "http://proxy.test:3128"
        );
        for bad in ["", "https://proxy.test", "socks5://proxy.test", "http://"] {
            assert!(ProxyUri::parse(bad).is_err(), "{bad}");
        }
    }
}
