//! Pure: who goes first.

use crate::{Priority, moment::Nanos};

/// Who goes first: the lesser one.
///
/// The rank is the time of arrival less a time per level of priority. As all
/// grow older at the same speed, the order between two calls never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) rank: i64,
    pub(crate) seq: u64,
}

impl Order {
    pub(crate) const LEAST: Self = Self { rank: i64::MIN, seq: 0 };

    /// `per_level`: how much longer a call of one level less has to have waited.
    pub(crate) fn new(arrived: Nanos, priority: Priority, per_level: Nanos, seq: u64) -> Self {
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX);
        let lead = u64::from(priority.level()).saturating_mul(per_level);
        let lead = i64::try_from(lead).unwrap_or(i64::MAX);
        Self { rank: arrived.saturating_sub(lead), seq }
    }
}
