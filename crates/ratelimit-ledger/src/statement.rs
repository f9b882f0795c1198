//! Pure: from a limiter's report to an exchange, and from times of the ledger to
//! ours. A moment of ours lies, for the ledger, at most as late as the exchange's
//! arrival says, and at least as late as the last answer said.

use std::time::Duration;

use tokio::time::Instant;
use tower_ratelimit_tokens::{LeasedBudget, LeasedUnits};

use crate::{Ask, CountLevel, Counted, DeadLeases, HeldUnits, SlotLevel, config::Config};

/// How long a request of a day can be on its way.
const TRANSIT: Duration = Duration::from_secs(1);

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up.
fn micros_up(time: Duration) -> u64 {
    micros(time + Duration::from_nanos(999))
}

/// An answer: when it came, and the ledger's time that it told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) now: u64,
    /// How long that exchange took.
    pub(crate) trip: Duration,
}

impl Heard {
    /// The ledger's time at `at` was this at least.
    fn earliest(self, at: Instant) -> u64 {
        match at.checked_duration_since(self.at) {
            Some(later) => self.now + micros(later),
            None => self.now.saturating_sub(micros_up(self.at - at)),
        }
    }
}

pub(crate) fn ask(
    budget: &LeasedBudget,
    at: Instant,
    heard: Option<Heard>,
    config: &Config,
    leaving: bool,
) -> Option<Ask> {
    let want = if leaving { 0 } else { budget.wanted };
    let mut ask = Ask {
        budget: budget.name.to_string(),
        limit: budget.limit,
        want,
        first: budget.first.saturating_sub(budget.in_hand).clamp(1, budget.limit.max(1)),
        held: 0,
        life: micros(config.slot_life),
        ahead: micros(config.slot_ahead),
        even: budget.even,
        quiet: 0,
        held_units: HeldUnits::Slots { window: 0, transit: 0, counting: Vec::new(), level: None },
    };
    match &budget.units {
        LeasedUnits::Slots { window, transit, counting, unsent, .. } => {
            let counting = counting
                .iter()
                .map(|c| Counted {
                    dated: c.dated,
                    ends_in: micros_up(c.ends.saturating_duration_since(at)),
                    units: c.units,
                })
                .collect();
            let level = budget.level.map(|level| SlotLevel {
                counted: level.counted,
                age: micros_up(at.saturating_duration_since(level.sent_at)),
                late_at: heard.map_or(0, |heard| {
                    heard.earliest(at) + micros_up(heard.trip) + micros_up(config.timeout)
                }),
            });
            ask.held = *unsent;
            ask.quiet = micros(*window + *transit + config.slot_life);
            ask.held_units = HeldUnits::Slots {
                window: micros(*window),
                transit: micros_up(*transit),
                counting,
                level,
            };
        }
        LeasedUnits::Counts { period, ends, spent, held, settled, .. } => {
            let level = budget.level.zip(heard).map(|(level, heard)| CountLevel {
                counted: level.counted,
                since: heard.earliest(level.sent_at),
                ours: level.ours,
            });
            ask.held = *held;
            ask.life = micros(config.count_life);
            ask.quiet = micros(config.count_life + TRANSIT);
            ask.held_units = HeldUnits::Counts {
                period: period.to_string(),
                ends_in: micros(ends.saturating_duration_since(at)),
                spent: *spent,
                settled: *settled,
                dead_after: micros(config.count_life),
                returned: config.dead_leases == DeadLeases::Returned,
                level,
            };
        }
        _ => return None,
    }
    Some(ask)
}
