//! Which walks a sync makes, from where, and what that costs. Pure.

use std::{collections::BTreeMap, str::FromStr as _};

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Entity, Paging};
use serde::{Deserialize, Serialize};

use crate::{
    store::{Counts, Mode, WalkState},
    wall,
};

/// The walk over what changed lately, for what was deleted.
pub const RECENTS: &str = "recents";

/// Kinds that are brought up to date by what has changed, and of which recents say what was deleted; of deals, the archived
/// ones.
pub const BY_RECENTS: [Entity; 6] = [
    Entity::Deals,
    Entity::Persons,
    Entity::Organizations,
    Entity::Activities,
    Entity::Products,
    Entity::Notes,
];

/// Tokens that a page of recents costs.
const RECENTS_COST: u64 = 20;

/// Deleted rows are shown for 30 days; what was complete before that is read in full.
pub(super) const DELETED_SHOWN_FOR: SignedDuration = SignedDuration::from_hours(29 * 24);

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Go on where the last sync stopped; else what has changed where that can be asked, else all.
    #[default]
    Auto,
    /// All of every entity.
    Full,
    /// What has changed. Entities that cannot be asked so, or were never complete, are read in full.
    Incremental,
}

/// One walk to make.
#[derive(Clone, Debug)]
pub struct WalkPlan {
    /// What is read.
    pub entity: Entity,
    /// Deleted rows, by `status=deleted`.
    pub deleted: bool,
    /// Where it stands.
    pub state: WalkState,
    /// It was under way already.
    pub resumed: bool,
    /// It reads the whole list although what has changed could be asked for, as the last time is long ago.
    pub sweep: bool,
    /// Rows that it will probably read.
    pub rows_expected: Option<u64>,
    /// Requests that it will make at least.
    pub requests: u64,
    /// Tokens that it will cost at least.
    pub tokens: u64,
}

/// What a sync will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The walks.
    pub walks: Vec<WalkPlan>,
    /// After them, the look for deleted rows of the kinds whose lists do not show them.
    pub recents: Option<WalkState>,
    /// Where the first such look will begin, to be written down before the first row is read.
    pub recents_from: Option<WalkState>,
    /// Tokens that it will cost, or at least cost where a walk's length is unknown.
    pub tokens: u64,
    /// Whether the length of every walk is known, so that `tokens` is the price and not its least.
    pub exact: bool,
}

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
}

impl Plan {
    /// How many walks read a whole list only because the last time is long ago.
    #[must_use]
    pub fn sweeps(&self) -> usize {
        self.walks.iter().filter(|walk| walk.sweep).count()
    }

    /// Decides what to do.
    #[must_use]
    pub fn new(basis: &Basis<'_>) -> Self {
        let mut plan = Self { tokens: basis.start_up, exact: true, ..Self::default() };
        for &entity in basis.entities {
            if basis.just_done(entity.name()) {
                // Its deleted rows may still be under way.
                let deleted =
                    basis.state(&deleted_name(entity)).filter(|state| state.done_at.is_none());
                if deleted.is_some() && basis.wanted != Wanted::Full {
                    plan.add(basis.walk(entity, true));
                }
                continue;
            }
            let main = basis.walk(entity, false);
            // Rows that were deleted since are asked for only beside an incremental walk: a full one
            // removes what it does not see.
            let with_deleted = entity == Entity::Deals && main.state.mode == Mode::Incremental;
            plan.add(main);
            if with_deleted && !basis.just_done(&deleted_name(entity)) {
                plan.add(basis.walk(entity, true));
            }
        }
        let shown = |entity| BY_RECENTS.contains(&entity) || entity == Entity::ArchivedDeals;
        // Deals have a list of deleted ones.
        let wanted = |walk: &WalkPlan| {
            walk.state.mode == Mode::Incremental
                && shown(walk.entity)
                && walk.entity != Entity::Deals
        };
        if basis.limit.is_none() && plan.walks.iter().any(wanted) {
            plan.recents = basis.recents();
            plan.tokens += plan.recents.as_ref().map_or(0, |_| RECENTS_COST);
        } else if basis.state(RECENTS).is_none() && plan.walks.iter().any(|walk| shown(walk.entity))
        {
            plan.recents_from = Some(basis.look(basis.now));
        }
        plan
    }

