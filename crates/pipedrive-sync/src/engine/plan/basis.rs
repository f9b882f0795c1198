//! From what a plan is made, and what becomes of each walk. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::Entity;

use super::{
    ByRecents, DELETED_SHOWN_FOR, RECENTS, WalkPlan, Wanted, deleted_name, in_recents,
    recents_since, requests,
};
use crate::{
    store::{Counts, Mode, WalkState},
    wall,
};

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// Entities to sync.
    pub entities: &'a [Entity],
    /// What the user asked for.
    pub wanted: Wanted,
    /// What `sync_state` holds.
    pub known: &'a [WalkState],
    /// Rows in the database.
    pub counts: &'a Counts,
    /// Rows in the account, where somebody knows (the demo does).
    pub totals: Option<&'a BTreeMap<&'static str, u64>>,
    /// The largest page.
    pub page: u32,
    /// Number of this run.
    pub run: i64,
    /// Tokens of the start-up requests.
    pub start_up: u64,
    /// By how much an incremental walk reaches back behind the high water.
    pub overlap: SignedDuration,
    /// The time.
    pub now: Timestamp,
    /// Rows after which each entity stops.
    pub limit: Option<u64>,
    /// Whether to begin every walk anew.
    pub force: bool,
    /// When the whole list of each entity was read last.
    pub swept: &'a BTreeMap<String, String>,
    /// How long ago that may be before an incremental walk becomes a full one; none for ever.
    pub sweep_every: Option<SignedDuration>,
    /// The kinds whose lists are not read while recents show no change of them.
    pub by_recents: &'a ByRecents,
}

