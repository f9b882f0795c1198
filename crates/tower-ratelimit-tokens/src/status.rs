use std::{sync::Arc, time::Duration};

use crate::{
    Charge, GateReason, Priority, budget::State, charge::MAX_BUDGETS, core::Core, moment::Nanos,
};

/// The kind of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BudgetKind {
    /// At most so many in any window.
    Rolling,
    /// At most so many in each of a row of windows.
    Fixed,
    /// Refilled at a rate up to a capacity.
    Bucket,
    /// At most so many in each calendar day.
    Day,
    /// At most so many under way.
    Concurrency,
}

/// One budget at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BudgetStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: BudgetKind,
    /// Units that it holds when whole.
    pub limit: u64,
    /// Units spent, reserved or held.
    pub used: u64,
    /// Units left of the limit.
    pub remaining: u64,
    /// How long until the period ends; fixed windows and days only.
    pub resets_in: Option<Duration>,
    /// Units that the leases of this day allow in all; leased budgets only.
    pub granted: Option<u64>,
    /// Units that queued calls need.
    pub waiting: u64,
    /// Units that others spent in this period (a rolling window: ever), as far as
    /// the server's counts show. Includes what was spent before we began.
    pub foreign: u64,
    /// By how much the server's newest count changed ours.
    pub drift: i64,
    /// Whether the server has said that nothing is left; days only.
    pub exhausted: bool,
    /// How many keys have this budget for themselves; `None` if all share it. The
    /// figures above are then those of a key that has spent nothing.
    pub keys: Option<usize>,
}

/// One key's share of a budget at one moment; see
/// [`Limiter::key_status`](crate::Limiter::key_status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyStatus {
    /// Units that it holds when whole.
    pub limit: u64,
    /// Units spent, reserved or held.
    pub used: u64,
    /// Units left of the limit.
    pub remaining: u64,
}

/// Who is turned away, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShedStatus {
    /// Calls less urgent than this are refused.
    pub below: Priority,
    /// Why, in the words of whoever set it.
    pub reason: Arc<str>,
}

/// The closed gate at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GateStatus {
    /// Why it is closed.
    pub reason: GateReason,
    /// How long until it opens.
    pub opens_in: Duration,
}

/// Refusals, counted since the limiter was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Refusals {
    /// The server refused a call for coming too fast.
    pub burst: u64,
    /// The server refused a call because a day's budget was gone.
    pub exhausted: u64,
    /// The server's edge shut us out.
    pub banned: u64,
    /// The server asked for a pause in another way.
    pub paused: u64,
    /// Refused here, before anything was sent.
    pub local: u64,
}

/// What one endpoint has used since the limiter was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Usage {
    /// The endpoint; empty for calls that name none.
    pub name: Arc<str>,
    /// Calls sent.
    pub calls: u64,
    /// Units spent, by budget in the order in which they were named. Always eight
    /// places, of which those without a budget stay zero.
    pub spent: [u64; MAX_BUDGETS],
}

impl Usage {
    pub(crate) fn unnamed() -> Self {
        Self::named("".into())
    }

    pub(crate) const fn named(name: Arc<str>) -> Self {
        Self { name, calls: 0, spent: [0; MAX_BUDGETS] }
    }

    #[inline]
    pub(crate) fn add(&mut self, charge: &Charge) {
        self.calls += 1;
        for (budget, n) in charge.parts() {
            self.spent[budget] += n;
        }
    }

    pub(crate) fn settle(&mut self, charge: &Charge, actual: impl Fn(usize, u64) -> u64) {
        for (budget, n) in charge.parts() {
            let spent = &mut self.spent[budget];
            *spent = (*spent + actual(budget, n)).saturating_sub(n);
        }
    }
}

/// Everything about a limiter at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The budgets, in the order in which they were named.
    pub budgets: Vec<BudgetStatus>,
    /// Calls in the queue.
    pub waiting: usize,
    /// Calls in the queue by priority, from 0 to 10.
    pub waiting_by_priority: [usize; Priority::COUNT],
    /// Who is turned away, if anybody is.
    pub shedding: Option<ShedStatus>,
    /// The gate, if it is closed.
    pub gate: Option<GateStatus>,
    /// Use by endpoint. The first entry is that of calls that name none.
    pub endpoints: Vec<Usage>,
    /// Refusals, by kind.
    pub refusals: Refusals,
}

impl Status {
    /// The budget of that name.
    #[must_use]
    pub fn budget(&self, name: &str) -> Option<&BudgetStatus> {
        self.budgets.iter().find(|budget| &*budget.name == name)
    }
}

pub(crate) fn snapshot(core: &mut Core, now: Nanos) -> Status {
    let until = |at: Nanos| Duration::from_nanos(at.saturating_sub(now));
    let budgets = (0..core.specs.len()).map(|index| {
        let keyed = core.specs[index].scope.is_some();
        let keys = keyed.then(|| core.accounts.keys_of(index));
        let (spec, account) = (&core.specs[index], &mut core.accounts[index]);
        let (used, limit) = (account.used(now), account.limit());
        let kind = match &account.state {
            State::Rolling(_) => BudgetKind::Rolling,
            State::Fixed(_) => BudgetKind::Fixed,
            State::Bucket(_) => BudgetKind::Bucket,
            State::Day(_) => BudgetKind::Day,
            State::Concurrency(_) => BudgetKind::Concurrency,
        };
        BudgetStatus {
            name: Arc::clone(&spec.name),
            kind,
            limit,
            used,
            remaining: limit.saturating_sub(used),
            resets_in: account.ends().map(until),
            granted: account.day().and_then(|day| day.granted()),
            waiting: core.queue.need(index),
            foreign: account.foreign(),
            drift: account.drift(),
            exhausted: account.day().is_some_and(|day| day.closed(now)),
            keys,
        }
    });
    let budgets = budgets.collect();
    let shed = &core.shed;
    Status {
        budgets,
        waiting: core.queue.len(),
        waiting_by_priority: *core.queue.by_priority(),
        shedding: (shed.below > Priority::LOWEST)
            .then(|| ShedStatus { below: shed.below, reason: Arc::clone(&shed.reason) }),
        gate: core.gate.closed(now).map(|(at, reason)| GateStatus { reason, opens_in: until(at) }),
        endpoints: core.usage.clone(),
        refusals: core.refusals,
    }
}
