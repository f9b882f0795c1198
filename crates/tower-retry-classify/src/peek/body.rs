use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Peeked;

pin_project! {
    /// A body as it was, though its start may have been read before.
    pub struct PeekBody<B: Body> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B: Body> {
        /// Nobody looked.
        Plain { #[pin] body: B },
        /// Of an error: what was read, what came after it, and what is still to come.
        Read { start: Option<Bytes>, after: Option<After<B::Error>>, rest: Option<Pin<Box<B>>> },
    }
}

/// What ended the reading.
enum After<E> {
    Trailers(HeaderMap),
    Error(E),
}

impl<B: Body> PeekBody<B> {
    pub(crate) const fn plain(body: B) -> Self {
        Self { inner: Inner::Plain { body } }
    }

    /// Everything, if it was read to a good end and is no longer than `limit`.
    pub(crate) fn into_whole(self, limit: u64) -> Sorted<B> {
        match self.inner {
            Inner::Read { start, after, rest: None }
                if !matches!(after, Some(After::Error(_)))
                    && start.as_ref().map_or(0, |start| start.len() as u64) <= limit =>
            {
                let trailers = match after {
                    Some(After::Trailers(trailers)) => Some(Box::new(trailers)),
                    _ => None,
                };
                Sorted::Whole(start, trailers)
            }
            inner => Sorted::Stream(Self { inner }),
        }
    }
}

/// A body that was read, by what it is good for.
pub(crate) enum Sorted<B: Body> {
    Whole(Option<Bytes>, Option<Box<HeaderMap>>),
    Stream(PeekBody<B>),
}

impl<B: Body> Body for PeekBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            InnerProj::Plain { body } => body.poll_frame(cx).map(|frame| frame.map(whole)),
            InnerProj::Read { start, after, rest } => {
                if let Some(start) = start.take() {
                    return Poll::Ready(Some(Ok(Frame::data(start))));
                }
                match after.take() {
                    Some(After::Trailers(trailers)) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Some(After::Error(error)) => return Poll::Ready(Some(Err(error))),
                    None => {}
                }
                let Some(body) = rest else { return Poll::Ready(None) };
                body.as_mut().poll_frame(cx).map(|frame| frame.map(whole))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Plain { body } => body.is_end_stream(),
            Inner::Read { start, after, rest } => {
                let ended = rest.as_ref().is_none_or(|rest| rest.is_end_stream());
                start.is_none() && after.is_none() && ended
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Plain { body } => body.size_hint(),
            Inner::Read { start, rest, .. } => {
                let read = start.as_ref().map_or(0, |start| start.len() as u64);
                let Some(rest) = rest else { return SizeHint::with_exact(read) };
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(read));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(read));
                }
                hint
            }
        }
    }
}

impl<B: Body> fmt::Debug for PeekBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = matches!(self.inner, Inner::Read { .. });
        f.debug_struct("PeekBody").field("read", &read).finish_non_exhaustive()
    }
}

fn whole<D: bytes::Buf, E>(frame: Result<Frame<D>, E>) -> Result<Frame<Bytes>, E> {
    frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
}

/// Reads the start of a body.
pub(crate) struct Reading<B: Body> {
    body: Option<Pin<Box<B>>>,
    first: Option<Bytes>,
    more: BytesMut,
    left: usize,
    limit: usize,
}

impl<B: Body> Reading<B> {
    pub(crate) fn new(body: B, limit: usize) -> Self {
        let body = Some(Box::pin(body));
        Self { body, first: None, more: BytesMut::new(), left: limit, limit }
    }

    /// Most that is read, and a chunk.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Reads on, until the body ends or breaks, or enough is read.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(PeekBody<B>, Peeked)> {
        while let Some(body) =
            self.body.as_mut().filter(|body| self.left > 0 && !body.is_end_stream())
        {
            let after = match std::task::ready!(body.as_mut().poll_frame(cx)) {
                None => None,
                Some(Err(error)) => Some(After::Error(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        self.add(data.copy_to_bytes(data.remaining()));
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok().map(After::Trailers),
                },
            };
            self.body = None;
            return Poll::Ready(self.done(after));
        }
        Poll::Ready(self.done(None))
    }

    fn add(&mut self, data: Bytes) {
        self.left = self.left.saturating_sub(data.len());
        if data.is_empty() {
            return;
        }
        match self.first.take() {
            None if self.more.is_empty() => self.first = Some(data),
            first => {
                self.more.extend_from_slice(first.as_deref().unwrap_or_default());
                self.more.extend_from_slice(&data);
            }
        }
    }

    fn done(&mut self, after: Option<After<B::Error>>) -> (PeekBody<B>, Peeked) {
        let start = self.first.take().unwrap_or_else(|| std::mem::take(&mut self.more).freeze());
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        let broken = matches!(after, Some(After::Error(_)));
        let shown = start.slice(..start.len().min(self.limit));
        let whole = rest.is_none() && !broken && shown.len() == start.len();
        let trailers = match &after {
            Some(After::Trailers(trailers)) => Some(Arc::new(trailers.clone())),
            _ => None,
        };
        let start = (!start.is_empty()).then_some(start);
        let body = PeekBody { inner: Inner::Read { start, after, rest } };
        (body, Peeked { start: shown, whole, trailers })
    }
}
