//! Walks over whole lists.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::Response;
use tokio::task::AbortHandle;
use tower_adaptive_page::{Page, Parsed, Position, Walk, WalkError, walk};

use crate::{
    BoxError, Entity, Error, RowsPage, WalkOptions,
    api::Api,
    entity::Paging,
    error::{Context as CallContext, from_box},
    holdings::HoldPage,
    page::{self, List},
    requests::Requests,
};

/// The pages of a walk, in order; made by [`Client::walk`](crate::Client::walk).
///
/// It ends after the last page, or after the first error. A new walk from the `next` of the last page taken goes on
/// without a gap.
///
/// # Cancellation
///
/// Dropping it drops the request that is under way and the pages that nobody has taken.
#[must_use = "streams do nothing unless polled"]
pub struct RowsWalk {
    pages: Pin<Box<dyn Stream<Item = Result<Page<List>, WalkError>> + Send>>,
    fetching: Option<AbortHandle>,
    template: &'static str,
    position: Position,
}

impl RowsWalk {
    pub(crate) fn new(api: Api, requests: Requests, entity: Entity, options: WalkOptions) -> Self {
        let WalkOptions { query, prefetch, hold, at_once, known_rows } = options;
        let position = query.from.clone().unwrap_or(Position::Start);
        let limit = query.limit.unwrap_or(u32::MAX).min(entity.max_limit());
        // Rows that come and go shift those behind them where they are counted; a cursor points at a row.
        let by_offset = entity.paging() == Paging::Offset;
        let overlap = u32::from(by_offset);
        let make = {
            // A request without a call is refused where it would be sent, with a clear error.
            move |position: &Position, rows: u32| {
                let mut request = requests.page(entity, &query, position, rows).unwrap_or_default();
                if hold {
                    request.extensions_mut().insert(HoldPage);
                }
                request
            }
        };
        let read = move |response: Response<Bytes>| -> Result<Parsed<List>, BoxError> {
            let mut list = page::list(entity, response.body())?;
            list.held = response.extensions().get().cloned();
            let next = std::mem::replace(&mut list.next, tower_adaptive_page::Next::End);
            let (rows, keys) = (list.len(), if overlap > 0 { list.keys() } else { Vec::new() });
            let known = (by_offset && known_rows > 0).then_some(known_rows);
            Ok(Parsed::new(list, next).rows(rows).keys(keys).total(known))
        };
        let how = Walk::new(make, read).from(position.clone()).prefetch(prefetch).page_size(limit);
        let how = how.overlap(overlap).at_once(at_once);
        let template = entity.endpoint();
        if prefetch == 0 {
            return Self { pages: Box::pin(walk(api, how)), fetching: None, template, position };
        }
        let (driver, pages) = walk(api, how).into_driver();
        let fetching = Some(tokio::spawn(driver).abort_handle());
        Self { pages: Box::pin(pages), fetching, template, position }
    }
}

impl Stream for RowsWalk {
    type Item = Result<RowsPage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let page = ready!(self.pages.as_mut().poll_next(cx));
        Poll::Ready(page.map(|page| match page {
            Ok(Page { position, next, mut items, skip, .. }) => {
                items.skip(skip);
                let List { rows, rejected, bytes, held, .. } = items;
                if let Some(next) = &next {
                    self.position = next.clone();
                }
                Ok(RowsPage { rows, rejected, position, next, bytes, held })
            }
            Err(error) => {
                let context = CallContext { template: self.template, ..CallContext::default() };
                Err(from_box(Box::new(error), context))
            }
        }))
    }
}

impl Drop for RowsWalk {
    fn drop(&mut self) {
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

impl fmt::Debug for RowsWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsWalk")
            .field("list", &self.template)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
