//! The simulator on a socket, with and without TLS.

mod connection;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::connection::Connection;
use self::connection::{Socket, WithConnection};
use crate::BoxError;
use crate::pipedrive::Sim;

/// Time that open requests have when the server is shut down; a hang would take for ever.
const GRACE: Duration = Duration::from_secs(1);

/// Time that a client has for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where to listen, and whether with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    addr: SocketAddr,
    tls: bool,
    anywhere: bool,
}

impl Listen {
    /// HTTP/1.1 and HTTP/2 without TLS. Port 0 takes any free port.
    pub fn http(addr: impl Into<SocketAddr>) -> Self {
        Self { addr: addr.into(), tls: false, anywhere: false }
    }

    /// The same with TLS, by a certificate made at the start; see [`Server::ca_pem`].
    pub fn https(addr: impl Into<SocketAddr>) -> Self {
        Self { addr: addr.into(), tls: true, anywhere: false }
    }

    /// Allows an address that other machines can reach. Without this only loopback is allowed.
    #[must_use]
    pub fn beyond_loopback(self) -> Self {
        Self { anywhere: true, ..self }
    }
}

/// The server could not be started.
#[derive(Debug)]
pub struct ServeError {
    addr: SocketAddr,
    source: Option<BoxError>,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(_) => write!(f, "the simulator cannot listen on {}", self.addr),
            None => write!(
                f,
                "the simulator listens on loopback only, and {} is not; ask for it explicitly",
                self.addr
            ),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_deref()?)
    }
}

/// A running server. Dropped, it ends at once, with all its connections.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    ca_pem: Option<String>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// The address with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Scheme, address and port, without a slash at the end: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The certificate of the authority that signed the server's, in PEM; none without TLS.
    /// It is valid for `localhost`, the loopback addresses and the address listened on.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Takes no more connections, gives open requests one second, then ends.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // A panic of the task was reported by the runtime already.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves the simulator on a socket: keep-alive, HTTP/1.1 and HTTP/2.
///
/// # Errors
///
/// [`ServeError`] if the address is not a loopback one and [`Listen::beyond_loopback`] was not
/// asked for, if it cannot be bound, or if no certificate could be made.
pub async fn serve(sim: &Sim, listen: Listen) -> Result<Server, ServeError> {
    let failed = |source: Option<BoxError>| ServeError { addr: listen.addr, source };
    if !listen.anywhere && !listen.addr.ip().is_loopback() {
        return Err(failed(None));
    }
    let listener =
        TcpListener::bind(listen.addr).await.map_err(|error| failed(Some(error.into())))?;
    let addr = listener.local_addr().map_err(|error| failed(Some(error.into())))?;
    let (acceptor, ca_pem) = if listen.tls {
        let (acceptor, ca_pem) = tls::acceptor(addr.ip()).map_err(|error| failed(Some(error)))?;
        (Some(acceptor), Some(ca_pem))
    } else {
        (None, None)
    };
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(accept(listener, acceptor, sim.clone(), stopped));
    Ok(Server { addr, ca_pem, stop, task: Some(task) })
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    sim: Sim,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = told(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (acceptor, sim) = (acceptor.clone(), sim.clone());
                    connections.spawn(connection(socket, acceptor, sim, stopped.clone()));
                }
                // Out of files, most likely: others may end meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What is still open then is aborted by the drop of the set.
    let _ = timeout(GRACE, all).await;
}

async fn connection(
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    sim: Sim,
    stopped: watch::Receiver<bool>,
) {
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    let connection = Connection::default();
    let socket = Socket::new(socket, connection.clone());
    match acceptor {
        None => exchange(socket, connection, sim, stopped).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(socket)).await {
                exchange(stream, connection, sim, stopped).await;
            }
        }
    }
}

async fn exchange<S>(
    stream: S,
    connection: Connection,
    sim: Sim,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = WithConnection::new(sim.service(), connection.clone());
    let service = TowerToHyperService::new(service);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    // Errors here are the resets that were asked for, or clients that went away.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = connection.ended() => {}
        () = told(&mut stopped) => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// Waits until the server is to stop, or is gone.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|&stopped| stopped).await;
}

impl From<ServeError> for io::Error {
    fn from(error: ServeError) -> Self {
        Self::other(error)
    }
}
