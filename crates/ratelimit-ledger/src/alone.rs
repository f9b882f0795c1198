//! What a member allows itself while the ledger cannot be reached.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::civil::Date;
use tokio::{sync::watch, time::Instant};
use tower_ratelimit_tokens::{BudgetId, LeasedUnits, Leases};

use crate::{LedgerStatus, WhenUnreachable, config::Config, events};

/// What was allowed of one budget.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    recent: VecDeque<(Instant, u64)>,
    day: Option<Day>,
}

/// What goes of a day alone is what was spent since the ledger went and what is in
/// hand: that is looked at, and not added up from the grants, which may run out
/// unspent.
#[derive(Debug)]
struct Day {
    period: Date,
    /// Spent alone before, while the ledger was away the last times.
    before: u64,
    /// What was settled when the ledger went this time; `None` while it is there.
    since: Option<u64>,
    /// The most that was spent alone or in hand for that.
    told: u64,
}

/// One look at the units of a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DayLook {
    pub(crate) period: Date,
    pub(crate) spent: u64,
    pub(crate) settled: u64,
    pub(crate) in_hand: u64,
    pub(crate) wanted: u64,
}

/// What may go of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayGrant {
    pub(crate) units: u64,
    /// What is in hand is the ledger's, and is given up for `units`.
    pub(crate) give_up: bool,
    /// By so much more the limit may be exceeded.
    pub(crate) overshoot: u64,
    pub(crate) short: bool,
}

impl Alone {
    /// Of `want` units of a window, those that may still go; `span` is how long
    /// after its grant a unit can be in a window.
    pub(crate) fn slots(&mut self, now: Instant, span: Duration, most: u64, want: u64) -> u64 {
        while self.recent.front().is_some_and(|&(at, _)| at + span <= now) {
            self.recent.pop_front();
        }
        let taken: u64 = self.recent.iter().map(|&(_, units)| units).sum();
        let units = want.min(most.saturating_sub(taken));
        if units > 0 {
            self.recent.push_back((now, units));
        }
        units
    }

    /// Of the units of a day that are wanted, those that may still go.
    pub(crate) fn counts(&mut self, most: u64, look: DayLook) -> DayGrant {
        let fresh = Day { period: look.period, before: 0, since: None, told: 0 };
        let day = match &mut self.day {
            Some(day) if day.period == look.period => day,
            day => day.insert(fresh),
        };
        let give_up = day.since.is_none();
        let since = day.since.unwrap_or(look.settled);
        let (kept, wanted) = match give_up {
            true => (0, look.wanted.saturating_add(look.in_hand)),
            false => (look.in_hand, look.wanted),
        };
        let taken = day.before + look.spent.saturating_sub(since) + kept;
        let units = wanted.min(most.saturating_sub(taken));
        let short = units < wanted;
        if units == 0 {
            return DayGrant { short, ..DayGrant::default() };
        }
        day.since = Some(since);
        let overshoot = (taken + units).saturating_sub(day.told);
        day.told += overshoot;
        DayGrant { units, give_up, overshoot, short }
    }

    /// The ledger is there again, and was told of all that is `spent`.
    pub(crate) fn over(&mut self, spent: u64) {
        if let Some(day) = &mut self.day
            && let Some(since) = day.since.take()
        {
            day.before += spent.saturating_sub(since);
        }
    }
}

/// Grants what the policy allows without the ledger. Returns the budgets of which
/// that is less than is wanted.
pub(crate) fn allow(
    leases: &Leases,
    (config, policies): (Config, &HashMap<String, WhenUnreachable>),
    alone: &mut HashMap<usize, Alone>,
    status: &watch::Sender<LedgerStatus>,
) -> Vec<BudgetId> {
    let now = Instant::now();
    let mut short = Vec::new();
    let Some(report) = leases.report(now) else { return short };
    for budget in report.budgets.iter().filter(|budget| budget.wanted > 0) {
        let policy = policies.get(&*budget.name).copied().unwrap_or(config.when_unreachable);
        let most = policy.allowance(budget.limit);
        let allowed = alone.entry(budget.id.index()).or_default();
        let (overshoot, is_short) = match &budget.units {
            LeasedUnits::Slots { window, transit, .. } => {
                let span = *window + *transit + config.slot_life;
                let units = allowed.slots(now, span, most, budget.wanted);
                leases.grant_slots(budget.id, units, now, now + config.slot_life, 0);
                (units, units < budget.wanted)
            }
            LeasedUnits::Counts { period, spent, settled, .. } => {
                let look = DayLook {
                    period: *period,
                    spent: *spent,
                    settled: *settled,
                    in_hand: budget.in_hand,
                    wanted: budget.wanted,
                };
                let grant = allowed.counts(most, look);
                if grant.give_up {
                    leases.give_up_of(budget.id);
                }
                if grant.units > 0 {
                    let until = now + config.count_life;
                    leases.grant_count(budget.id, *period, grant.units, until);
                }
                (grant.overshoot, grant.short)
            }
            _ => (0, true),
        };
        if is_short {
            short.push(budget.id);
        }
        if overshoot > 0 {
            events::overshoot(&budget.name, overshoot);
            status.send_modify(|status| status.of(&budget.name).overshoot += overshoot);
        }
    }
    short
}
