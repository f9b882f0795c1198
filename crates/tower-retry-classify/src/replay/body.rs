use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::peek::{PeekBody, Sorted};

pin_project! {
    /// A request's body: whole, so that it can be sent again, or a stream, which is
    /// sent once.
    pub struct ReplayBody<B: Body> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B: Body> {
        Whole { data: Option<Bytes>, trailers: Option<Box<HeaderMap>> },
        Stream { #[pin] body: PeekBody<B> },
    }
}

impl<B: Body> ReplayBody<B> {
    /// A whole body of these bytes.
    #[must_use]
    pub fn whole(data: Bytes) -> Self {
        let data = (!data.is_empty()).then_some(data);
        Self { inner: Inner::Whole { data, trailers: None } }
    }

    /// A body that is sent once.
    #[must_use]
    pub const fn stream(body: B) -> Self {
        Self { inner: Inner::Stream { body: PeekBody::plain(body) } }
    }

    pub(super) const fn empty() -> Self {
        Self { inner: Inner::Whole { data: None, trailers: None } }
    }

    /// What was read of a body, if it is all of it and no more than the bound.
    pub(super) fn read(body: PeekBody<B>, limit: u64) -> Self {
        let inner = match body.into_whole(limit) {
            Sorted::Whole(data, trailers) => Inner::Whole { data, trailers },
            Sorted::Stream(body) => Inner::Stream { body },
        };
        Self { inner }
    }

    /// Whether it can be sent again.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.inner, Inner::Whole { .. })
    }

    pub(super) fn try_clone(&self) -> Option<Self> {
        match &self.inner {
            Inner::Whole { data, trailers } => {
                let inner = Inner::Whole { data: data.clone(), trailers: trailers.clone() };
                Some(Self { inner })
            }
            Inner::Stream { .. } => None,
        }
    }
}

impl<B: Body> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            InnerProj::Whole { data, trailers } => {
                let data = data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(|it| Frame::trailers(*it))).map(Ok))
            }
            InnerProj::Stream { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            Inner::Stream { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole { data, .. } => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Inner::Stream { body } => body.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("whole", &self.is_whole()).finish_non_exhaustive()
    }
}
