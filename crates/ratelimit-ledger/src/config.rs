use std::time::Duration;

/// What a limiter does while its ledger cannot be reached and its leases have run
/// out. Default: nothing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum WhenUnreachable {
    /// Calls wait, or are refused at their deadline. Never over.
    #[default]
    Closed,
    /// Calls go, at most so many units of each budget in a window, or a day. All
    /// members together may exceed the limit by as much as their statuses report.
    Open {
        /// Units of each budget, in one window or day.
        at_most: u64,
    },
    /// Each member takes this share of each limit, as was agreed beforehand. With
    /// shares that add up to one, and nobody connected, the limits hold but for the
    /// window in which the ledger was lost. What is taken is reported.
    Share {
        /// Between 0 and 1.
        fraction: f64,
    },
}

impl WhenUnreachable {
    /// Units in one window that a member may take alone.
    pub(crate) fn allowance(self, limit: u64) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { at_most } => at_most,
            Self::Share { fraction } => (limit as f64 * fraction.clamp(0.0, 1.0)) as u64,
        }
    }
}

/// What becomes of the units of a day that a member held when it died. Slots of a
/// window need no such choice: they run out by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLeases {
    /// They count as spent until the server has told a count that was made after
    /// the death; that corrects it. Never over.
    #[default]
    Spent,
    /// They go back after [`Driver::count_life`](crate::Driver::count_life) and a
    /// second. What the dead member spent after its last exchange is then unknown
    /// until the server tells.
    Returned,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) when_unreachable: WhenUnreachable,
    pub(crate) dead_leases: DeadLeases,
    pub(crate) slot_life: Duration,
    pub(crate) slot_ahead: Duration,
    pub(crate) count_life: Duration,
    pub(crate) timeout: Duration,
    pub(crate) min_gap: Duration,
    pub(crate) max_backoff: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            when_unreachable: WhenUnreachable::Closed,
            dead_leases: DeadLeases::Spent,
            slot_life: Duration::from_millis(500),
            slot_ahead: Duration::from_millis(250),
            count_life: Duration::from_secs(3),
            timeout: Duration::from_millis(600),
            min_gap: Duration::from_millis(5),
            max_backoff: Duration::from_millis(500),
        }
    }
}
