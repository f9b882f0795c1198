use std::{fmt, sync::Arc};

use http::{Request, Uri};

use crate::{
    BoxError, GetPages, PageController, Parsed, Position, Style, layer::TooLarge, origin::Origin,
};

/// How a list is walked: how a page is asked for, how its answer is read, and
/// within which bounds. Give it to [`walk`](crate::walk).
#[must_use]
pub struct Walk<M, P> {
    pub(crate) make: M,
    pub(crate) parse: P,
    pub(crate) from: Position,
    pub(crate) prefetch: usize,
    pub(crate) max_pages: u64,
    pub(crate) size: Size,
    pub(crate) origin: Option<Origin>,
    pub(crate) at_once: usize,
    pub(crate) overlap: u32,
    pub(crate) too_large: Option<TooLarge>,
}

/// Where the page size comes from.
#[derive(Clone, Debug)]
pub(crate) enum Size {
    Fixed(u32),
    Controlled(PageController),
}

impl<M, P> Walk<M, P> {
    /// A walk from the start of a list, with pages of 100 rows, nothing
    /// prefetched, and a million pages at most.
    ///
    /// `make` builds the request for the page at a position, of so many rows.
    /// For [`Position::Url`] that is a request to that very address, which was
    /// checked and is absolute. `parse` reads an answer and cannot wait, so the
    /// body must have been read to its end by the service; it should take the end
    /// of the list from what the server says, not from a page that is short.
    pub fn new<B, R, T>(make: M, parse: P) -> Self
    where
        M: FnMut(&Position, u32) -> Request<B>,
        P: FnMut(R) -> Result<Parsed<T>, BoxError>,
    {
        Self::with(make, parse)
    }

    const fn with(make: M, parse: P) -> Self {
        Self {
            make,
            parse,
            from: Position::Start,
            prefetch: 0,
            max_pages: 1_000_000,
            size: Size::Fixed(100),
            origin: None,
            at_once: 1,
            overlap: 0,
            too_large: None,
        }
    }

    /// Where to begin: the `next` of the last page that is safe. Default:
    /// [`Position::Start`].
    pub fn from(mut self, position: Position) -> Self {
        self.from = position;
        self
    }

    /// How many pages beyond the one in the consumer's hands may have been
    /// asked for, those that have come included. Default: 0, a page is asked
    /// for when the consumer wants it.
    ///
    /// [`Pages`](crate::Pages) makes progress only while it is polled; to fetch
    /// while the consumer is at work use [`Pages::into_driver`](crate::Pages::into_driver).
    pub fn prefetch(mut self, pages: usize) -> Self {
        self.prefetch = pages;
        self
    }

    /// How many pages may be under way at once. Default: 1, one after the other.
    ///
    /// More only where it is known where the pages are: offsets and numbers, of a list whose
    /// [total](Parsed::total) the server says; nothing is asked behind its end. Pages are handed out in
    /// order. Those that turn out not to be next, as the server gives fewer rows than before, are
    /// dropped and were asked for in vain. They come on top of what is [prefetched](Self::prefetch).
    pub fn at_once(mut self, pages: usize) -> Self {
        self.at_once = pages.max(1);
        self
    }

