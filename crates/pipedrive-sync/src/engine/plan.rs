//! Which walks a sync makes, from where, and what that costs. Pure.

mod basis;
mod by_recents;

pub use self::{
    basis::Basis,
    by_recents::{ByRecents, WHETHER_BY_RECENTS, WHOLE_BY_RECENTS},
};

use std::str::FromStr as _;

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Entity, Paging, recents};
use serde::{Deserialize, Serialize};

use crate::{
    store::{Mode, WalkState},
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

/// Deleted rows are shown for 30 days; what was complete before that is read in full.
pub(super) const DELETED_SHOWN_FOR: SignedDuration = SignedDuration::from_hours(29 * 24);

/// Whether recents say of a table's rows that they were deleted.
fn in_recents(entity: Entity) -> bool {
    BY_RECENTS.contains(&entity) || entity == Entity::ArchivedDeals
}

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
    /// Lists that are not read, as that look shows what has changed of them, or whether anything has; to be read after it if
    /// something has, or if it is not given.
    pub by_recents: Vec<WalkPlan>,
    /// Where the first such look will begin, to be written down before the first row is read.
    pub recents_from: Option<WalkState>,
    /// Tokens that it will cost, or at least cost where a walk's length is unknown.
    pub tokens: u64,
    /// Whether the length of every walk is known, so that `tokens` is the price and not its least.
    pub exact: bool,
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
            let mut main = basis.walk(entity, false);
            if basis.told_by_recents(entity) && !main.resumed {
                if basis.just_looked(entity) {
                    continue;
                }
                main.sweep = basis.is_due(entity);
                if !main.sweep {
                    plan.by_recents.push(main);
                    continue;
                }
            }
            // Rows that were deleted since are asked for only beside an incremental walk: a full one
            // removes what it does not see.
            let with_deleted = entity == Entity::Deals && main.state.mode == Mode::Incremental;
            plan.add(main);
            if with_deleted && !basis.just_done(&deleted_name(entity)) {
                plan.add(basis.walk(entity, true));
            }
        }
        // Deals have a list of deleted ones.
        let wanted = |walk: &WalkPlan| {
            walk.state.mode == Mode::Incremental
                && in_recents(walk.entity)
                && walk.entity != Entity::Deals
        };
        // For lists alone, only where these would cost more.
        let look = u64::from(recents::cost());
        let dearer = plan.by_recents.iter().map(|walk| walk.tokens).sum::<u64>() > look;
        if basis.limit.is_none() && (dearer || plan.walks.iter().any(wanted)) {
            plan.recents = basis.recents(&plan.by_recents);
        }
        if plan.recents.is_some() {
            plan.tokens += look;
            plan.exact &= plan.by_recents.is_empty();
        } else {
            std::mem::take(&mut plan.by_recents).into_iter().for_each(|walk| plan.add(walk));
            let any = plan.walks.iter().any(|walk| in_recents(walk.entity));
            if any && basis.state(RECENTS).is_none() {
                plan.recents_from = Some(basis.look(basis.now));
            }
        }
        plan
    }

    fn add(&mut self, walk: WalkPlan) {
        self.tokens += walk.tokens;
        self.exact &= walk.rows_expected.is_some();
        self.walks.push(walk);
    }

    /// A server whose clock is behind ours puts times on its changes that lie before our start; a walk must not take them for
    /// older than itself.
    pub(super) fn by_the_servers_clock(
        &mut self,
        now: Timestamp,
        server: Option<Timestamp>,
        overlap: SignedDuration,
    ) {
        if let Some(state) = self.recents.as_mut().filter(|state| state.position.is_none()) {
            // Some servers may refuse to be asked for more than they keep.
            let reach = server.unwrap_or(now) - DELETED_SHOWN_FOR;
            let since = state.since.as_deref().and_then(wall::parse);
            let too_old = since.is_none_or(|since| since < reach);
            state.since = since.map(|since| wall::text(since.max(reach)));
            if too_old {
                // What lies before is told by lists only.
                std::mem::take(&mut self.by_recents).into_iter().for_each(|walk| self.add(walk));
            }
        }
        let Some(server) = server else { return };
        if let Some(state) = &mut self.recents_from {
            let from = recents_since(server, overlap);
            let since = state.since.as_deref().and_then(wall::parse).map(|since| since.min(from));
            state.since = since.map(wall::text);
        }
        let new = self.walks.iter_mut().filter(|walk| !walk.resumed).map(|walk| &mut walk.state);
        let recents = self.recents.as_mut().filter(|state| state.position.is_none());
        let spared = self.by_recents.iter_mut().map(|walk| &mut walk.state);
        for state in new.chain(spared).chain(recents) {
            if wall::parse(&state.started_at).is_some_and(|started| server < started) {
                state.started_at = wall::text(server);
            }
        }
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
mod tests;
