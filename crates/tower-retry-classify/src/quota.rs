//! A purse that successes fill, without a clock.

use crate::{Class, Problem};

/// What retries cost and successes bring; pure.
///
/// When much fails at once, retries only add to the load. So every retry is paid
/// for from a purse that successes fill: while most calls go well there is
/// always enough in it, and when nearly all fail it is soon empty.
///
/// The defaults are those of the AWS client libraries: a purse of 500, a retry
/// for 5, one after a time-out for 10, a success brings 1, and a success after a
/// retry brings back what that retry cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub struct Quota {
    pub(crate) capacity: u32,
    pub(crate) cost: u32,
    pub(crate) timeout_cost: u32,
    pub(crate) reward: u32,
}

impl Quota {
    /// The defaults above.
    pub const AWS: Self = Self { capacity: 500, cost: 5, timeout_cost: 10, reward: 1 };

    /// The most that the purse holds, and what it starts with. Default: 500.
    pub const fn capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    /// What a retry costs. Not above the capacity. Default: 5.
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// What a retry after a time-out costs. Not above the capacity. Default: 10.
    pub const fn timeout_cost(mut self, cost: u32) -> Self {
        self.timeout_cost = cost;
        self
    }

    /// What a success at the first attempt brings. Zero: only what was paid comes back. Default: 1.
    pub const fn reward(mut self, reward: u32) -> Self {
        self.reward = reward;
        self
    }

    /// What a retry of this class costs.
    #[must_use]
    pub const fn cost_of(&self, class: Class) -> u32 {
        match class {
            Class::Timeout => self.timeout_cost,
            _ => self.cost,
        }
    }

    /// What is left of `purse` after paying, `None` if it does not suffice.
    #[must_use]
    pub const fn pay(&self, purse: u32, cost: u32) -> Option<u32> {
        purse.checked_sub(cost)
    }

    /// The purse with `tokens` put in, never above the capacity.
    #[must_use]
    pub const fn put(&self, purse: u32, tokens: u32) -> u32 {
        let sum = purse.saturating_add(tokens);
        if sum < self.capacity { sum } else { self.capacity }
    }
}

impl Quota {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for (field, cost) in [("cost", self.cost), ("timeout_cost", self.timeout_cost)] {
            if cost > self.capacity {
                let most = format!("from 0 to the capacity, {}", self.capacity);
                problems.push(Problem::new(field, cost, most));
            }
        }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::AWS
    }
}
