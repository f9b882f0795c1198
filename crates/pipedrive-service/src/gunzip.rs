//! Asks for gzip and unpacks it; an answer that is not packed passes at no cost.

use std::{
    fmt,
    future::Future,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut as _, Bytes, BytesMut, buf::Writer};
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

/// Asks for gzip where the request does not say what it takes, and unpacks answers that are packed so.
///
/// An unpacked answer has neither `content-encoding` nor `content-length`. The body is unpacked piece by piece, so that
/// whoever reads it may stop at any length.
///
/// # What is shared
///
/// Nothing. Readiness and cancellation are those of the inner service.
///
/// # Errors
///
/// The body fails with an [`std::io::Error`] if it is no gzip, is cut short, or does not have the sum it claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct GunzipLayer {
    _private: (),
}

impl GunzipLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

impl<S> Layer<S> for GunzipLayer {
    type Service = Gunzip<S>;

    fn layer(&self, inner: S) -> Gunzip<S> {
        Gunzip { inner }
    }
}

/// See [`GunzipLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Gunzip<S> {
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Gunzip<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<GunzipBody<B>>;
    type Error = S::Error;
    type Future = GunzipFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().entry(header::ACCEPT_ENCODING).or_insert(gzip);
        GunzipFuture { answer: self.inner.call(request) }
    }
}

pin_project! {
    /// The response future of [`Gunzip`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct GunzipFuture<F> {
        #[pin]
        answer: F,
    }
}

impl<F, B, E> Future for GunzipFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GunzipBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.project().answer.poll(cx))?;
        let unpacking = is_packed(response.headers()).then(|| {
            response.headers_mut().remove(header::CONTENT_ENCODING);
            response.headers_mut().remove(header::CONTENT_LENGTH);
            Box::new(Unpacking::default())
        });
        Poll::Ready(Ok(response.map(|body| GunzipBody { body, unpacking })))
    }
}

fn is_packed(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

pin_project! {
    /// The body of an answer of [`Gunzip`].
    pub struct GunzipBody<B> {
        #[pin]
        body: B,
        // None if it comes as it is.
        unpacking: Option<Box<Unpacking>>,
    }
}

struct Unpacking {
    /// What came and is not yet unpacked.
    packed: Bytes,
    decoder: MultiGzDecoder<Writer<BytesMut>>,
    /// Whether anything came at all: the answer to a HEAD names an encoding and has no body.
    began: bool,
    ended: bool,
}

impl Default for Unpacking {
    fn default() -> Self {
        let decoder = MultiGzDecoder::new(BytesMut::new().writer());
        Self { packed: Bytes::new(), decoder, began: false, ended: false }
    }
}

impl Unpacking {
    /// Unpacks some of what came, to 32 KiB at most; the rest is for the next time.
    fn step(&mut self) -> io::Result<Bytes> {
        let taken = self.decoder.write(&self.packed)?;
        self.packed.advance(taken);
        let unpacked = self.unpacked();
        if taken == 0 && unpacked.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(unpacked)
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        self.ended = true;
        if self.began {
            self.decoder.try_finish()?;
        }
        Ok(self.unpacked())
    }

    fn unpacked(&mut self) -> Bytes {
        self.decoder.get_mut().get_mut().split().freeze()
    }
}

impl<B> Body for GunzipBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            let unpacked = match this.unpacking {
                Some(unpacking) if unpacking.ended => return Poll::Ready(None),
                Some(unpacking) if unpacking.packed.has_remaining() => unpacking.step(),
                _ => {
                    let frame = ready!(this.body.as_mut().poll_frame(cx)).transpose();
                    let frame = frame.map_err(Into::<BoxError>::into)?;
                    let frame = frame.map(|frame| frame.map_data(whole));
                    let Some(unpacking) = this.unpacking else {
                        return Poll::Ready(frame.map(Ok));
                    };
                    match frame.map(Frame::into_data) {
                        Some(Ok(packed)) => {
                            unpacking.began |= !packed.is_empty();
                            unpacking.packed = packed;
                            continue;
                        }
                        Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                        None => unpacking.finish(),
                    }
                }
            };
            match unpacked {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => {
                    if let Some(unpacking) = this.unpacking {
                        unpacking.ended = true;
                    }
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.unpacking {
            None => self.body.is_end_stream(),
            Some(unpacking) => unpacking.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.unpacking {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

/// Not copied if it is `Bytes` already.
fn whole(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

impl<B> fmt::Debug for GunzipBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GunzipBody")
            .field("packed", &self.unpacking.is_some())
            .finish_non_exhaustive()
    }
}
