//! The events of this crate; the table in the crate docs lists them.

use std::time::Duration;

use crate::{LedgerError, WhenUnreachable};

const TARGET: &str = "ratelimit_ledger";

pub(crate) fn connected(round_trip: Duration, quiet: bool) {
    let round_trip_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(target: TARGET, event = "ledger_connected", round_trip_us, quiet);
}

pub(crate) fn unreachable(error: &LedgerError, policy: WhenUnreachable) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    tracing::warn!(target: TARGET, event = "ledger_unreachable", %error, source, ?policy);
}

pub(crate) fn memory_lost() {
    tracing::warn!(target: TARGET, event = "ledger_memory_lost");
}

pub(crate) fn overshoot(budget: &str, units: u64) {
    tracing::debug!(target: TARGET, event = "allowed_without_ledger", budget, units);
}

pub(crate) fn foreign(budget: &str, units: u64) {
    tracing::debug!(target: TARGET, event = "foreign_use", budget, units);
}
