//! Pure: how fast a period's budget is spent, and when it will be gone.

use crate::moment::Nanos;

/// How many slices of time are looked back on.
const SLICES: usize = 12;

/// Spending in the last twelve slices of time, each a 288th of the period (five
/// minutes of a day), at least a tenth of a second.
#[derive(Debug)]
pub(crate) struct Trend {
    slice: Nanos,
    turn: u64,
    /// When the newest slice ends.
    ends: Nanos,
    spent: [u64; SLICES],
    since: Nanos,
}

impl Trend {
    pub(crate) fn new(period: Nanos) -> Self {
        let slice = (period / 288).max(100_000_000);
        Self { slice, turn: 0, ends: slice, spent: [0; SLICES], since: Nanos::MAX }
    }

    #[inline]
    pub(crate) fn spend(&mut self, now: Nanos, n: u64) {
        self.advance(now);
        self.spent[0] += n;
        self.since = self.since.min(now);
    }

    /// What was taken for `n` has cost `actual`.
    pub(crate) fn settle(&mut self, now: Nanos, n: u64, actual: u64) {
        self.advance(now);
        self.spent[0] += actual.saturating_sub(n);
        let mut back = n.saturating_sub(actual);
        // It was sent lately: the newest slices had it.
        for spent in &mut self.spent {
            let taken = back.min(*spent);
            *spent -= taken;
            back -= taken;
        }
    }

    #[inline]
    fn advance(&mut self, now: Nanos) {
        if now >= self.ends {
            let turn = now / self.slice;
            self.turn_by((turn - self.turn).min(SLICES as u64) as usize);
            (self.turn, self.ends) = (turn, (turn + 1).saturating_mul(self.slice));
        }
    }

    #[cold]
    fn turn_by(&mut self, turns: usize) {
        self.spent.rotate_right(turns);
        self.spent[..turns].fill(0);
    }

    /// Units in the time looked back on, and that time; `None` before a tenth of
    /// a slice has been seen.
    pub(crate) fn rate(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        self.advance(now);
        let begins = (now / self.slice).saturating_sub(SLICES as u64 - 1) * self.slice;
        let seen = now.saturating_sub(begins.max(self.since.min(now)));
        let spent = self.spent.iter().sum();
        (seen >= self.slice / 10).then_some((spent, seen.max(1)))
    }

    /// When `left` more units are spent if it goes on like this; `None` if never.
    pub(crate) fn gone_at(&mut self, now: Nanos, left: u64) -> Option<Nanos> {
        let (spent, seen) = self.rate(now)?;
        if spent == 0 {
            return None;
        }
        let time = u128::from(left) * u128::from(seen) / u128::from(spent);
        Some(now.saturating_add(u64::try_from(time).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;
    const DAY: Nanos = 86_400 * SECOND;

    #[test]
    fn steady_spending_is_carried_on_in_a_straight_line() {
        let mut trend = Trend::new(DAY);
        for second in 0..3_600 {
            trend.spend(second * SECOND, 2);
        }
        let now = 3_600 * SECOND;
        let gone = trend.gone_at(now, 7_200).unwrap();
        let in_an_hour = now + 3_600 * SECOND;
        assert!(gone.abs_diff(in_an_hour) < 60 * SECOND, "{gone} is not near {in_an_hour}");
    }

    #[test]
    fn an_hour_of_rest_forgets_what_was_before() {
        let mut trend = Trend::new(DAY);
        trend.spend(0, 1_000);
        assert_eq!(trend.gone_at(2 * 3_600 * SECOND, 10), None);
    }

    #[test]
    fn one_call_alone_is_no_trend() {
        let mut trend = Trend::new(DAY);
        trend.spend(5 * SECOND, 10);
        assert_eq!(trend.gone_at(6 * SECOND, 10), None);
    }
}
