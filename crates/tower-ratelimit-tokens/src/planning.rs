use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    BudgetId, Charge, Limiter, Terms, budget::Fit, charge::MAX_BUDGETS, core::Claim, moment::Nanos,
    status::Usage,
};

/// Answer of [`Limiter::would_admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// At once.
    Now,
    /// Later.
    At {
        /// The likely moment; `None` if it depends on an answer or on a lease.
        when: Option<Instant>,
        /// The budget that binds; `None` if it is the gate or the queue.
        budget: Option<BudgetId>,
    },
    /// The charge is greater than the budget's limit.
    Never {
        /// The budget; `None` if the charge names one that this limiter has not.
        budget: Option<BudgetId>,
    },
}

/// What a piece of work needs of one budget; see [`Limiter::plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetNeed {
    /// The budget's name.
    pub name: Arc<str>,
    /// Units needed in all.
    pub needed: u64,
    /// Units left now, less what queued calls need.
    pub left: u64,
    /// When the last unit could be spent at best. `None` for concurrency, and if
    /// one call costs more than the budget ever holds.
    pub ends: Option<Instant>,
    /// Whether one call costs more than the budget ever holds.
    pub never: bool,
}

/// What a piece of work would cost and when it could be done; given by
/// [`Limiter::plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// By budget, for those that the work needs.
    pub budgets: Vec<BudgetNeed>,
    /// How many calls.
    pub calls: u64,
    /// The earliest moment at which all of it can have been sent; `None` if never.
    /// It supposes that nobody else spends, that no call fails, and that days are
    /// of 24 hours.
    pub ends: Option<Instant>,
}

impl Plan {
    /// Whether all of it fits into what is left of every budget's present period.
    #[must_use]
    pub fn fits_now(&self) -> bool {
        self.budgets.iter().all(|need| !need.never && need.needed <= need.left)
    }

    /// The need of the budget of that name.
    #[must_use]
    pub fn budget(&self, name: &str) -> Option<&BudgetNeed> {
        self.budgets.iter().find(|need| &*need.name == name)
    }
}

/// When a period's budget will be gone, if spending goes on as it did; given by
/// [`Limiter::forecast`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// When nothing will be left.
    pub gone_at: Instant,
    /// When the period ends.
    pub resets_at: Instant,
    /// Units spent in `over`: what is carried on in a straight line.
    pub spent: u64,
    /// The time that was looked back on: at most the last 24th of the period.
    pub over: Duration,
}

impl Forecast {
    /// Whether it will be gone before the period ends.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.gone_at < self.resets_at
    }
}

/// A cost that the server shows to be another than the one that is charged; given
/// by [`Limiter::cost_proposals`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CostProposal {
    /// The endpoint; empty for calls that name none.
    pub endpoint: Arc<str>,
    /// The budget.
    pub budget: Arc<str>,
    /// What is charged.
    pub charged: u32,
    /// What most answers have shown.
    pub actual: u32,
    /// How many answers have been seen.
    pub answers: u32,
}

impl Limiter {
    /// When `charge` could be paid if it were asked for now on these terms, behind
    /// those who stand before it. Spends nothing.
    #[must_use]
    pub fn would_admit(&self, charge: &Charge, terms: impl Into<Terms>) -> Admission {
        let terms = terms.into();
        let (outlook, epoch) = self.with(Instant::now(), |core, now, _| {
            let claim = Claim::of(&terms, core.epoch);
            (core.outlook(now, charge, claim), core.epoch)
        });
        let wait = match outlook {
            Ok(None) => return Admission::Now,
            Ok(Some(wait)) => wait,
            Err(refusal) => {
                return Admission::At { when: None, budget: refusal.budget.map(BudgetId) };
            }
        };
        let budget = wait.budget.map(BudgetId);
        match wait.fit {
            Fit::Now => Admission::Now,
            Fit::At(when) | Fit::Exhausted(when) => {
                Admission::At { when: Some(epoch.instant(when)), budget }
            }
            Fit::Event | Fit::Leased(_) | Fit::Behind => Admission::At { when: None, budget },
            Fit::Never => Admission::Never { budget },
        }
    }

