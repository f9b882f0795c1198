//! Asks for one page after the other; knows nothing of prefetching.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Uri};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    BoxError, MakeRequest, Next, Page, PageSample, Parsed, Position, Room, Walk, WalkError,
    origin::Origin, position::Shown, seen::Seen, walk::Size,
};

pin_project! {
    pub(crate) struct Walker<S, B, M, P>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future>,
        service: S,
        rules: Rules<M, P>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // Nothing is under way; the next page is at `position`.
        Idle { position: Option<Position> },
        // Memory is short.
        Waiting { #[pin] room: Room, position: Option<Position> },
        // The service is not ready yet.
        Readying { position: Option<Position>, size: u32 },
        // The page at `position` was asked for.
        Asking { #[pin] response: F, position: Option<Position>, size: u32, since: Instant },
        // The last page came, or an error.
        Over,
    }
}

struct Rules<M, P> {
    make: M,
    parse: P,
    size: Size,
    origin: Option<Origin>,
    seen: Seen,
    /// Whether the present page is asked for again because its first answer
    /// led back.
    again: bool,
    pages: u64,
    max_pages: u64,
}

impl<S, B, M, P> Walker<S, B, M, P>
where
    S: Service<Request<B>>,
{
    pub(crate) fn new(service: S, walk: Walk<M, P>) -> Self {
        let Walk { make, parse, from, max_pages, size, origin, prefetch: _ } = walk;
        let (seen, again, pages) = (Seen::default(), false, 0);
        let rules = Rules { make, parse, size, origin, seen, again, pages, max_pages };
        Self { state: State::Idle { position: Some(from) }, service, rules }
    }

    /// Whether a page was asked for, or is waited for to be asked for.
    pub(crate) fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Idle { .. } | State::Over)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

const TAKEN: &str = "taken only on leaving this state";

impl<S, B, M, P, T> Walker<S, B, M, P>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    /// The next page, or the error that ends the walk; `None` after either end.
    pub(crate) fn poll_page(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Page<T>, WalkError>>> {
        let mut this = self.project();
        let result = loop {
            let next = match this.state.as_mut().project() {
                StateProj::Over => return Poll::Ready(None),
                StateProj::Idle { position } => {
                    let position = position.take().expect(TAKEN);
                    if this.rules.pages >= this.rules.max_pages {
                        let max = this.rules.max_pages;
                        break Err(WalkError::TooManyPages { position, max });
                    }
                    let position = Some(position);
                    match &this.rules.size {
                        Size::Fixed(size) => State::Readying { position, size: *size },
                        Size::Controlled(controller) => {
                            State::Waiting { room: controller.room(), position }
                        }
                    }
                }
                StateProj::Waiting { room, position } => {
                    let room = ready!(room.poll(cx));
                    let position = position.take().expect(TAKEN);
                    match room {
                        Ok(size) => State::Readying { position: Some(position), size },
                        Err(source) => break Err(WalkError::Memory { position, source }),
                    }
                }
                StateProj::Readying { position, size } => {
                    let readied = ready!(this.service.poll_ready(cx));
                    let position = position.take().expect(TAKEN);
                    if let Err(error) = readied {
                        break Err(WalkError::Service { position, source: error.into() });
                    }
                    let request = match this.rules.request(&position, *size) {
                        Ok(request) => request,
                        Err(error) => break Err(error),
                    };
                    let (position, size, since) = (Some(position), *size, Instant::now());
                    let response = this.service.call(request);
                    State::Asking { response, position, size, since }
                }
                StateProj::Asking { response, position, size, since } => {
                    let result = ready!(response.poll(cx));
                    let position = position.take().expect(TAKEN);
                    let response = match result {
                        Ok(response) => response,
                        Err(error) => {
                            break Err(WalkError::Service { position, source: error.into() });
                        }
                    };
                    let took = Instant::now() - *since;
                    match this.rules.read(position, response, *size, took) {
                        Ok(Read::Page(page)) => break Ok(page),
                        Ok(Read::AskAgain(position)) => State::Idle { position: Some(position) },
                        Err(error) => break Err(error),
                    }
                }
            };
            this.state.set(next);
        };
        let next = result.as_ref().ok().and_then(|page| page.next.clone());
        this.state.set(match next {
            Some(next) => State::Idle { position: Some(next) },
            None => State::Over,
        });
        Poll::Ready(Some(result))
    }
}

enum Read<T> {
    Page(Page<T>),
    AskAgain(Position),
}

impl<M, P> Rules<M, P> {
    fn request<B>(&mut self, position: &Position, size: u32) -> Result<Request<B>, WalkError>
    where
        M: MakeRequest<B>,
    {
        let made = match position {
            Position::Url(url) => {
                // Checked when the server gave it out, but not if the walk was
                // resumed from it; and only absolute addresses are handed on.
                let url = Position::Url(self.resolve(position, url)?.to_string());
                self.make.make(&url, size)
            }
            position => {
                let made = self.make.make(position, size);
                if let Ok(request) = &made {
                    if self.origin.is_none() {
                        self.origin = Origin::of(request.uri());
                    }
                    if *position == Position::Start {
                        // A next URL may name the first page by its address.
                        self.seen.note(&Position::Url(request.uri().to_string()));
                    }
                }
                made
            }
        };
        let request =
            made.map_err(|source| WalkError::Request { position: position.clone(), source })?;
        self.seen.note(position);
        Ok(request)
    }

    fn resolve(&self, position: &Position, url: &str) -> Result<Uri, WalkError> {
        let resolved = match &self.origin {
            Some(origin) => origin.resolve(url),
            None => Err("an address".to_owned()),
        };
        resolved.map_err(|found| {
            let expected = self.origin.as_ref().map_or_else(
                || "any origin, as the walk has no absolute address".to_owned(),
                ToString::to_string,
            );
            WalkError::ForeignOrigin { position: position.clone(), found, expected }
        })
    }

    fn read<R, T>(
        &mut self,
        position: Position,
        response: R,
        size: u32,
        took: std::time::Duration,
    ) -> Result<Read<T>, WalkError>
    where
        P: FnMut(R) -> Result<Parsed<T>, BoxError>,
    {
        let Parsed { items, next, rows } = match (self.parse)(response) {
            Ok(parsed) => parsed,
            Err(source) => return Err(WalkError::Parse { position, source }),
        };
        if let Size::Controlled(controller) = &self.size {
            controller.observe(PageSample { asked: size, rows, bytes: None, took });
        }
        let (next, stuck) = match next {
            Next::End => (None, None),
            Next::Cursor(cursor) => (Some(Position::Cursor(cursor)), None),
            Next::Offset(offset) => {
                let stuck = offset <= offset_of(&position);
                (Some(Position::Offset(offset)), stuck.then_some(offset))
            }
            Next::Url(url) => {
                let url = self.resolve(&position, &url)?.to_string();
                (Some(Position::Url(url)), None)
            }
        };
        let leads_back = next.as_ref().filter(|next| stuck.is_some() || self.seen.has(next));
        if let Some(back) = leads_back {
            tracing::warn!(
                target: "tower_adaptive_page::walk",
                position = %Shown(&position),
                again = self.again,
                "page_leads_back"
            );
            if !self.again {
                self.again = true;
                return Ok(Read::AskAgain(position));
            }
            return Err(match stuck {
                Some(next) => WalkError::OffsetStuck { position, next },
                None => WalkError::RepeatedCursor { position, cursor: back.clone() },
            });
        }
        self.again = false;
        self.pages += 1;
        Ok(Read::Page(Page { position, next, items, rows, asked: size }))
    }
}

/// The offset of a page; that of the first is 0.
fn offset_of(position: &Position) -> u64 {
    if let Position::Offset(offset) = position { *offset } else { 0 }
}
