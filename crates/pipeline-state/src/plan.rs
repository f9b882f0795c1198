//! Which statements a batch of updates comes to. Pure: both stores carry it out.

use std::{borrow::Cow, collections::HashSet};

use crate::{ItemId, Outcome, Update, bounds};

/// A state as the tables hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub(crate) enum Code {
    Pending = 0,
    Processing = 1,
    Completed = 2,
    Failed = 3,
    Skipped = 4,
    Waiting = 5,
}

/// What the counts of one phase change by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta(pub(crate) [i64; 6]);

impl Delta {
    pub(crate) fn moved(mut self, from: Code, to: Code, count: u64) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0[from as usize] -= count;
        self.0[to as usize] += count;
        self
    }

    pub(crate) fn added(mut self, count: u64) -> Self {
        self.0[Code::Pending as usize] += i64::try_from(count).unwrap_or(i64::MAX);
        self
    }
}

/// Items of one lease that go to one state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub(crate) lease: i64,
    pub(crate) phase: i64,
    pub(crate) to: Code,
    pub(crate) ids: Vec<i64>,
    /// For each of `ids` if they failed: category and message.
    pub(crate) failures: Vec<(&'a str, Cow<'a, str>)>,
}

/// A batch of updates, sorted out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    pub(crate) groups: Vec<Group<'a>>,
    /// Names for each phase that gets new items.
    pub(crate) produced: Vec<(&'a str, Vec<&'a str>)>,
    /// Items that come twice under one lease; the first counts.
    pub(crate) repeated: Vec<ItemId>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(updates: impl IntoIterator<Item = &'a Update>) -> Self {
        let mut plan = Self::default();
        let mut seen = HashSet::new();
        for update in updates {
            if seen.insert((update.lease, update.item)) {
                plan.take(update);
            } else {
                plan.repeated.push(update.item);
            }
        }
        plan
    }

    fn take(&mut self, update: &'a Update) {
        let to = match update.outcome {
            Outcome::Completed => Code::Completed,
            Outcome::Skipped => Code::Skipped,
            Outcome::Failed(_) => Code::Failed,
            Outcome::Released => Code::Pending,
        };
        let key = (update.lease.0, update.phase, to);
        // The newest group is the likeliest; a batch has few.
        let at = self.groups.iter().rposition(|group| (group.lease, group.phase, group.to) == key);
        let at = at.unwrap_or_else(|| {
            let (lease, phase, to) = key;
            self.groups.push(Group { lease, phase, to, ids: Vec::new(), failures: Vec::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.ids.push(update.item.0);
        if let Outcome::Failed(failure) = &update.outcome {
            group.failures.push((&failure.category, bounds::message(&failure.message)));
        }
        for (phase, names) in &update.produces {
            let at = self.produced.iter().position(|(known, _)| known == phase);
            let at = at.unwrap_or_else(|| {
                self.produced.push((phase, Vec::new()));
                self.produced.len() - 1
            });
            self.produced[at].1.extend(names.iter().map(String::as_str));
        }
    }

    /// How many items end in a settled state.
    pub(crate) fn settled(&self) -> u64 {
        let settled = self.groups.iter().filter(|group| group.to != Code::Pending);
        settled.map(|group| group.ids.len() as u64).sum()
    }

    pub(crate) fn applied(&self) -> u64 {
        self.groups.iter().map(|group| group.ids.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Item, LeaseId};

    fn item(id: i64, lease: i64) -> Item {
        Item {
            id: id.into(),
            name: id.to_string(),
            attempt: 1,
            lease: lease.into(),
            pipeline: 1.into(),
            phase: lease % 3,
        }
    }

    #[test]
    fn the_first_of_two_updates_of_one_item_counts() {
        let item = item(7, 1);
        let updates = [item.failed("net", "reset"), item.completed().produces("next", ["a"])];
        let plan = Plan::new(&updates);
        assert_eq!(plan.repeated, [item.id]);
        assert_eq!((plan.groups.len(), plan.groups[0].to), (1, Code::Failed));
        assert!(plan.produced.is_empty());
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_group_of_its_own_kind(
            given in prop::collection::vec((0_i64..50, 0_i64..4, 0_u8..4), 0..200),
        ) {
            let updates: Vec<_> = given
                .iter()
                .map(|&(id, lease, kind)| match kind {
                    0 => item(id, lease).completed().produces("next", [id.to_string()]),
                    1 => item(id, lease).skipped(),
                    2 => item(id, lease).failed("c", id.to_string()),
                    _ => item(id, lease).released(),
                })
                .collect();
            let plan = Plan::new(&updates);
            prop_assert_eq!(plan.applied() as usize + plan.repeated.len(), updates.len());
            let mut delta = Delta::default();
            let mut ids = HashSet::new();
            let mut keys = HashSet::new();
            for group in &plan.groups {
                prop_assert!(keys.insert((group.lease, group.phase, group.to as i64)));
                delta = delta.moved(Code::Processing, group.to, group.ids.len() as u64);
                let failed = if group.to == Code::Failed { group.ids.len() } else { 0 };
                prop_assert_eq!(group.failures.len(), failed);
                for id in &group.ids {
                    prop_assert!(ids.insert((group.lease, *id)));
                    let lease = LeaseId(group.lease);
                    let first = updates.iter().find(|u| (u.lease, u.item.0) == (lease, *id));
                    let released = first.is_some_and(|first| first.outcome == Outcome::Released);
                    prop_assert_eq!(released, group.to == Code::Pending);
                }
            }
            prop_assert_eq!(delta.0.iter().sum::<i64>(), 0);
            let produced: usize = plan.produced.iter().map(|(_, names)| names.len()).sum();
            let completed = plan.groups.iter().filter(|group| group.to == Code::Completed);
            prop_assert_eq!(produced, completed.map(|group| group.ids.len()).sum::<usize>());
        }
    }
}
