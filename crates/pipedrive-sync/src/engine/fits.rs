//! Whether a plan fits into what the day has.

use super::{DayLease, START_UP_TOKENS, plan::Plan};
use crate::{
    exit::{Code, Failure},
    wall,
};

/// What to do, and what to do where the day has no tokens for all of it.
pub(super) struct Plans {
    pub(super) plan: Plan,
    pub(super) thrift: Option<Plan>,
}

impl Plans {
    pub(super) fn least(&self) -> &Plan {
        self.thrift.as_ref().unwrap_or(&self.plan)
    }

    /// What fits into the tokens left.
    pub(super) fn choose(self, left: u64) -> Plan {
        match self.thrift {
            Some(thrift) if self.plan.tokens > left => thrift,
            _ => self.plan,
        }
    }
}

/// Whether the day's budget is enough, said before anything is spent on the plan.
pub(super) fn fits(
    plan: &Plan,
    lease: &DayLease,
    server_told: bool,
    across_days: bool,
) -> Result<(), Failure> {
    let kept = lease.kept();
    let of = if kept > 0 { " (less what is kept for urgent calls)" } else { "" };
    let limit = lease.limit().saturating_sub(kept);
    // A page of each list; over several days, of one at a time.
    let pages = plan.walks.iter().map(|walk| u64::from(walk.entity.list_cost()));
    let pages = if across_days { pages.max().unwrap_or(0) } else { pages.sum() };
    let least = START_UP_TOKENS + pages;
    let tokens = plan.tokens;
    if limit < least || (limit < tokens && !across_days) {
        let hint = if limit < least && across_days {
            "it does not even pay for one page"
        } else if limit < least {
            "ask for fewer entities"
        } else {
            "ask for fewer entities, or pass --across-days"
        };
        return Err(Failure::new(
            Code::Budget,
            format!(
                "the daily budget of {limit} tokens{of} is too small: the plan needs {tokens}; {hint}"
            ),
        ));
    }
    // Before the server has told, what a killed run had leased counts as spent, which may be too much.
    let remaining = limit.saturating_sub(lease.used());
    if server_told && remaining < least.min(tokens) {
        let again_at = lease.resets_at();
        let when = again_at.map_or_else(
            || "after the daily reset".to_owned(),
            |at| format!("at {}", wall::text(at)),
        );
        let line = format!(
            "{remaining} of {limit} tokens{of} are left today, and the plan needs {tokens}; it can go on {when}"
        );
        return Err(Failure { again_at, ..Failure::new(Code::Budget, line) });
    }
    Ok(())
}
