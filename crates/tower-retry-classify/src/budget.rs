//! How many retries may be bought.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::Class;

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

    /// What a retry costs. Default: 5.
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// What a retry after a time-out costs. Default: 10.
    pub const fn timeout_cost(mut self, cost: u32) -> Self {
        self.timeout_cost = cost;
        self
    }

    /// What a success at the first attempt brings. Default: 1.
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

impl Default for Quota {
    fn default() -> Self {
        Self::AWS
    }
}

/// A purse for retries, see [`Quota`]. Clones share it: give one to several
/// policies and they draw from the same.
#[derive(Clone)]
pub struct RetryBudget {
    purse: Arc<AtomicU32>,
    quota: Quota,
}

impl RetryBudget {
    /// A full purse.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { purse: Arc::new(AtomicU32::new(quota.capacity)), quota }
    }

    /// Retries cost nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Quota::AWS.cost(0).timeout_cost(0))
    }

    /// What is in it now.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.purse.load(Relaxed)
    }

    /// The rules of this purse.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Pays for a retry; how much, or `None` if there is not enough.
    pub(crate) fn withdraw(&self, class: Class) -> Option<u32> {
        let cost = self.quota.cost_of(class);
        let pay = |purse| self.quota.pay(purse, cost);
        self.purse.fetch_update(Relaxed, Relaxed, pay).ok().map(|_| cost)
    }

    /// Puts tokens in. A full purse is only read, so that the hot path of many
    /// threads does not fight for it.
    pub(crate) fn deposit(&self, tokens: u32) {
        let put = |purse| Some(self.quota.put(purse, tokens)).filter(|&after| after != purse);
        // An error says that there was nothing to change.
        let _ = self.purse.fetch_update(Relaxed, Relaxed, put);
    }

    /// What a first success brings.
    pub(crate) fn reward(&self) {
        self.deposit(self.quota.reward);
    }
}

/// A purse of its own by the rules of [`Quota::AWS`].
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(Quota::AWS)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("available", &self.available())
            .field("quota", &self.quota)
            .finish()
    }
}
