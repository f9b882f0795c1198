//! What a walk makes of an answer; no futures.

use http::{Request, Uri};
use tokio::time::Instant;

pub(crate) use self::read::Read;
use crate::{
    BoxError, MakeRequest, Position, Walk, WalkError, anchors::Anchors, layer::TooLarge,
    origin::Origin, seen::Seen, walk::Size,
};

mod read;

pub(crate) struct Rules<M, P> {
    pub(crate) make: M,
    parse: P,
    pub(crate) size: Size,
    too_large: Option<TooLarge>,
    /// Of a fixed size, after an answer that was too large.
    cap: u32,
    origin: Option<Origin>,
    seen: Seen,
    /// Whether the present page is asked for again because its first answer
    /// led back.
    again: bool,
    pub(crate) pages: u64,
    pub(crate) max_pages: u64,
    pub(crate) at_once: usize,
    /// Rows that are asked for twice, and the rows that tell where the walk was.
    overlap: u64,
    anchors: Anchors,
    /// How often it went back since it saw a new row.
    lost: u32,
    /// What the server said last of the whole list.
    total: Option<u64>,
    /// From one offset to the next, or the rows of a numbered page.
    step: Option<u64>,
}

impl<M, P> Rules<M, P> {
    /// The rules, and where to begin.
    pub(crate) fn new(walk: Walk<M, P>) -> (Self, Position) {
        let Walk { make, parse, from, max_pages, size, origin, .. } = walk;
        let (from, anchors, overlap) = match from {
            // It lies before rows that were handed out, so these must be known again.
            Position::Anchored { offset, keys } => {
                (Position::Offset(offset), Anchors::resumed(&keys), walk.overlap.max(1))
            }
            from => (from, Anchors::default(), walk.overlap),
        };
        let rules = Self {
            make,
            parse,
            size,
            too_large: walk.too_large,
            cap: u32::MAX,
            origin,
            seen: Seen::default(),
            again: false,
            pages: 0,
            max_pages,
            at_once: walk.at_once,
            overlap: u64::from(overlap),
            anchors,
            lost: 0,
            total: None,
            step: None,
        };
        (rules, from)
    }

    /// A position as it can be resumed from.
    pub(crate) fn resumable(&self, position: Position) -> Position {
        match position {
            Position::Offset(offset) if self.overlap > 0 && !self.anchors.is_empty() => {
                Position::Anchored { offset, keys: self.anchors.latest() }
            }
            position => position,
        }
    }

    /// A page that overlaps must have at least one row more.
    fn least(&self) -> u32 {
        u32::try_from(self.overlap).map_or(u32::MAX, |overlap| overlap.saturating_add(1))
    }

    pub(crate) fn capped(&self, size: u32) -> u32 {
        size.min(self.cap).max(if self.overlap > 0 { self.least() } else { 0 })
    }

    /// How many rows to ask for if that need not wait.
    pub(crate) fn size_now(&self, now: Instant) -> Option<u32> {
        match &self.size {
            Size::Fixed(size) => Some(self.capped(*size)),
            Size::Controlled(controller) => Some(self.capped(controller.admit(now).ok()?)),
        }
    }

    /// Where the page behind that at `last` is, `under_way` pages after the one that is read
    /// next. `None` if that cannot be known, or may be behind the end.
    pub(crate) fn predict(&self, last: &Position, under_way: usize) -> Option<Position> {
        let (step, total) = (self.step?, self.total?);
        if self.pages + 1 + under_way as u64 >= self.max_pages {
            return None;
        }
        let (next, begins) = match last {
            Position::Offset(offset) => {
                let next = offset.checked_add(step)?;
                (Position::Offset(next), next.checked_add(self.overlap)?)
            }
            // As if the first number were 0; if it is 1 the last page is not predicted.
            Position::Page(number) => {
                let next = number.checked_add(1)?;
                (Position::Page(next), next.checked_mul(step)?)
            }
            _ => return None,
        };
        (begins < total).then_some(next)
    }

    pub(crate) fn request<B>(
        &mut self,
        position: &Position,
        size: u32,
    ) -> Result<Request<B>, WalkError>
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

    /// A page that was asked for ahead of time is next.
    pub(crate) fn note(&mut self, position: &Position) {
        self.seen.note(position);
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

    /// Whether the page is to be asked for again, with half the rows.
    fn asks_for_less(&mut self, error: &BoxError, size: u32) -> bool {
        let too_large = self.too_large.as_ref().is_some_and(|it| it(error));
        if !too_large || size <= self.least() {
            return false;
        }
        self.cap = (size / 2).max(self.least());
        if let Size::Controlled(controller) = &self.size {
            controller.too_large(size);
        }
        tracing::info!(
            target: "tower_adaptive_page::walk",
            asked = size,
            now = self.cap,
            "page_too_large"
        );
        true
    }
}
