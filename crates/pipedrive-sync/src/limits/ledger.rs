//! How a process stands to the ledger by which it shares its budgets.

use pipedrive_service::config::LedgerUrl;
use ratelimit_ledger::LedgerStatus;
use serde::{Deserialize, Serialize};

/// A ledger that several processes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPicture {
    /// Where it is.
    pub url: String,
    /// Whether the last exchange succeeded.
    pub connected: bool,
    /// It has lost its memory and grants nothing for one window.
    pub quiet: bool,
    /// Exchanges that were answered.
    pub exchanges: u64,
    /// Exchanges that failed.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub error: Option<String>,
    /// The budgets, as all members together use them.
    pub budgets: Vec<LedgerBudgetPicture>,
}

/// One budget of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerBudgetPicture {
    /// Its name.
    pub name: String,
    /// Units that count now, of all members.
    pub used: u64,
    /// Units that this member allowed itself while the ledger could not be reached.
    pub overshoot: u64,
    /// Units that others than the members were found to have spent.
    pub foreign: u64,
}

impl LedgerPicture {
    pub(super) fn of(url: &LedgerUrl, status: &LedgerStatus) -> Self {
        let budgets = status.budgets.iter().map(|budget| LedgerBudgetPicture {
            name: budget.name.as_ref().to_owned(),
            used: budget.used,
            overshoot: budget.overshoot,
            foreign: budget.foreign,
        });
        Self {
            url: url.to_string(),
            connected: status.connected,
            quiet: status.quiet,
            exchanges: status.exchanges,
            failures: status.failures,
            error: status.error.as_deref().map(str::to_owned),
            budgets: budgets.collect(),
        }
    }
}
