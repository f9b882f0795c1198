//! Pure: units of a calendar day.

use jiff::civil::Date;

use super::Level;
use crate::{budget::Slot, moment::Nanos};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) period: Option<Date>,
    pub(super) started: Nanos,
    /// Given to us for this period, in all.
    pub(super) granted: u64,
    /// Of these, spent or spoken for.
    pub(super) spent: u64,
    /// Admitted and not yet sent.
    pub(super) reserved: u64,
    /// Sent, and not yet answered.
    pub(super) under_way: u64,
    /// What is not spent may be sent until then.
    pub(super) until: Nanos,
    pub(super) level: Option<Level>,
    /// Spent of this period by others, as far as the ledger has said.
    pub(super) elsewhere: u64,
}

impl Counts {
    pub(super) const fn left(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    pub(super) fn ended(&mut self, slot: &Slot) {
        if slot.tracked {
            self.under_way = self.under_way.saturating_sub(slot.n);
        }
    }

    pub(crate) const fn day(&self) -> Option<Date> {
        self.period
    }

    pub(crate) const fn spent(&self) -> u64 {
        self.spent
    }

    pub(crate) const fn held(&self) -> u64 {
        self.left()
    }

    /// Spent and answered.
    pub(crate) const fn settled(&self) -> u64 {
        self.spent.saturating_sub(self.reserved).saturating_sub(self.under_way)
    }

    pub(crate) const fn level(&self) -> Option<Level> {
        self.level
    }
}