impl Basis<'_> {
    pub(super) fn state(&self, walk: &str) -> Option<&WalkState> {
        self.known.iter().find(|state| state.walk == walk)
    }

    /// Complete, in a run that was cut short: that run is finished first, and what it has done is not done again.
    pub(super) fn just_done(&self, walk: &str) -> bool {
        let state = self.state(walk).filter(|state| state.done_at.is_some() && !self.force);
        let Some(state) = state else {
            return false;
        };
        let asked =
            |other: &WalkState| self.entities.iter().any(|entity| entity.name() == other.entity);
        let cut_short = |other: &WalkState| other.run == state.run && other.done_at.is_none();
        self.known.iter().any(|other| cut_short(other) && asked(other) && self.may_go_on(other))
            && self.may_go_on(state)
    }

    pub(super) fn walk(&self, entity: Entity, deleted: bool) -> WalkPlan {
        let name = if deleted { deleted_name(entity) } else { entity.name().to_owned() };
        let known = self.state(&name);
        let resumed =
            known.filter(|state| state.done_at.is_none() && !self.force && self.may_go_on(state));
        let (state, sweep) = match resumed {
            Some(state) => (state.clone(), false),
            None => self.begin(entity, deleted, name, known),
        };
        let rows_expected = self
            .expected(entity, &state)
            .map(|rows| self.limit.map_or(rows, |limit| rows.min(limit)));
        let requests = requests(entity, rows_expected.unwrap_or(0), self.page);
        let tokens = requests * u64::from(entity.list_cost());
        let resumed = resumed.is_some();
        WalkPlan { entity, deleted, resumed, sweep, rows_expected, requests, tokens, state }
    }

    fn may_go_on(&self, state: &WalkState) -> bool {
        match self.wanted {
            Wanted::Auto | Wanted::Incremental => true,
            Wanted::Full => state.mode == Mode::Full,
        }
    }

    fn begin(
        &self,
        entity: Entity,
        deleted: bool,
        walk: String,
        known: Option<&WalkState>,
    ) -> (WalkState, bool) {
        let main = self.state(entity.name());
        // The first look for deleted rows goes as far back as the rows themselves.
        let high_water = known.or(main).and_then(|state| state.high_water.clone());
        let recent =
            main.and_then(|state| state.done_at.as_deref()).and_then(wall::parse).is_some_and(
                |done| !entity.incremental() || self.now.duration_since(done) < DELETED_SHOWN_FOR,
            );
        let since =
            high_water.as_deref().and_then(wall::parse).map(|time| wall::text(time - self.overlap));
        let complete = deleted || (main.is_some_and(|state| state.done_at.is_some()) && recent);
        let incremental =
            self.wanted != Wanted::Full && entity.incremental() && complete && since.is_some();
        let sweep = incremental && !deleted && self.is_due(entity);
        let mode = if incremental && !sweep { Mode::Incremental } else { Mode::Full };
        let state = WalkState {
            since: since.filter(|_| mode == Mode::Incremental),
            high_water,
            page_size: known.and_then(|state| state.page_size),
            last_done: known.and_then(|state| state.last_done.clone()),
            ..WalkState::begun(walk, entity.name(), mode, wall::text(self.now), self.run)
        };
        (state, sweep)
    }

    /// The look for deleted rows: from where the last one began, else from where the first complete walk did; always for
    /// all kinds, so that there is one time up to which deleted rows are known.
    ///
    /// For lists that are not read for it, it begins where they were known last.
    pub(super) fn recents(&self, instead_of: &[WalkPlan]) -> Option<WalkState> {
        let mut look = self.look_for_deleted()?;
        let known = instead_of.iter().filter_map(|walk| self.known_until(walk.entity));
        let since = known.map(|known| recents_since(known, self.overlap));
        let since = since.chain(look.since.as_deref().and_then(wall::parse)).min();
        look.since = since.map(wall::text);
        Some(look)
    }

    fn look_for_deleted(&self) -> Option<WalkState> {
        let known = self.state(RECENTS);
        if let Some(state) = known.filter(|state| state.done_at.is_none() && !self.force) {
            let begun =
                WalkState { started_at: wall::text(self.now), run: self.run, ..state.clone() };
            return Some(if state.position.is_some() { state.clone() } else { begun });
        }
        let begun =
            Entity::ALL.into_iter().filter(|entity| in_recents(*entity)).filter_map(|entity| {
                let state = self.state(entity.name()).filter(|state| state.last_done.is_some())?;
                wall::parse(&state.started_at)
            });
        let high_water = known.and_then(|state| state.high_water.as_deref()).and_then(wall::parse);
        let since = high_water.or_else(|| begun.min())?;
        Some(self.look(since))
    }

    /// A look for what was deleted from then on.
    pub(super) fn look(&self, from: Timestamp) -> WalkState {
        let known = self.state(RECENTS);
        let now = wall::text(self.now);
        WalkState {
            since: Some(wall::text(recents_since(from, self.overlap))),
            high_water: known.and_then(|state| state.high_water.clone()),
            last_done: known.and_then(|state| state.last_done.clone()),
            ..WalkState::begun(RECENTS, RECENTS, Mode::Incremental, now, self.run)
        }
    }

    /// Up to when all changes of a list are known that only recents tell: since its last whole reading began, or since the
    /// last look that showed them.
    fn known_until(&self, entity: Entity) -> Option<Timestamp> {
        let state = self.state(entity.name()).filter(|state| state.done_at.is_some())?;
        let looked = state.high_water.as_deref().and_then(wall::parse);
        looked.max(wall::parse(&state.started_at))
    }

    /// Whether the look of a run that was cut short, and is finished first, has told of the list what there was to tell.
    pub(super) fn just_looked(&self, entity: Entity) -> bool {
        let look = self.state(RECENTS).filter(|_| self.just_done(RECENTS));
        let began = look.and_then(|look| wall::parse(&look.started_at));
        began.is_some_and(|began| self.known_until(entity) >= Some(began))
    }

    /// Whether recents show all that has changed of a list which is complete, or whether anything has.
    pub(super) fn told_by_recents(&self, entity: Entity) -> bool {
        // By our clock; by the server's it is looked at again when that is known.
        let done = self.state(entity.name()).and_then(|state| state.done_at.as_deref());
        let done = done.and_then(wall::parse);
        let recent = done.is_some_and(|at| self.now.duration_since(at) < DELETED_SHOWN_FOR)
            && self.known_until(entity).is_some();
        // A look that is under way may have passed them by.
        let under_way = self.state(RECENTS).is_some_and(|look| look.position.is_some());
        let asked_for = self.wanted != Wanted::Full && !self.force && self.limit.is_none();
        self.by_recents.contains(entity) && recent && asked_for && !under_way
    }

    /// Whether the whole list was read last so long ago that it is to be read again. Where incremental walks are asked for
    /// by name, never.
    pub(super) fn is_due(&self, entity: Entity) -> bool {
        let last = self.swept.get(entity.name()).and_then(|at| wall::parse(at));
        let due =
            last.zip(self.sweep_every).map(|(at, every)| self.now.duration_since(at) >= every);
        due.unwrap_or(false) && self.wanted == Wanted::Auto
    }

    /// Rows still to come, if that can be known.
    fn expected(&self, entity: Entity, state: &WalkState) -> Option<u64> {
        if state.mode == Mode::Incremental {
            return Some(0);
        }
        if let Some(totals) = self.totals {
            return totals.get(entity.name()).map(|all| all.saturating_sub(state.rows));
        }
        let complete_once = state.high_water.is_some()
            || self
                .known
                .iter()
                .any(|known| known.walk == entity.name() && known.done_at.is_some());
        let held = self.counts.get(entity.name()).map_or(0, |(rows, _)| *rows);
        (complete_once || (state.rows == 0 && held > 0)).then(|| held.saturating_sub(state.rows))
    }
}
