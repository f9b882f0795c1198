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
    day: Option<(Date, u64)>,
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

    /// Of `want` units of a day, those that may still go.
    pub(crate) fn counts(&mut self, day: Date, most: u64, want: u64) -> u64 {
        let taken = match &mut self.day {
            Some((known, taken)) if *known == day => taken,
            day_of => &mut day_of.insert((day, 0)).1,
        };
        let units = want.min(most.saturating_sub(*taken));
        *taken += units;
        units
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
        let units = match &budget.units {
            LeasedUnits::Slots { window, transit, .. } => {
                let span = *window + *transit + config.slot_life;
                let units = allowed.slots(now, span, most, budget.wanted);
                leases.grant_slots(budget.id, units, now, now + config.slot_life, 0);
                units
            }
            LeasedUnits::Counts { period, .. } => {
                let units = allowed.counts(*period, most, budget.wanted);
                if units > 0 {
                    leases.give_up_of(budget.id);
                    leases.grant_count(budget.id, *period, units, now + config.count_life);
                }
                units
            }
            _ => 0,
        };
        if units < budget.wanted {
            short.push(budget.id);
        }
        if units > 0 {
            events::overshoot(&budget.name, units);
            status.send_modify(|status| status.of(&budget.name).overshoot += units);
        }
    }
    short
}