    fn add(&mut self, walk: WalkPlan) {
        self.tokens += walk.tokens;
        self.exact &= walk.rows_expected.is_some();
        self.walks.push(walk);
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let count =
            |test: fn(&WalkPlan) -> bool| self.walks.iter().filter(|walk| test(walk)).count();
        format!(
            "{} walks ({} full{}, {} incremental, {} of them go on where they stopped), {} {} tokens",
            self.walks.len(),
            count(|walk| walk.state.mode == Mode::Full),
            match self.sweeps() {
                0 => String::new(),
                sweeps => format!(", {sweeps} of them to find what was deleted"),
            },
            count(|walk| walk.state.mode == Mode::Incremental),
            count(|walk| walk.resumed),
            if self.exact { "about" } else { "at least" },
            self.tokens
        )
    }
}

fn deleted_name(entity: Entity) -> String {
    format!("{}:deleted", entity.name())
}

impl Basis<'_> {
    fn state(&self, walk: &str) -> Option<&WalkState> {
        self.known.iter().find(|state| state.walk == walk)
    }

    /// Complete, in a run that was cut short: that run is finished first, and what it has done is not done again.
    fn just_done(&self, walk: &str) -> bool {
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

    fn walk(&self, entity: Entity, deleted: bool) -> WalkPlan {
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
            walk,
            entity: entity.name().to_owned(),
            mode,
            position: None,
            since: since.filter(|_| mode == Mode::Incremental),
            started_at: wall::text(self.now),
            max_seen: None,
            high_water,
            page_size: known.and_then(|state| state.page_size),
            pages: 0,
            rows: 0,
            done_at: None,
            last_done: known.and_then(|state| state.last_done.clone()),
            run: self.run,
        };
        (state, sweep)
    }

    /// The look for deleted rows: from where the last one began, else from where the first complete walk did; always for
    /// all kinds, so that there is one time up to which deleted rows are known.
    fn recents(&self) -> Option<WalkState> {
        let known = self.state(RECENTS);
        if let Some(state) = known.filter(|state| state.done_at.is_none() && !self.force) {
            return Some(state.clone());
        }
        let begun = BY_RECENTS.iter().chain([&Entity::ArchivedDeals]).filter_map(|entity| {
            let state = self.state(entity.name()).filter(|state| state.last_done.is_some())?;
            wall::parse(&state.started_at)
        });
        let high_water = known.and_then(|state| state.high_water.as_deref()).and_then(wall::parse);
        let since = high_water.or_else(|| begun.min())?;
        Some(self.look(since))
    }

    /// A look for what was deleted from then on.
    fn look(&self, from: Timestamp) -> WalkState {
        let known = self.state(RECENTS);
        WalkState {
            walk: RECENTS.to_owned(),
            entity: RECENTS.to_owned(),
            mode: Mode::Incremental,
            position: None,
            since: Some(wall::text(recents_since(from, self.overlap))),
            started_at: wall::text(self.now),
            max_seen: None,
            high_water: known.and_then(|state| state.high_water.clone()),
            page_size: None,
            pages: 0,
            rows: 0,
            done_at: None,
            last_done: known.and_then(|state| state.last_done.clone()),
            run: self.run,
        }
    }

    /// Whether the whole list was read last so long ago that it is to be read again. Where incremental walks are asked for
    /// by name, never.
    fn is_due(&self, entity: Entity) -> bool {
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

/// The walk that must end before another begins: what has changed of deals is read list by list, so that of a deal that two
/// of them show the last word is true.
pub(super) fn after(walks: &[WalkPlan], index: usize) -> Option<usize> {
    let walk = &walks[index];
    if walk.state.mode != Mode::Incremental {
        return None;
    }
    let of = |entity, deleted| {
        walks.iter().position(|other| other.entity == entity && other.deleted == deleted)
    };
    match (walk.entity, walk.deleted) {
        (Entity::ArchivedDeals, _) => of(Entity::Deals, false),
        (Entity::Deals, true) => {
            of(Entity::ArchivedDeals, false).or_else(|| of(Entity::Deals, false))
        }
        _ => None,
    }
}

/// From when on recents are asked to see what was deleted since then: a second more, as it is not settled whether the very
/// second is shown.
pub(super) fn recents_since(from: Timestamp, overlap: SignedDuration) -> Timestamp {
    from - overlap - SignedDuration::from_secs(1)
}

/// Requests that a walk over so many rows makes at least.
#[must_use]
pub fn requests(entity: Entity, rows: u64, page: u32) -> u64 {
    let page = u64::from(page.min(entity.max_limit()).max(1));
    match entity.paging() {
        Paging::Whole => 1,
        Paging::Cursor => rows.div_ceil(page).max(1),
        // Each page but the first shares a row with the one before.
        Paging::Offset if page > 1 => rows.saturating_sub(1).div_ceil(page - 1).max(1),
        Paging::Offset => rows.max(1),
    }
}

/// Up to where every change has been seen once a walk is complete: the newest change that it showed,
/// but not later than its start, for what changed behind its back comes next time.
#[must_use]
pub fn high_water(state: &WalkState, max_seen: Option<&str>) -> Option<String> {
    let before = state.high_water.as_deref().and_then(wall::parse);
    let started = wall::parse(&state.started_at);
    let seen = max_seen.and_then(wall::parse);
    let now = match (seen, started) {
        (Some(seen), Some(started)) => Some(seen.min(started)),
        (seen, _) => seen,
    };
    now.max(before).map(wall::text)
}

/// The entities that names stand for, each once, in the best order for reading.
///
/// # Errors
///
/// The sentence that says which name is unknown.
pub fn entities(names: &[String]) -> Result<Vec<Entity>, String> {
    let mut chosen = Vec::new();
    let mut wrong = Vec::new();
    for name in names
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match Entity::named(name) {
            Some(some) => chosen.extend(some),
            None => wrong.extend(Entity::from_str(name).err().map(|error| error.to_string())),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let all = chosen.is_empty();
    Ok(Entity::ALL.into_iter().filter(|entity| all || chosen.contains(entity)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis<'a>(entities: &'a [Entity], known: &'a [WalkState], counts: &'a Counts) -> Basis<'a> {
        Basis {
            entities,
            wanted: Wanted::Auto,
            known,
            counts,
            totals: None,
            page: 500,
            run: 9,
            start_up: 2,
            overlap: SignedDuration::from_secs(60),
            now: "2026-03-10T00:00:00Z".parse().unwrap(),
            limit: None,
            force: false,
            swept: &NEVER,
            sweep_every: None,
        }
    }

    static NEVER: BTreeMap<String, String> = BTreeMap::new();

    fn state(entity: Entity, mode: Mode, done: Option<&str>) -> WalkState {
        WalkState {
            walk: entity.name().into(),
            entity: entity.name().into(),
            mode,
            position: done.is_none().then(|| "offset:5".into()),
            since: None,
            started_at: "2026-03-01T00:00:00Z".into(),
            max_seen: None,
            high_water: done.map(|_| "2026-02-28T12:00:00Z".into()),
            page_size: None,
            pages: 3,
            rows: 1500,
            done_at: done.map(Into::into),
            last_done: done.map(Into::into),
            run: 4,
        }
    }

    #[test]
    fn the_first_sync_reads_all_and_knows_only_the_least_price() {
        let plan = Plan::new(&basis(&[Entity::Deals, Entity::Notes], &[], &Counts::new()));
        assert!(plan.walks.iter().all(|walk| walk.state.mode == Mode::Full && !walk.resumed));
        assert_eq!((plan.walks.len(), plan.tokens, plan.exact), (2, 2 + 10 + 20, false));
    }

    #[test]
    fn a_walk_under_way_goes_on_and_what_its_run_has_done_is_not_done_again() {
        let known = [
            state(Entity::Deals, Mode::Full, None),
            state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
        ];
        let plan = Plan::new(&basis(&[Entity::Deals, Entity::Notes], &known, &Counts::new()));
        assert_eq!(plan.walks.len(), 1);
        assert!(plan.walks[0].resumed);
        assert_eq!(plan.walks[0].state, known[0]);
        // Asked for alone, the complete one is brought up to date.
        let plan = Plan::new(&basis(&[Entity::Notes], &known, &Counts::new()));
        assert_eq!(plan.walks[0].state.mode, Mode::Incremental);
    }

    #[test]
    fn what_is_complete_is_brought_up_to_date_with_an_overlap_and_deleted_deals() {
        let known = [Entity::Deals, Entity::Stages]
            .map(|entity| state(entity, Mode::Full, Some("2026-03-01T00:01:00Z")));
        let counts = Counts::from([("deals", (1500, 0)), ("stages", (600, 0))]);
        let plan = Plan::new(&basis(&[Entity::Deals, Entity::Stages], &known, &counts));
        let names: Vec<_> =
            plan.walks.iter().map(|walk| (walk.state.walk.as_str(), walk.state.mode)).collect();
        assert_eq!(
            names,
            [
                ("deals", Mode::Incremental),
                ("deals:deleted", Mode::Incremental),
                ("stages", Mode::Full)
            ]
        );
        assert_eq!(plan.walks[0].state.since.as_deref(), Some("2026-02-28T11:59:00Z"));
        assert_eq!((plan.tokens, plan.exact), (2 + 10 + 10 + 2 * 5, true));
    }

    #[test]
    fn deals_older_than_the_api_shows_deleted_ones_are_read_in_full() {
        let known = [state(Entity::Deals, Mode::Full, Some("2026-01-01T00:00:00Z"))];
        let plan = Plan::new(&basis(&[Entity::Deals], &known, &Counts::new()));
        assert_eq!((plan.walks.len(), plan.walks[0].state.mode), (1, Mode::Full));
    }

    #[test]
    fn a_list_that_was_read_whole_long_ago_is_read_whole_again_and_its_price_is_planned() {
        let known = [Entity::Persons, Entity::Stages]
            .map(|entity| state(entity, Mode::Incremental, Some("2026-03-09T00:00:00Z")));
        let counts = Counts::from([("persons", (1500, 0)), ("stages", (600, 0))]);
        let swept = |at: &str| {
            BTreeMap::from([("persons", at), ("stages", at)].map(|(k, v)| (k.into(), v.into())))
        };
        let (old, fresh) = (swept("2026-03-03T00:00:00Z"), swept("2026-03-03T00:00:01Z"));
        let mut basis = basis(&[Entity::Persons, Entity::Stages], &known, &counts);
        basis.sweep_every = Some(SignedDuration::from_hours(7 * 24));
        basis.swept = &old;
        let plan = Plan::new(&basis);
        // Stages are read whole each time.
        assert_eq!((plan.walks[0].state.mode, plan.sweeps()), (Mode::Full, 1));
        assert_eq!((plan.tokens, plan.exact), (2 + 3 * 10 + 2 * 5, true));
        assert!(plan.walks[0].state.high_water.is_some(), "what is known is not forgotten");
        for (swept, every, wanted) in [
            (&fresh, basis.sweep_every, Wanted::Auto),
            (&old, None, Wanted::Auto),
            (&old, basis.sweep_every, Wanted::Incremental),
            (&NEVER, basis.sweep_every, Wanted::Auto),
        ] {
            let plan = Plan::new(&Basis { swept, sweep_every: every, wanted, ..basis });
            assert_eq!((plan.walks[0].state.mode, plan.sweeps()), (Mode::Incremental, 0));
        }
    }

    #[test]
    fn force_begins_anew_although_it_is_known_where_a_walk_stopped() {
        let known = [
            state(Entity::Deals, Mode::Full, None),
            state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
        ];
        let counts = Counts::new();
        let mut basis = basis(&[Entity::Deals, Entity::Notes], &known, &counts);
        basis.force = true;
        let plan = Plan::new(&basis);
        let walks: Vec<_> = plan
            .walks
            .iter()
            .map(|walk| (walk.state.mode, walk.resumed, walk.state.position.as_deref()))
            .collect();
        assert_eq!(walks, [(Mode::Full, false, None), (Mode::Incremental, false, None)]);
    }

    #[test]
    fn what_has_changed_of_deals_is_read_list_by_list() {
        let known = [Entity::Deals, Entity::ArchivedDeals]
            .map(|entity| state(entity, Mode::Full, Some("2026-03-01T00:01:00Z")));
        let counts = Counts::new();
        let mut basis = basis(&[Entity::Deals, Entity::ArchivedDeals], &known, &counts);
        let walks = Plan::new(&basis).walks;
        let names: Vec<_> = walks.iter().map(|walk| walk.state.walk.as_str()).collect();
        assert_eq!(names, ["deals", "deals:deleted", "archived_deals"]);
        assert_eq!([0, 1, 2].map(|index| after(&walks, index)), [None, Some(2), Some(0)]);
        assert_eq!(after(&walks[..2], 1), Some(0));
        // Whole lists are long, and are read at once.
        basis.wanted = Wanted::Full;
        let walks = Plan::new(&basis).walks;
        assert_eq!([0, 1].map(|index| after(&walks, index)), [None, None]);
    }

    #[test]
    fn pages_of_lists_by_offset_share_a_row() {
        let of = |entity, rows| requests(entity, rows, 500);
        assert_eq!([0, 500, 501].map(|rows| of(Entity::Deals, rows)), [1, 1, 2]);
        assert_eq!([0, 500, 501, 999, 1000].map(|rows| of(Entity::Notes, rows)), [1, 1, 2, 2, 3]);
        assert_eq!((of(Entity::Files, 100), of(Entity::Files, 101)), (1, 2));
        assert_eq!(of(Entity::Users, 9_999), 1);
    }

    #[test]
    fn deleted_rows_are_looked_for_from_where_the_last_look_began_or_the_first_copy_did() {
        let known = [Entity::Persons, Entity::Notes, Entity::Leads]
            .map(|entity| state(entity, Mode::Incremental, Some("2026-03-01T00:01:00Z")));
        let counts = Counts::new();
        let all = [Entity::Persons, Entity::Notes, Entity::Leads];
        let mut basis = basis(&all, &known, &counts);
        let plan = Plan::new(&basis);
        let recents = plan.recents.unwrap();
        assert_eq!(recents.since.as_deref(), Some("2026-02-28T23:58:59Z"));
        assert_eq!(plan.tokens, 2 + 10 + 20 + 20 + 20);
        // Not for what recents do not show, not for whole lists, not for a taste.
        assert_eq!(Plan::new(&Basis { entities: &all[2..], ..basis }).recents, None);
        assert_eq!(Plan::new(&Basis { wanted: Wanted::Full, ..basis }).recents, None);
        assert_eq!(Plan::new(&Basis { limit: Some(5), ..basis }).recents, None);
        let look = WalkState {
            high_water: Some("2026-03-05T00:00:00Z".into()),
            done_at: Some("2026-03-05T00:00:09Z".into()),
            ..recents
        };
        let known: Vec<_> = known.iter().cloned().chain([look.clone()]).collect();
        basis.known = &known;
        let next = Plan::new(&basis).recents.unwrap();
        assert_eq!(next.since.as_deref(), Some("2026-03-04T23:58:59Z"));
        // One that was cut short goes on.
        let cut =
            WalkState { done_at: None, position: Some("2026-03-04T23:58:59Z+500".into()), ..look };
        let known: Vec<_> = known[..3].iter().cloned().chain([cut.clone()]).collect();
        basis.known = &known;
        assert_eq!(Plan::new(&basis).recents, Some(cut));
    }

    #[test]
    fn full_means_full() {
        let known = [
            state(Entity::Deals, Mode::Incremental, None),
            state(Entity::Persons, Mode::Full, None),
            state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
        ];
        let counts = Counts::new();
        let mut basis = basis(&[Entity::Deals, Entity::Persons, Entity::Notes], &known, &counts);
        basis.wanted = Wanted::Full;
        let plan = Plan::new(&basis);
        let walks: Vec<_> = plan.walks.iter().map(|walk| (walk.state.mode, walk.resumed)).collect();
        // Notes are part of the full run that is under way.
        assert_eq!(walks, [(Mode::Full, false), (Mode::Full, true)]);
    }

    #[test]
    fn the_high_water_is_neither_later_than_the_start_nor_earlier_than_before() {
        let mut walk = state(Entity::Deals, Mode::Full, None);
        assert_eq!(high_water(&walk, None), None);
        assert_eq!(
            high_water(&walk, Some("2026-02-01T00:00:00Z")).as_deref(),
            Some("2026-02-01T00:00:00Z")
        );
        assert_eq!(
            high_water(&walk, Some("2026-03-05 00:00:00")).as_deref(),
            Some("2026-03-01T00:00:00Z")
        );
        walk.high_water = Some("2026-02-20T00:00:00Z".into());
        assert_eq!(high_water(&walk, Some("2026-02-01T00:00:00Z")), walk.high_water);
        assert_eq!(high_water(&walk, None), walk.high_water);
    }

    #[test]
    fn names_of_entities_are_understood_together_and_every_wrong_one_is_named() {
        assert_eq!(entities(&[]).unwrap().len(), 21);
        assert_eq!(
            entities(&["persons,deals".into(), "deal".into()]).unwrap(),
            [Entity::Persons, Entity::Deals]
        );
        let wrong = entities(&["dael,deals".into(), "foo".into()]).unwrap_err();
        assert!(wrong.contains("dael") && wrong.contains("foo"));
    }
}
