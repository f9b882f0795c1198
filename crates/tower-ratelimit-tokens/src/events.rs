//! The events of this crate; the table in the crate docs lists them.

use std::sync::Arc;

use crate::{Refused, core::News, limiter::millis};

const TARGET: &str = "tower_ratelimit_tokens";

pub(crate) fn tell(names: &[Arc<str>], news: &News) {
    let name = |budget: u8| names.get(usize::from(budget)).map_or("", |name| &**name);
    match news {
        News::GateClosed { for_, reason } => {
            let for_ = *for_;
            tracing::warn!(target: TARGET, event = "gate_closed", for_ms = millis(for_), %reason);
        }
        News::Exhausted { budget, for_ } => {
            let (budget, for_ms) = (name(*budget), millis(*for_));
            tracing::warn!(target: TARGET, event = "budget_exhausted", budget, for_ms);
        }
        News::NewDay { budget } => {
            tracing::info!(target: TARGET, event = "new_day", budget = name(*budget));
        }
        News::Foreign { budget, units } => {
            tracing::debug!(target: TARGET, event = "foreign_use", budget = name(*budget), units);
        }
        News::Warning { budget, used, limit } => {
            tracing::warn!(target: TARGET, event = "budget_warning", budget = name(*budget), used, limit);
        }
        News::LimitLearnt { budget, limit } => {
            tracing::info!(target: TARGET, event = "limit_learnt", budget = name(*budget), limit);
        }
        News::Shedding { below, reason } => {
            tracing::warn!(target: TARGET, event = "shedding", below = below.level(), %reason);
        }
    }
}

pub(crate) fn refused(refused: &Refused) {
    tracing::debug!(
        target: TARGET,
        event = "refused",
        kind = ?refused.kind(),
        budget = refused.budget().unwrap_or(""),
        retry_ms = refused.retry_after().map(millis),
        reason = refused.reason(),
    );
}
