//! A list that is not read, as the look at recents tells of it.

use pipedrive_service::{Entity, recents::RecentsPage};

use super::{
    Tally,
    plan::{WHOLE_BY_RECENTS, WalkPlan},
    writer,
};
use crate::store::{Finish, Mode, PageWrite, RowWrite, WalkState};

/// A list that is not read unless the look says that it must be.
#[derive(Debug)]
pub(super) struct Spared {
    /// The walk over it, should it be read after all.
    pub(super) plan: WalkPlan,
    /// What the look has brought of it.
    pub(super) tally: Tally,
    /// It must be read: recents show a change of it, but not the row as the list has it; or none that can be used.
    pub(super) to_read: bool,
    /// The walk for what the last page of the look brings. Nothing is removed at its end.
    last: WalkState,
    /// The look, for what its other pages bring: until it is complete, nothing is known of the list as a whole.
    before: WalkState,
}

impl Spared {
    pub(super) fn new(plan: WalkPlan, look: &WalkState) -> Self {
        let last = WalkState { mode: Mode::Incremental, ..plan.state.clone() };
        let before = WalkState { entity: plan.state.entity.clone(), ..look.clone() };
        Self { plan, tally: Tally::default(), to_read: false, last, before }
    }

    pub(super) const fn entity(&self) -> Entity {
        self.plan.entity
    }

    /// Whether recents show its rows as the list does.
    pub(super) fn is_whole(&self) -> bool {
        WHOLE_BY_RECENTS.contains(&self.entity())
    }

    /// Looks at what a page says of it.
    pub(super) fn see(&mut self, page: &RecentsPage) {
        let shown =
            if self.is_whole() { page.unusable > 0 } else { page.shown.contains(&self.entity()) };
        // What is of no kind may be of this one.
        self.to_read |= shown || page.unknown > 0;
    }

    /// Its rows on a page.
    pub(super) fn rows<'a>(&self, page: &'a RecentsPage) -> Vec<RowWrite<'a>> {
        let of = page.whole.iter().filter(|(entity, _)| *entity == self.entity());
        of.map(|(_, row)| writer::row(row)).collect()
    }

    /// What a page writes of it; that nothing more has changed, if it is the last.
    pub(super) fn write<'a>(
        &'a self,
        rows: &'a [RowWrite<'a>],
        last: Option<&Finish>,
    ) -> Option<PageWrite<'a>> {
        match last {
            Some(_) if self.to_read => None,
            Some(_) => Some(PageWrite { rows, finish: last.cloned(), ..PageWrite::of(&self.last) }),
            None if rows.is_empty() => None,
            None => Some(PageWrite { rows, ..PageWrite::of(&self.before) }),
        }
    }
}
