use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval_at};

use crate::{
    BudgetId, Charge, EndpointId, GateReason, Key, Lease, Limiter, Observation, Priority, Status,
    accounts::Accounts,
    budget::Account,
    core::{Effects, Shed},
    costs::Learner,
    moment::Nanos,
    status::{self, KeyStatus, Usage},
};

/// How many endpoints are told apart; further ones count as unnamed.
const MAX_ENDPOINTS: usize = 1_024;

impl Limiter {
    /// Everything at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.with(Instant::now(), |core, now, _| status::snapshot(core, now))
    }

    /// One key's share of a keyed budget: that of the payer whom `charge` names.
    /// `None` if nothing is known of it, or if the budget is not keyed.
    #[must_use]
    pub fn key_status(&self, budget: BudgetId, charge: &Charge) -> Option<KeyStatus> {
        self.with(Instant::now(), |core, now, _| {
            let at = core.account_at(budget, charge)?;
            let account = core.accounts.get(at)?;
            let (limit, used) = (account.limit(), account.used(now));
            Some(KeyStatus { limit, used, remaining: limit.saturating_sub(used) })
        })
    }

    /// Takes in something that the server said outside of any call made through
    /// this limiter. What it says of a keyed budget is left out: see
    /// [`observe_for`](Self::observe_for).
    pub fn observe(&self, observation: &Observation) {
        self.with(Instant::now(), |core, now, effects| {
            core.observe(now, observation, None, effects);
        });
    }

    /// As [`observe`](Self::observe), of the payer whom `charge` names: for an
    /// answer that speaks of one key, such as one to a question about it.
    pub fn observe_for(&self, charge: &Charge, observation: &Observation) {
        self.with(Instant::now(), |core, now, effects| {
            let of = observation.budget().and_then(|budget| core.account_for(now, budget, charge));
            core.observe(now, observation, of, effects);
        });
    }

    /// Closes the gate for all callers until `until`. A gate that is closed for
    /// longer stays so.
    pub fn close_until(&self, until: Instant, reason: GateReason) {
        self.with(Instant::now(), |core, now, effects| {
            let until = core.epoch.nanos(until);
            core.close(now, until, reason, effects);
            core.settle_queue(now, effects);
        });
    }

    /// Changes a limit, to at most `u32::MAX`; for a keyed budget, that of every
    /// key without one of its own, in time that grows with their number. Calls
    /// that wait are looked at again; with 0, or less than they cost, they are
    /// refused in turn.
    pub fn set_limit(&self, budget: BudgetId, limit: u64) {
        self.with(Instant::now(), |core, now, effects| {
            core.set_limit(now, budget.index(), limit, effects);
        });
    }

    /// Gives one key of a keyed budget a limit of its own: that of the payer whom
    /// `charge` names. Such a key is never forgotten. Returns whether there was
    /// room for it.
    #[allow(clippy::must_use_candidate, reason = "who has room for all keys need not look")]
    pub fn set_limit_for(&self, budget: BudgetId, charge: &Charge, limit: u64) -> bool {
        self.with(Instant::now(), |core, now, effects| {
            let Some(at) = core.account_for(now, budget, charge) else { return false };
            let account = &mut core.accounts[at];
            account.set_limit(limit);
            account.pinned = true;
            core.changed(now, at, effects);
            true
        })
    }

    /// Sets what has been spent in this period, as after a restart. For a
    /// rolling window: at least that much counts for one window from now. Not
    /// for keyed budgets.
    pub fn set_used(&self, budget: BudgetId, used: u64) {
        self.change(budget, |account, now| account.set_used(now, used));
    }

    pub(crate) fn change(&self, budget: BudgetId, change: impl FnOnce(&mut Account, Nanos)) {
        self.with(Instant::now(), |core, now, effects| {
            if let Some(account) = core.accounts.shared_mut().get_mut(budget.index()) {
                change(account, now);
            }
            core.changed(now, budget.index(), effects);
        });
    }

    /// Turns away every call less urgent than `below`, those that wait included,
    /// until it is called again. [`Priority::LOWEST`] lets all through again. The
    /// reason goes into the event and the status.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_ratelimit_tokens::{Budget, Charge, Limiter, Priority, RefusedKind};
    ///
    /// let mut limits = Limiter::builder();
    /// let calls = limits.budget("calls", Budget::concurrency(10));
    /// let limiter = limits.build()?;
    /// let one = Charge::new().with(calls, 1);
    ///
    /// limiter.shed(Priority::HIGH, "the API is slow");
    /// let refused = limiter.try_acquire(one, Priority::NORMAL).unwrap_err();
    /// assert_eq!(refused.kind(), RefusedKind::Shed);
    /// assert!(limiter.try_acquire(one, Priority::HIGH).is_ok());
    /// limiter.shed(Priority::LOWEST, "");
    /// assert!(limiter.try_acquire(one, Priority::NORMAL).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shed(&self, below: Priority, reason: &str) {
        self.with(Instant::now(), |core, now, effects| {
            core.shed(now, Shed { below, reason: reason.into() }, effects);
        });
    }

    /// Asks `level` every `every` (at least a millisecond) whom to turn away and
    /// why, for ever; see [`shed`](Self::shed). `None` turns nobody away. To be
    /// spawned, or polled beside other work.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the level as it is.
    pub async fn shed_while<F>(&self, every: Duration, mut level: F)
    where
        F: FnMut(&Status) -> Option<(Priority, Arc<str>)> + Send,
    {
        let mut ticks = interval_at(Instant::now(), every.max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            let (below, reason) =
                level(&self.status()).unwrap_or_else(|| (Priority::LOWEST, "".into()));
            self.shed(below, &reason);
        }
    }

    /// Counts use by this endpoint from now on; the same name gives the same id.
    /// At most 1,023 names are kept; further ones count as unnamed.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> EndpointId {
        self.with(Instant::now(), |core, _, _| {
            let known = core.usage.iter().position(|usage| &*usage.name == name);
            let index = known.unwrap_or_else(|| {
                if core.usage.len() >= MAX_ENDPOINTS {
                    return 0;
                }
                core.usage.push(Usage::named(name.into()));
                core.learners.push(Learner::default());
                core.usage.len() - 1
            });
            EndpointId(index as u16)
        })
    }

    /// The granting side of a leased budget; `None` if it is not leased.
    #[must_use]
    pub fn lease(&self, budget: BudgetId) -> Option<Lease> {
        let leased = self.with(Instant::now(), |core, _, _| {
            core.specs.get(budget.index()).is_some_and(|spec| spec.low_water.is_some())
        });
        leased.then(|| Lease::new(self.clone(), budget))
    }
}