    /// Lets each page of an offset walk begin so many rows before the end of the page before, so that
    /// rows which shift under the walk are noticed, and none is missed or handed out twice. Default: 0,
    /// no overlap; 1 is enough, and more only saves requests where many rows are deleted.
    ///
    /// The rows must have a fixed order, such as by `id`, and the parser must give their
    /// [keys](Parsed::keys). The last 4,096 tell where the walk was. If none of those that a page
    /// shares with the page before is left, the walk goes back until it finds one. If it finds none it
    /// ends with [`WalkError::RowsShifted`](crate::WalkError::RowsShifted). Of a page, the first
    /// [`skip`](crate::Page::skip) items were handed out before. Positions carry the last 32 keys
    /// ([`Position::Anchored`]), so a walk that is resumed notices, too.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// use futures_util::TryStreamExt;
    /// use http::Request;
    /// use tower::service_fn;
    /// use tower_adaptive_page::{BoxError, Next, Parsed, Position, Walk, walk};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// // The first row is deleted after each page, so all others move up by one.
    /// let list = Arc::new(Mutex::new((0..100).collect::<Vec<u64>>()));
    /// let service = service_fn(|request: Request<u64>| {
    ///     let mut list = list.lock().unwrap();
    ///     let page: Vec<u64> = list.iter().copied().skip(*request.body() as usize).take(10).collect();
    ///     list.remove(0);
    ///     async move { Ok::<_, BoxError>((*request.body() + page.len() as u64, page)) }
    /// });
    /// let how = Walk::new(
    ///     |at: &Position, _| Request::new(if let Position::Offset(at) = at { *at } else { 0 }),
    ///     |(end, rows): (u64, Vec<u64>)| {
    ///         let (keys, more) = (rows.clone(), rows.last().is_some_and(|last| *last < 99));
    ///         Ok(Parsed::new(rows, Next::offset(more.then_some(end))).keys(keys))
    ///     },
    /// );
    /// let rows: Vec<u64> = walk(service, how.page_size(10).overlap(1)).items().try_collect().await?;
    /// assert_eq!(rows, (0..100).collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn overlap(mut self, rows: u32) -> Self {
        self.overlap = rows;
        self
    }

    /// Which errors of the service or of the parser say that an answer was too large to be held. The
    /// page is asked for again at half the size, as often as it must, and the walk goes on with that. A
    /// [controller](Self::controller), or one of a layer below, asks for the smallest page after the
    /// second time, and from then on for what fits into
    /// [`max_page_bytes`](crate::PageControllerBuilder::max_page_bytes). An answer of one row that is
    /// too large ends the walk. Default: none.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use http::{Request, Response};
    /// use tower::service_fn;
    /// use tower_adaptive_page::{BoxError, Next, Parsed, Position, Walk, walk};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// // No more than 40 rows can be held.
    /// let service = service_fn(|request: Request<(u64, u32)>| async move {
    ///     let (start, rows) = *request.body();
    ///     if rows > 40 {
    ///         return Err(BoxError::from("too large"));
    ///     }
    ///     Ok(Response::new((start..100).take(rows as usize).collect::<Vec<u64>>()))
    /// });
    /// let how = Walk::new(
    ///     |position: &Position, rows| {
    ///         Request::new((if let Position::Offset(at) = position { *at } else { 0 }, rows))
    ///     },
    ///     |response: Response<Vec<u64>>| {
    ///         let rows = response.into_body();
    ///         let next = rows.last().filter(|last| **last < 99).map(|last| last + 1);
    ///         Ok(Parsed::new(rows, Next::offset(next)))
    ///     },
    /// );
    /// let how = how.page_size(50).too_large(|error| error.to_string() == "too large");
    /// let pages: Vec<_> = walk(service, how).try_collect().await?;
    /// assert_eq!(pages.iter().map(|page| page.asked).collect::<Vec<_>>(), [25; 4]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn too_large(
        mut self,
        is_too_large: impl Fn(&BoxError) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.too_large = Some(Arc::new(is_too_large));
        self
    }

    /// After so many pages the walk ends with
    /// [`WalkError::TooManyPages`](crate::WalkError::TooManyPages).
    /// Default: 1,000,000.
    pub fn max_pages(mut self, pages: u64) -> Self {
        self.max_pages = pages;
        self
    }

    /// How many rows to ask for at a time. Default: 100.
    pub fn page_size(mut self, rows: u32) -> Self {
        self.size = Size::Fixed(rows);
        self
    }

    /// Lets a controller choose the page size, wait while memory is short, and
    /// learn from the pages. Not together with a page-size layer of the same
    /// controller below: it would learn everything twice.
    pub fn controller(mut self, controller: PageController) -> Self {
        self.size = Size::Controlled(controller);
        self
    }

    /// The origin that next URLs must stay within. Default: that of the first
    /// request which is not itself made from a next URL, so it must be set to
    /// resume from a [`Position::Url`]. An address that is not absolute has no
    /// origin: no next URL is then followed.
    pub fn origin(mut self, uri: &Uri) -> Self {
        self.origin = Origin::of(uri);
        self
    }
}

impl<P> Walk<GetPages, P> {
    /// A walk by GET: pages are asked for at `base`, named in the query as
    /// `style` says. Everything else is as with [`Walk::new`].
    pub fn get<R, T>(base: Uri, style: Style, parse: P) -> Self
    where
        P: FnMut(R) -> Result<Parsed<T>, BoxError>,
    {
        Self::with(GetPages { base, style }, parse)
    }
}

impl<M, P> fmt::Debug for Walk<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("from", &self.from)
            .field("prefetch", &self.prefetch)
            .field("at_once", &self.at_once)
            .field("overlap", &self.overlap)
            .field("max_pages", &self.max_pages)
            .field("size", &self.size)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
