use std::{
    fmt,
    iter::Skip,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::{Page, WalkError};

pin_project! {
    /// A stream of the items of pages; made by `items()` of [`Pages`] and of
    /// [`PageReceiver`].
    ///
    /// [`Pages`]: crate::Pages
    /// [`PageReceiver`]: crate::PageReceiver
    #[must_use = "streams do nothing unless polled"]
    pub struct Items<St, T>
    where
        T: IntoIterator,
    {
        #[pin]
        pages: St,
        page: Option<Skip<T::IntoIter>>,
    }
}

impl<St, T: IntoIterator> Items<St, T> {
    pub(crate) fn new(pages: St) -> Self {
        Self { pages, page: None }
    }
}

impl<St, T> Stream for Items<St, T>
where
    St: Stream<Item = Result<Page<T>, WalkError>>,
    T: IntoIterator,
{
    type Item = Result<T::Item, WalkError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(item) = this.page.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(item)));
            }
            *this.page = None;
            match ready!(this.pages.as_mut().poll_next(cx)) {
                Some(Ok(page)) => *this.page = Some(page.fresh()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<St, T: IntoIterator> fmt::Debug for Items<St, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("within_page", &self.page.is_some()).finish_non_exhaustive()
    }
}