impl crate::core::Core {
    /// The account of a keyed budget's payer, if it is known.
    fn account_at(&self, budget: BudgetId, charge: &Charge) -> Option<usize> {
        let spec = self.specs.get(budget.index())?;
        spec.scope?;
        let key = self.key(charge, budget.index());
        self.accounts.find(budget.0, key).map(|at| at as usize)
    }

    /// The same, made if it is not known.
    fn account_for(&mut self, now: Nanos, budget: BudgetId, charge: &Charge) -> Option<usize> {
        let spec = self.specs.get(budget.index())?;
        spec.scope?;
        let key = self.key(charge, budget.index());
        let (spec, queue) = (&self.specs[budget.index()], &self.queue);
        let make = || Accounts::make(spec, budget.0, key);
        let found =
            self.accounts.find_or_add(now, budget.0, key, |account| queue.needs(account), make);
        found.ok().map(|at| at as usize)
    }

    fn set_limit(&mut self, now: Nanos, budget: usize, limit: u64, effects: &mut Effects) {
        let Some(spec) = self.specs.get_mut(budget) else { return };
        let account = &mut self.accounts[budget];
        account.set_limit(limit);
        spec.limit = account.limit();
        if let Some(learnt) = &mut spec.learnt {
            learnt.told(spec.limit);
        }
        let keys: Vec<usize> = self.accounts.of_budget(budget as u8).collect();
        for &at in keys.iter().filter(|_| spec.scope.is_some()) {
            if !self.accounts[at].pinned {
                self.accounts[at].set_limit(limit);
            }
        }
        self.changed(now, budget, effects);
        for at in keys {
            self.changed(now, at, effects);
        }
    }
}

/// The number of a key, for a log.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
