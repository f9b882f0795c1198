//! A connection that the simulator can end on purpose.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// Ends the connection that a request came over. Found in the request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    state: Arc<(AtomicU8, Notify)>,
}

impl Connection {
    /// Ends it by RST.
    pub(crate) fn reset(&self) {
        self.end(RESET);
    }

    /// Ends it by a plain close.
    pub(crate) fn close(&self) {
        self.end(CLOSED);
    }

    fn end(&self, how: u8) {
        self.state.0.store(how, Ordering::Release);
        self.state.1.notify_one();
    }

    /// Waits until one of the two was asked for.
    pub(super) async fn ended(&self) {
        self.state.1.notified().await;
    }

    fn is_reset(&self) -> bool {
        self.state.0.load(Ordering::Acquire) == RESET
    }

    fn is_open(&self) -> bool {
        self.state.0.load(Ordering::Acquire) == OPEN
    }
}

/// A socket that is closed by RST if its connection was reset, and writes nothing once it ended.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    connection: Connection,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self { stream, connection }
    }

    fn ended(&self) -> Option<io::Error> {
        (!self.connection.is_open()).then(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            // If this fails, the close is a plain one, which the client must bear as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.ended() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.ended() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.ended() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Puts the connection into the extensions of every request.
#[derive(Clone, Debug)]
pub(super) struct WithConnection<S> {
    inner: S,
    connection: Connection,
}

impl<S> WithConnection<S> {
    pub(super) fn new(inner: S, connection: Connection) -> Self {
        Self { inner, connection }
    }
}

impl<S, B> Service<Request<B>> for WithConnection<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.connection.clone());
        self.inner.call(request)
    }
}
