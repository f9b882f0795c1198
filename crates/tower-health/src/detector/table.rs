//! All targets of a detector. Free of clocks and locks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    hash::Names,
    target::{Rules, Target, Turn, Turns},
};
use crate::{TargetChange, TargetState, TargetStatus};

/// So many targets are gone over at a time, so that a beat never waits for all of them.
const AT_A_TIME: usize = 256;

#[derive(Debug)]
pub(crate) struct Entry<I> {
    name: Arc<str>,
    info: Arc<I>,
    target: Target,
}

/// How far going over the targets has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    next: usize,
    /// When time alone changes something next, of all that was gone over.
    pub(crate) due: Option<Instant>,
    pub(crate) done: bool,
}

#[derive(Debug)]
pub(crate) struct Table<I> {
    rules: Rules,
    max_targets: usize,
    places: HashMap<Arc<str>, usize, Names>,
    entries: Vec<Option<Entry<I>>>,
    free: Vec<usize>,
}

impl<I> Table<I> {
    pub(crate) fn new(rules: Rules, max_targets: usize) -> Self {
        Self {
            rules,
            max_targets,
            places: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// `Err` with the bound if there is no place. What was replaced is handed out, to be dropped outside the lock.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        name: Arc<str>,
        info: Arc<I>,
    ) -> Result<Option<Entry<I>>, (Arc<I>, usize)> {
        let target = Target::new(&self.rules, now);
        if let Some(&place) = self.places.get(&name) {
            return Ok(self.entries[place].replace(Entry { name, info, target }));
        }
        if self.places.len() >= self.max_targets {
            return Err((info, self.max_targets));
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.places.insert(Arc::clone(&name), place);
        self.entries[place] = Some(Entry { name, info, target });
        Ok(None)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Entry<I>> {
        let place = self.places.remove(name)?;
        self.free.push(place);
        self.entries[place].take()
    }

    /// A target, and the name it was registered with. `None` if it is not registered.
    pub(crate) fn get(&mut self, name: &str) -> Option<(&mut Target, &Rules, &Arc<str>)> {
        let place = *self.places.get(name)?;
        let entry = self.entries[place].as_mut()?;
        Some((&mut entry.target, &self.rules, &entry.name))
    }

    pub(crate) fn status(&mut self, name: &str, now: Instant) -> Option<TargetStatus<I>> {
        let place = *self.places.get(name)?;
        let entry = self.entries[place].as_mut()?;
        Some(entry.status(&self.rules, now))
    }

    /// Settles some more of the targets, tells what changed, and shows each to `look`.
    /// What has been unhealthy for `forget_after` is taken out.
    pub(crate) fn sweep(
        &mut self,
        sweep: &mut Sweep,
        now: Instant,
        forget_after: Option<Duration>,
        found: &mut Found<I>,
        mut look: impl FnMut(&mut Entry<I>, &Rules, Instant),
    ) {
        let end = self.entries.len().min(sweep.next + AT_A_TIME);
        let mut turns = Turns::new();
        for place in sweep.next..end {
            let Some(entry) = &mut self.entries[place] else { continue };
            entry.target.settle(now, &mut turns);
            let named = |turn| name_turn(&entry.name, turn);
            found.changes.extend(turns.drain(..).map(named));
            let (state, since) = (entry.target.state, entry.target.work.since);
            let in_state_for = now.saturating_duration_since(since);
            if state == TargetState::Unhealthy
                && forget_after.is_some_and(|long| in_state_for >= long)
            {
                let name = Arc::clone(&entry.name);
                found.forgotten.extend(self.remove(&name));
                continue;
            }
            sweep.due = match (sweep.due, entry.target.due()) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            look(entry, &self.rules, now);
        }
        sweep.next = end;
        sweep.done = end == self.entries.len();
    }
}

/// What going over the targets found; told and dropped outside the lock.
#[derive(Debug)]
pub(crate) struct Found<I> {
    pub(crate) changes: Vec<TargetChange>,
    pub(crate) forgotten: Vec<Entry<I>>,
}

impl<I> Found<I> {
    pub(crate) const fn new() -> Self {
        Self { changes: Vec::new(), forgotten: Vec::new() }
    }
}

pub(crate) fn name_turn(name: &Arc<str>, turn: Turn) -> TargetChange {
    let Turn { number, from, to, reason, at } = turn;
    TargetChange { target: Arc::clone(name), number, from, to, reason, at }
}

impl<I> Entry<I> {
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn state(&self) -> TargetState {
        self.target.state
    }

    pub(crate) fn into_info(self) -> Arc<I> {
        self.info
    }

    pub(crate) fn status(&mut self, rules: &Rules, now: Instant) -> TargetStatus<I> {
        let sum = self.target.sum(now);
        let target = &self.target;
        let silent = now.saturating_duration_since(target.heard);
        let missed = silent.as_nanos() / rules.interval.as_nanos().max(1);
        TargetStatus {
            target: Arc::clone(&self.name),
            info: Arc::clone(&self.info),
            state: target.state,
            reason: target.work.reason,
            since: target.work.since,
            silent,
            missed: u32::try_from(missed).unwrap_or(u32::MAX),
            phi: target.beats.phi(silent, rules.interval, rules.alarm),
            heartbeats: target.heartbeats,
            interval: target.beats.mean(),
            deviation: target.beats.deviation(),
            calls: sum.calls,
            bad: sum.bad,
            error_rate: sum.error_rate(),
            average: sum.average(),
            consecutive_failures: target.work.row,
            succeeded: target.work.succeeded,
            failed: target.work.failed,
            last_success: target.work.last_success,
            last_failure: target.work.last_failure,
            changes: target.work.changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{beats::Alarm, target::Work};

    #[test]
    fn who_comes_and_goes_leaves_no_place_behind() {
        let second = Duration::from_secs(1);
        let rules = Rules {
            interval: second,
            alarm: Alarm::Misses(3),
            failures: 3,
            recover_after: 3,
            window: 10 * second,
            min_calls: 10,
            error_rate: 0.1,
            latency: None,
        };
        let mut table = Table::new(rules, 3);
        let now = Instant::now();
        for n in 0..1_000 {
            table.insert(now, n.to_string().into(), Arc::new(n)).unwrap();
            if n >= 2 {
                assert_eq!(*table.remove(&(n - 2).to_string()).unwrap().info, n - 2);
            }
        }
        assert_eq!((table.len(), table.entries.len()), (2, 3));
        // As large as the builder says.
        let each =
            size_of::<Option<Entry<()>>>() + size_of::<Work>() + size_of::<(Arc<str>, usize)>();
        assert!((600..750).contains(&each), "{each}");
    }
}
