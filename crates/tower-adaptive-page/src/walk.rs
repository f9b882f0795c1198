use std::fmt;

use http::{Request, Uri};

use crate::{BoxError, GetPages, PageController, Parsed, Position, Style, origin::Origin};

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
            .field("max_pages", &self.max_pages)
            .field("size", &self.size)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
