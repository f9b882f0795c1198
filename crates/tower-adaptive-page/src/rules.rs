//! What a walk makes of an answer; no futures.

use std::time::Duration;

use http::{Request, Uri};
use tokio::time::Instant;

use crate::{
    BoxError, MakeRequest, Next, Page, PageSample, Parsed, Position, Walk, WalkError,
    anchors::{Anchors, Found},
    layer::TooLarge,
    origin::Origin,
    position::Shown,
    seen::Seen,
    walk::Size,
};

/// After so many steps back without a new row a walk gives up. The steps double.
const MOST_STEPS_BACK: u32 = 64;

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
    /// How far the walk goes back when it is lost, in rows.
    back: u64,
    /// How often it went back since it saw a new row.
    lost: u32,
    /// What the server said last of the whole list.
    total: Option<u64>,
    /// From one offset to the next, or the rows of a numbered page.
    step: Option<u64>,
}

/// An answer that was read, and what was asked.
struct Answer<T> {
    position: Position,
    size: u32,
    parsed: Parsed<T>,
}

/// What came of an answer.
pub(crate) enum Read<T> {
    /// A page, and where the walk goes on.
    Page(Page<T>, Option<Position>),
    /// Nothing that can be handed out; this position is to be asked.
    Ask(Position),
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
            back: 0,
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

    /// What came of the call for the page at `position`.
    pub(crate) fn came<R, E, T>(
        &mut self,
        position: Position,
        result: Result<R, E>,
        size: u32,
        took: Duration,
    ) -> Result<Read<T>, WalkError>
    where
        E: Into<BoxError>,
        P: FnMut(R) -> Result<Parsed<T>, BoxError>,
    {
        let source = match result {
            Ok(response) => return self.read(position, response, size, took),
            Err(error) => error.into(),
        };
        if self.asks_for_less(&source, size) {
            return Ok(Read::Ask(position));
        }
        Err(WalkError::Service { position, source })
    }

    fn read<R, T>(
        &mut self,
        position: Position,
        response: R,
        size: u32,
        took: Duration,
    ) -> Result<Read<T>, WalkError>
    where
        P: FnMut(R) -> Result<Parsed<T>, BoxError>,
    {
        let parsed = match (self.parse)(response) {
            Ok(parsed) => parsed,
            Err(source) if self.asks_for_less(&source, size) => return Ok(Read::Ask(position)),
            Err(source) => return Err(WalkError::Parse { position, source }),
        };
        if let Size::Controlled(controller) = &self.size {
            let (rows, bytes) = (parsed.rows, parsed.bytes);
            controller.observe(PageSample { asked: size, rows, bytes, took });
            // Below its smallest page the controller cannot go, so the walk goes on alone.
            if size >= controller.min() {
                self.cap = u32::MAX;
            }
        }
        let answer = Answer { position, size, parsed };
        let by_offset = matches!(answer.position, Position::Start | Position::Offset(_));
        if self.overlap == 0 || !by_offset {
            return self.hand_out(answer, 0);
        }
        let Parsed { keys, rows, next, .. } = &answer.parsed;
        let expected = rows.map_or(keys.len(), |rows| rows as usize);
        if keys.len() != expected || (keys.is_empty() && *next != Next::End && rows.is_none()) {
            let source = "the walk overlaps, so the parser must give one key for each row".into();
            return Err(WalkError::Parse { position: answer.position, source });
        }
        match self.anchors.find(keys) {
            Found::Begins(place) => self.hand_out(answer, place),
            Found::Beyond => self.go_back(answer),
        }
    }

