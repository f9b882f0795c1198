use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// How a driver and its ledger stand to each other.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// Whether the last exchange succeeded.
    pub connected: bool,
    /// The ledger lost its memory and waits for one window; nothing is granted yet.
    pub quiet: bool,
    /// Exchanges that were answered: round trips to the store.
    pub exchanges: u64,
    /// Exchanges that failed.
    pub failures: u64,
    /// When the last one was answered.
    pub last_exchange: Option<Instant>,
    /// How long it took.
    pub round_trip: Duration,
    /// Why the last one failed, if it did.
    pub error: Option<Arc<str>>,
    /// How often the ledger was found to have lost its memory.
    pub memory_lost: u64,
    /// The leased budgets.
    pub budgets: Vec<LedgerBudget>,
}

/// One budget in a [`LedgerStatus`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerBudget {
    /// Its name.
    pub name: Arc<str>,
    /// Units that count now, of all members, as the ledger last said.
    pub used: u64,
    /// Units granted by the ledger since the start.
    pub granted: u64,
    /// Units that this member allowed itself while the ledger could not be reached:
    /// by so much at most its members may have exceeded the limit because of it.
    pub overshoot: u64,
    /// Units that others were found to have spent.
    pub foreign: u64,
}

impl LedgerStatus {
    /// Units that were allowed without the ledger, of all budgets together.
    #[must_use]
    pub fn overshoot(&self) -> u64 {
        self.budgets.iter().map(|budget| budget.overshoot).sum()
    }

    /// The budget of this name.
    #[must_use]
    pub fn budget(&self, name: &str) -> Option<&LedgerBudget> {
        self.budgets.iter().find(|budget| &*budget.name == name)
    }

    pub(crate) fn of(&mut self, name: &Arc<str>) -> &mut LedgerBudget {
        let at = self.budgets.iter().position(|budget| budget.name == *name).unwrap_or_else(|| {
            let name = Arc::clone(name);
            self.budgets.push(LedgerBudget { name, used: 0, granted: 0, overshoot: 0, foreign: 0 });
            self.budgets.len() - 1
        });
        &mut self.budgets[at]
    }
}
