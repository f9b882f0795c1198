//! Stands between the program and the simulator, and spoils answers on their way.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Changes the body of an answer; its length stays.
type Spoil = Box<dyn Fn(&str, &mut [u8]) + Send>;

/// A proxy that spoils what passes.
#[derive(Clone)]
pub struct Spoiler {
    url: String,
    spoil: Arc<Mutex<Spoil>>,
    missing: Arc<Mutex<Option<String>>>,
}

impl Spoiler {
    /// In front of a server on the loopback.
    pub async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spoil: Arc<Mutex<Spoil>> = Arc::new(Mutex::new(Box::new(|_, _| {})));
        let spoiler = Self { url, spoil, missing: Arc::default() };
        let this = spoiler.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(this.clone().pass(client, upstream));
            }
        });
        spoiler
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Paths that begin so are not known to the server from now on.
    pub fn hide(&self, prefix: Option<&str>) {
        *self.missing.lock().unwrap() = prefix.map(str::to_owned);
    }

    /// Spoils by this from now on; it is given the path with its query, and the body.
    pub fn by(&self, spoil: impl Fn(&str, &mut [u8]) + Send + 'static) {
        *self.spoil.lock().unwrap() = Box::new(spoil);
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

impl Spoiler {
    /// One request and its answer, then both connections end. Requests must have no body.
    async fn pass(self, mut client: TcpStream, upstream: SocketAddr) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while find(&request, b"\r\n\r\n").is_none() {
            match client.read(&mut piece).await {
                Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                _ => return,
            }
        }
        let mut text = String::from_utf8(request).unwrap();
        let path = text.split(' ').nth(1).unwrap().to_owned();
        if self.missing.lock().unwrap().as_deref().is_some_and(|missing| path.starts_with(missing))
        {
            text = text.replacen(&path, "/api/v2/nowhere", 1);
        }
        let lines = text.trim_end().lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("accept-encoding") && !line.starts_with("connection")
        });
        let lines: Vec<_> = lines.chain(["connection: close", "", ""]).collect();
        let mut server = TcpStream::connect(upstream).await.unwrap();
        server.write_all(lines.join("\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        if server.read_to_end(&mut answer).await.is_err() {
            return;
        }
        let Some(head) = find(&answer, b"\r\n\r\n") else { return };
        let mut body = answer.split_off(head + 4);
        (self.spoil.lock().unwrap())(&path, &mut body);
        answer.extend_from_slice(&body);
        let _ = client.write_all(&answer).await;
        let _ = client.shutdown().await;
    }
}
