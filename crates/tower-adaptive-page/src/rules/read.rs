//! The reading of answers.

use std::time::Duration;

use super::Rules;
use crate::{
    BoxError, Next, Page, PageSample, Parsed, Position, WalkError, anchors::Found, position::Shown,
    walk::Size,
};

/// After so many steps back, of half a page, without a new row a walk gives up.
const MOST_STEPS_BACK: u32 = 4096;

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
        let Answer { position, size, parsed } = &answer;
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
        // By less than a page, so that no row is passed over: what is found is then the last of the
        // known rows, and nothing that was handed out stands behind it.
        let rows = if parsed.keys.is_empty() { *size as usize } else { parsed.keys.len() };
        let back_to = Position::Offset(offset.saturating_sub((rows as u64 / 2).max(1)));
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
        self.again = false;
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
