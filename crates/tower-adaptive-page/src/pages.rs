use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    BoxError, Items, MakeRequest, Page, PageDriver, PageReceiver, Parsed, Walk, WalkError, driver,
    walker::Walker,
};

/// Walks a list, page by page, over any service.
///
/// ```
/// use futures_util::TryStreamExt;
/// use http::{Request, Response};
/// use tower::service_fn;
/// use tower_adaptive_page::{BoxError, Next, Parsed, Position, Walk, walk};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // A list of 0 to 24 that gives out ten numbers at a time.
/// let list = service_fn(|request: Request<u64>| async move {
///     let start = *request.body();
///     Ok::<_, BoxError>(Response::new((start..25).take(10).collect::<Vec<u64>>()))
/// });
/// let how = Walk::new(
///     |position: &Position, _size| match position {
///         Position::Offset(offset) => Request::new(*offset),
///         _ => Request::new(0),
///     },
///     |response: Response<Vec<u64>>| {
///         let rows = response.into_body();
///         let next = rows.last().filter(|last| **last < 24).map(|last| last + 1);
///         Ok(Parsed::new(rows, Next::offset(next)))
///     },
/// );
/// let numbers: Vec<u64> = walk(list, how).items().try_collect().await?;
/// assert_eq!(numbers, (0..25).collect::<Vec<u64>>());
/// # Ok(())
/// # }
/// ```
///
/// Who keeps the place where to go on takes page by page. The stream must be pinned for that:
///
/// ```
/// use std::pin::pin;
///
/// use futures_util::TryStreamExt;
/// # use http::{Request, Response};
/// # use tower::service_fn;
/// # use tower_adaptive_page::{BoxError, Next, Parsed, Position, Walk, walk};
/// #
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let list = service_fn(|request: Request<u64>| async move {
/// #     let start = *request.body();
/// #     Ok::<_, BoxError>(Response::new((start..25).take(10).collect::<Vec<u64>>()))
/// # });
/// # let how = Walk::new(
/// #     |position: &Position, _size| match position {
/// #         Position::Offset(offset) => Request::new(*offset),
/// #         _ => Request::new(0),
/// #     },
/// #     |response: Response<Vec<u64>>| {
/// #         let rows = response.into_body();
/// #         let next = rows.last().filter(|last| **last < 24).map(|last| last + 1);
/// #         Ok(Parsed::new(rows, Next::offset(next)))
/// #     },
/// # );
/// let (mut numbers, mut kept) = (Vec::new(), Vec::new());
/// let mut pages = pin!(walk(list, how));
/// while let Some(page) = pages.try_next().await? {
///     numbers.extend(page.items);
///     // Written down with the rows, and given to `Walk::from` after a crash.
///     kept.push(page.next);
/// }
/// assert_eq!(numbers, (0..25).collect::<Vec<u64>>());
/// assert_eq!(kept, [Some(Position::Offset(10)), Some(Position::Offset(20)), None]);
/// # Ok(())
/// # }
/// ```
pub fn walk<S, B, M, P, T>(service: S, walk: Walk<M, P>) -> Pages<S, B, M, P, T>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    let prefetch = walk.prefetch;
    Pages { walker: Walker::new(service, walk), prefetch, ready: VecDeque::new() }
}

pin_project! {
    /// A stream of pages; made by [`walk`]. It is not [`Unpin`]: pin it with [`pin!`](std::pin::pin) to take page by page.
    ///
    /// It ends after the last page, or after the error that ends the walk.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the request that is under way and the pages that
    /// nobody has taken. A new walk from the `next` of the last page taken
    /// goes on without a gap.
    #[must_use = "streams do nothing unless polled"]
    pub struct Pages<S, B, M, P, T>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        walker: Walker<S, B, M, P>,
        prefetch: usize,
        // Pages that came and were not taken, at most `prefetch`.
        ready: VecDeque<Result<Page<T>, WalkError>>,
    }
}

impl<S, B, M, P, T> Pages<S, B, M, P, T>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    /// Splits the walk in two, so that pages are fetched while the consumer is
    /// at work: a driver to be spawned, and a receiver to take the pages from.
    ///
    /// The driver ends when the walk is over or the receiver is dropped. If the
    /// driver is dropped before that, the receiver hands out the pages that had
    /// come and then [`WalkError::DriverDropped`].
    pub fn into_driver(self) -> (PageDriver<S, B, M, P, T>, PageReceiver<T>) {
        driver::split(self.walker, self.prefetch, self.ready)
    }

    /// The items of the pages, one by one.
    pub fn items(self) -> Items<Self, T>
    where
        T: IntoIterator,
    {
        Items::new(self)
    }
}

impl<S, B, M, P, T> Stream for Pages<S, B, M, P, T>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    type Item = Result<Page<T>, WalkError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        // The page to hand out is taken first: it makes room for the next,
        // which is then under way while the consumer works.
        let mut taken = this.ready.pop_front();
        loop {
            let wanted = usize::from(taken.is_none());
            let has_room = this.ready.len() < this.prefetch.saturating_add(wanted);
            if !has_room && !this.walker.is_under_way() {
                return Poll::Ready(taken);
            }
            match this.walker.as_mut().poll_page(cx) {
                Poll::Ready(Some(page)) if taken.is_none() => taken = Some(page),
                Poll::Ready(Some(page)) => this.ready.push_back(page),
                Poll::Ready(None) => return Poll::Ready(taken),
                Poll::Pending if taken.is_some() => return Poll::Ready(taken),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S, B, M, P, T> fmt::Debug for Pages<S, B, M, P, T>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("prefetch", &self.prefetch)
            .field("ready", &self.ready.len())
            .field("under_way", &self.walker.is_under_way())
            .finish_non_exhaustive()
    }
}