    /// Rows before this page went away, and all that it shares with the page before, too: rows that
    /// nobody has seen stand before it.
    fn go_back<T>(&mut self, answer: Answer<T>) -> Result<Read<T>, WalkError> {
        let Answer { position, size, .. } = &answer;
        let offset = offset_of(position);
        if offset == 0 && self.anchors.knows_all() {
            // Nothing is left of all that was seen, so everything is new.
            return self.hand_out(answer, 0);
        }
        self.pages += 1;
        self.lost += 1;
        if offset == 0 || self.lost > MOST_STEPS_BACK {
            return Err(WalkError::RowsShifted { position: answer.position });
        }
        self.back = self.back.saturating_mul(2).max(self.overlap + u64::from(size / 2));
        let back_to = Position::Offset(offset.saturating_sub(self.back));
        tracing::warn!(
            target: "tower_adaptive_page::walk",
            position = %Shown(position),
            back_to = %Shown(&back_to),
            "rows_shifted"
        );
        Ok(Read::Ask(back_to))
    }

    /// The first `skip` rows were handed out before.
    fn hand_out<T>(&mut self, answer: Answer<T>, skip: usize) -> Result<Read<T>, WalkError> {
        let Answer { position, size: asked, parsed } = answer;
        let Parsed { items, next, rows, total, keys, bytes: _ } = parsed;
        let (next, stuck) = self.next(&position, next)?;
        let repairs = self.overlap > 0 && matches!(next, Some(Position::Offset(_)));
        let leads_back =
            next.as_ref().filter(|next| stuck.is_some() || (!repairs && self.seen.has(next)));
        if let Some(back) = leads_back {
            tracing::warn!(
                target: "tower_adaptive_page::walk",
                position = %Shown(&position),
                again = self.again,
                "page_leads_back"
            );
            if !self.again {
                self.again = true;
                return Ok(Read::Ask(position));
            }
            return Err(match stuck {
                Some(next) => WalkError::OffsetStuck { position, next },
                None => WalkError::RepeatedCursor { position, cursor: back.clone() },
            });
        }
        let fresh = keys.get(skip..).unwrap_or_default();
        (self.again, self.back) = (false, 0);
        self.lost = if fresh.is_empty() { self.lost } else { 0 };
        self.pages += 1;
        self.step = match (&position, &next) {
            (_, Some(Position::Offset(next))) => Some(next - offset_of(&position)),
            (_, Some(Position::Page(_))) => rows.map(u64::from).filter(|rows| *rows > 0),
            _ => None,
        };
        let shrank = self.total.zip(total).map_or(0, |(before, now)| before.saturating_sub(now));
        self.total = total.or(self.total);
        if shrank > 0 && self.overlap == 0 {
            tracing::warn!(
                target: "tower_adaptive_page::walk",
                position = %Shown(&position),
                shrank,
                "total_shrank"
            );
        }
        let position = self.resumable(position);
        if self.overlap > 0 {
            self.anchors.note(fresh);
        }
        let resume = next.clone().map(|next| self.resumable(next));
        let page = Page { position, next: resume, items, rows, asked, skip, total, shrank };
        Ok(Read::Page(page, next))
    }

    /// Where the walk goes on, and the offset if it does not go forward.
    fn next(
        &self,
        position: &Position,
        next: Next,
    ) -> Result<(Option<Position>, Option<u64>), WalkError> {
        Ok(match next {
            Next::End => (None, None),
            Next::Cursor(cursor) => (Some(Position::Cursor(cursor)), None),
            Next::Page(number) => (Some(Position::Page(number)), None),
            Next::Offset(next) => {
                let offset = offset_of(position);
                // A page of few rows overlaps less, as it must go forward.
                let asked = next.saturating_sub(self.overlap).max(offset.saturating_add(1));
                (Some(Position::Offset(asked.min(next))), (next <= offset).then_some(next))
            }
            Next::Url(url) => {
                let url = self.resolve(position, &url)?.to_string();
                (Some(Position::Url(url)), None)
            }
        })
    }
}

/// The offset of a page; that of the first is 0.
fn offset_of(position: &Position) -> u64 {
    if let Position::Offset(offset) = position { *offset } else { 0 }
}
