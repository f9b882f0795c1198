use std::{sync::Arc, time::Duration};

use jiff::civil::Date;
use tokio::time::Instant;

use crate::BudgetId;

/// How much of a leased budget is kept in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// For how long the units in hand last at the present rate of spending.
    /// Default: 200 ms; days: 1.5 s.
    pub ahead: Duration,
    /// At least so many units. Default: the budget's
    /// [`low_water`](crate::Budget::low_water), or 0.
    pub least: u64,
    /// At most so many units, besides what waiting calls need. Default: no bound.
    pub most: u64,
}

impl Default for Sizing {
    fn default() -> Self {
        Self { ahead: Duration::from_millis(200), least: 0, most: u64::MAX }
    }
}

/// What a limiter holds and needs at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseReport {
    /// The moment.
    pub at: Instant,
    /// The leased budgets.
    pub budgets: Vec<LeasedBudget>,
}

/// One leased budget in a [`LeaseReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeasedBudget {
    /// Which.
    pub id: BudgetId,
    /// Its name.
    pub name: Arc<str>,
    /// Its limit, as the limiter knows it now.
    pub limit: u64,
    /// Units wanted besides those in hand: what waiting calls need, and what the
    /// present rate spends in the [time ahead](Sizing::ahead).
    pub wanted: u64,
    /// Units that the first waiting call needs at once; at least 1.
    pub first: u64,
    /// Units in hand that can be sent at once or, dated, soon.
    pub in_hand: u64,
    /// Whether the budget is [even](crate::Budget::even): slots are to be spread over
    /// the window, for all members together.
    pub even: bool,
    /// What the server has said, the newest; at most one window or period old.
    pub level: Option<ServerLevel>,
    /// What is held.
    pub units: LeasedUnits,
}

/// A count that the server has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLevel {
    /// Units that the server counts as used.
    pub counted: u64,
    /// When the request was sent to whose answer this was.
    pub sent_at: Instant,
    /// Days: units that this limiter has spent in the period and that are surely in
    /// that count.
    pub ours: u64,
}

/// What a limiter holds of one leased budget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeasedUnits {
    /// Rolling and fixed windows.
    #[non_exhaustive]
    Slots {
        /// The length of the window.
        window: Duration,
        /// How long a request is on its way at most.
        transit: Duration,
        /// All that counts, or may come to count.
        counting: Vec<Counting>,
        /// Of these, units that can still be sent.
        unsent: u64,
    },
    /// Calendar days.
    #[non_exhaustive]
    Counts {
        /// The day, by the date on which it began.
        period: Date,
        /// When it ends.
        ends: Instant,
        /// Units spent or spoken for in this period, by this limiter.
        spent: u64,
        /// Units that were granted and can still be spent.
        held: u64,
        /// Of those spent, units whose requests were answered or lost.
        settled: u64,
    },
}

/// Units that stop counting together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counting {
    /// What the ledger calls the beginning of a slot that is not reached yet; 0 if
    /// it is reached.
    pub dated: u64,
    /// When they stop counting at the latest.
    pub ends: Instant,
    /// How many.
    pub units: u64,
}