    /// What these calls, each so many times, would cost, and when all could have
    /// been sent at the earliest. Spends nothing. Keyed budgets are left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_ratelimit_tokens::{Budget, Charge, Limiter};
    ///
    /// let mut limits = Limiter::builder();
    /// let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(2)));
    /// let hour = limits.budget("hour", Budget::fixed(10_000, Duration::from_secs(3_600)));
    /// let limiter = limits.build()?;
    ///
    /// let list = Charge::new().with(burst, 1).with(hour, 20);
    /// let plan = limiter.plan([(list, 300)]);
    /// assert_eq!(plan.budget("hour").map(|need| need.needed), Some(6_000));
    /// assert!(plan.budget("hour").is_some_and(|need| need.needed <= need.left));
    /// // 300 requests at 100 in 2 s: the last hundred goes after four seconds.
    /// let ends = plan.ends.expect("it can be done") - tokio::time::Instant::now();
    /// assert!(ends > Duration::from_secs(3) && ends < Duration::from_secs(5));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn plan(&self, calls: impl IntoIterator<Item = (Charge, u64)>) -> Plan {
        let (mut needed, mut largest) = ([0_u64; MAX_BUDGETS], [0_u64; MAX_BUDGETS]);
        let mut count = 0_u64;
        for (charge, times) in calls.into_iter().filter(|(_, times)| *times > 0) {
            count = count.saturating_add(times);
            for (budget, n) in charge.parts() {
                needed[budget] = needed[budget].saturating_add(n.saturating_mul(times));
                largest[budget] = largest[budget].max(n);
            }
        }
        let (plans, epoch) = self
            .with(Instant::now(), |core, now, _| (core.plan(now, &needed, &largest), core.epoch));
        let mut ends = Some(Instant::now());
        let mut budgets = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            let (Some(plan), Some(name)) = (plan, self.name(index as u8)) else { continue };
            let last = plan.ends.map(|at: Nanos| epoch.instant(at));
            ends = if plan.never {
                None
            } else {
                ends.map(|ends| last.map_or(ends, |at| at.max(ends)))
            };
            let (needed, left, never) = (plan.needed, plan.left, plan.never);
            budgets.push(BudgetNeed { name, needed, left, ends: last, never });
        }
        Plan { budgets, calls: count, ends }
    }

    /// When a fixed window's or a day's budget will be gone, if spending goes on
    /// as it did in the last 24th of its period. `None` for other budgets, and
    /// until something has been seen to be spent.
    #[must_use]
    pub fn forecast(&self, budget: BudgetId) -> Option<Forecast> {
        self.with(Instant::now(), |core, now, _| {
            let (gone_at, resets_at, spent, over) = core.forecast(now, budget.index())?;
            let (gone_at, resets_at) = (core.epoch.instant(gone_at), core.epoch.instant(resets_at));
            Some(Forecast { gone_at, resets_at, spent, over: Duration::from_nanos(over) })
        })
    }

    /// Costs that the server's answers show to be others than those charged, for
    /// endpoints that calls [name](Charge::at). What it costs is learnt from
    /// [`Settle::Actual`](crate::Settle::Actual), from
    /// [`Observation::Cost`](crate::Observation::Cost), and for fixed windows and
    /// days from the levels that two answers tell with nothing else sent in between.
    /// Others' spending, which looks like a cost now and then, is outvoted.
    #[must_use]
    pub fn cost_proposals(&self) -> Vec<CostProposal> {
        let found = self.with(Instant::now(), |core, _, _| {
            let learners = core.learners.iter().zip(&core.usage);
            let all = learners.flat_map(|(learner, usage)| {
                let proposals = (0..MAX_BUDGETS).filter_map(|b| Some((b, learner.proposal(b)?)));
                proposals.map(|(budget, proposal)| (Arc::clone(&usage.name), budget, proposal))
            });
            all.collect::<Vec<_>>()
        });
        let named =
            found.into_iter().filter_map(|(endpoint, budget, (charged, actual, answers))| {
                let budget = self.name(budget as u8)?;
                Some(CostProposal { endpoint, budget, charged, actual, answers })
            });
        named.collect()
    }

    /// Use by endpoint since the limiter was built, the greatest use of `budget`
    /// first.
    #[must_use]
    pub fn quota_report(&self, budget: BudgetId) -> Vec<Usage> {
        let mut usage = self.with(Instant::now(), |core, _, _| core.usage.clone());
        usage.retain(|usage| usage.calls > 0);
        usage.sort_by_key(|usage| std::cmp::Reverse(usage.spent.get(budget.index()).copied()));
        usage
    }
}
