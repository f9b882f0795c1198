//! Sends the credentials to one origin only, and shows them to nobody.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderName, HeaderValue, Request, Uri, header,
    uri::{Authority, Scheme},
};
use pin_project_lite::pin_project;
use secrecy::{ExposeSecret, SecretString};
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

/// Where the credentials may go: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Host and port as they are usually written: without the port if it is that of the scheme.
    authority: String,
}

impl Origin {
    /// The origin of an absolute URI; none if it has no scheme or host, or a scheme other than http and https.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?.clone();
        let port = uri.port_u16().or_else(|| default_port(&scheme))?;
        let host = uri.host()?.to_ascii_lowercase();
        let authority = if default_port(&scheme) == Some(port) {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
        Some(Self { scheme, host, port, authority })
    }

    /// Whether a URI has this origin. Allocates nothing.
    #[must_use]
    pub fn holds(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return false };
        // The usual spelling is not taken apart.
        *scheme == self.scheme && (authority.as_str() == self.authority || self.is_at(authority))
    }

    fn is_at(&self, authority: &Authority) -> bool {
        authority.host().eq_ignore_ascii_case(&self.host)
            && authority.port_u16().or_else(|| default_port(&self.scheme)) == Some(self.port)
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// Puts a credential on every request to one [`Origin`], and refuses requests to any other.
///
/// Its `Debug` names the header and the origin, never the secret; the header's value is marked sensitive, so that
/// neither a log of the request nor the header compression of HTTP/2 keeps it.
///
/// # What is shared
///
/// The header's value. Readiness and cancellation are those of the inner service.
#[derive(Clone)]
pub struct AuthLayer {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    name: HeaderName,
    value: HeaderValue,
}

impl AuthLayer {
    /// The secret alone in a header of this name, such as `x-api-token`.
    ///
    /// # Errors
    ///
    /// If the secret holds a character that no header may hold.
    pub fn header(
        origin: Origin,
        name: HeaderName,
        secret: &SecretString,
    ) -> Result<Self, NotAHeader> {
        let value = HeaderValue::from_str(secret.expose_secret());
        Self::new(origin, name, value)
    }

    /// `Authorization: Bearer …`.
    ///
    /// # Errors
    ///
    /// If the secret holds a character that no header may hold.
    pub fn bearer(origin: Origin, secret: &SecretString) -> Result<Self, NotAHeader> {
        let value = HeaderValue::try_from(format!("Bearer {}", secret.expose_secret()));
        Self::new(origin, header::AUTHORIZATION, value)
    }

    fn new<E>(
        origin: Origin,
        name: HeaderName,
        value: Result<HeaderValue, E>,
    ) -> Result<Self, NotAHeader> {
        // The cause would show the secret.
        let mut value = value.map_err(|_| NotAHeader { _private: () })?;
        value.set_sensitive(true);
        Ok(Self { shared: Arc::new(Shared { origin, name, value }) })
    }

    /// Where the credentials may go.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.shared.origin
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("origin", &self.shared.origin)
            .field("header", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

/// See [`AuthLayer`].
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AuthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Shared { origin, name, value } = &*self.layer.shared;
        if origin.holds(request.uri()) {
            request.headers_mut().insert(name.clone(), value.clone());
            let answer = self.inner.call(request);
            return AuthFuture { state: State::Called { answer } };
        }
        let asked = Origin::of(request.uri()).map(|origin| origin.to_string());
        let error = WrongOrigin { allowed: origin.to_string(), asked };
        AuthFuture { state: State::Refused { error: Some(error) } }
    }
}

pin_project! {
    /// The response future of [`Auth`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct AuthFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        // The inner service is at work.
        Called { #[pin] answer: F },
        // The inner service was not called.
        Refused { error: Option<WrongOrigin> },
    }
}

impl<F, T, E> Future for AuthFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { answer } => answer.poll(cx).map_err(Into::into),
            StateProj::Refused { error } => {
                Poll::Ready(Err(error.take().expect("polled after completion").into()))
            }
        }
    }
}

/// The request was not sent: it would have carried the credentials to another origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sent: credentials go to {allowed} only, not to {}", asked.as_deref().unwrap_or("a URI without a host"))]
pub struct WrongOrigin {
    allowed: String,
    asked: Option<String>,
}

impl WrongOrigin {
    /// The origin that the credentials belong to.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

/// The secret holds a character that no header may hold, such as a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret holds a character that no HTTP header may hold")]
pub struct NotAHeader {
    _private: (),
}
