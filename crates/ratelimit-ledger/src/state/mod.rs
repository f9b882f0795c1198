//! Pure: the ledger's memory and its decisions, for stores that keep it whole.
//! `src/redis/exchange.lua` is the same in Redis' language; one test holds the two
//! against each other.

mod counts;
#[cfg(test)]
mod properties;
mod slots;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::{counts::CountsBudget, slots::SlotsBudget};
use crate::{Answer, Ask, Exchange, HeldUnits, LedgerError, Reply};

/// Members that are silent for so long are forgotten.
const FORGET: u64 = 600_000_000;

/// Everything that one ledger knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    epoch: String,
    /// When this memory began, if there may have been another one before it.
    created: u64,
    /// The latest time that was seen: time never runs backwards here.
    high: u64,
    slots: BTreeMap<String, SlotsBudget>,
    counts: BTreeMap<String, CountsBudget>,
}

/// What all budgets share in one exchange.
struct Turn<'a> {
    now: u64,
    created: u64,
    member: &'a str,
    seq: u64,
}

impl State {
    /// A memory that has just begun. `after_loss`: there may have been another
    /// before it, so it waits to hear from the survivors.
    pub(crate) fn new(now: u64, epoch: &str, after_loss: bool) -> Self {
        Self {
            epoch: epoch.to_owned(),
            created: if after_loss { now } else { 0 },
            high: now,
            slots: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Takes one exchange in. On an error nothing has changed.
    pub(crate) fn exchange(&mut self, now: u64, asked: &Exchange) -> Result<Reply, LedgerError> {
        let now = now.max(self.high);
        self.check(now, asked)?;
        self.high = now;
        let turn = Turn { now, created: self.created, member: &asked.member, seq: asked.seq };
        let answers = asked.asks.iter().map(|ask| self.answer(&turn, ask)).collect();
        Ok(Reply { now, epoch: self.epoch.clone(), answers })
    }

    fn check(&self, now: u64, asked: &Exchange) -> Result<(), LedgerError> {
        for ask in &asked.asks {
            let stale = match &ask.held_units {
                HeldUnits::Slots { window, .. } => {
                    let Some(known) = self.slots.get(&ask.budget) else { continue };
                    if known.window() != *window && !known.is_over(now) {
                        return Err(LedgerError::Mismatch { budget: ask.budget.clone() });
                    }
                    known.is_stale(&asked.member, asked.seq)
                }
                HeldUnits::Counts { .. } => self
                    .counts
                    .get(&ask.budget)
                    .is_some_and(|known| known.is_stale(&asked.member, asked.seq)),
            };
            if stale {
                return Err(LedgerError::Stale);
            }
        }
        Ok(())
    }

    fn answer(&mut self, turn: &Turn<'_>, ask: &Ask) -> Answer {
        match &ask.held_units {
            HeldUnits::Slots { window, .. } => {
                let known = self.slots.get(&ask.budget).map(SlotsBudget::window);
                if known != Some(*window) {
                    self.slots.insert(ask.budget.clone(), SlotsBudget::new(*window));
                }
                let budget = self.slots.get_mut(&ask.budget);
                budget.map(|budget| budget.exchange(turn, ask)).unwrap_or_default()
            }
            HeldUnits::Counts { .. } => {
                self.counts.entry(ask.budget.clone()).or_default().exchange(turn, ask)
            }
        }
    }
}

/// How many more units a member may have: its share of what there is, or at least
/// what its first call needs if it holds nothing.
fn allowed(ask: &Ask, available: u64, wanting: u64, held_by_wanting: u64) -> u64 {
    let share = (available + held_by_wanting).div_ceil(wanting.max(1));
    let mut allowed = share.saturating_sub(ask.held);
    if allowed < ask.first && ask.held == 0 {
        allowed = ask.first;
    }
    allowed.min(ask.want)
}
