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
    /// What had been spent in all when that was last looked at.
    total: u64,
    since: Nanos,
}

impl Trend {
    pub(crate) fn new(period: Nanos) -> Self {
        let slice = (period / 288).max(100_000_000);
        Self { slice, turn: 0, ends: slice, spent: [0; SLICES], total: 0, since: Nanos::MAX }
    }

    /// Something is spent for the first time.
    pub(crate) fn begin(&mut self, now: Nanos) {
        self.since = self.since.min(now);
    }

    /// When `look` is wanted at the latest, before anything more is spent.
    pub(crate) const fn wants_look(&self) -> Nanos {
        self.ends
    }

    /// So much has been spent in all, up to now.
    pub(crate) fn look(&mut self, now: Nanos, total: u64) {
        let before = std::mem::replace(&mut self.total, total);
        self.spent[0] += total.saturating_sub(before);
        let mut back = before.saturating_sub(total);
        // Something has cost less than was taken for it. It was sent lately: the
        // newest slices had it.
        for spent in &mut self.spent {
            let taken = back.min(*spent);
            *spent -= taken;
            back -= taken;
        }
        if now >= self.ends {
            let turn = now / self.slice;
            self.turn_by((turn - self.turn).min(SLICES as u64) as usize);
            (self.turn, self.ends) = (turn, (turn + 1).saturating_mul(self.slice));
        }
    }

    fn turn_by(&mut self, turns: usize) {
        self.spent.rotate_right(turns);
        self.spent[..turns].fill(0);
    }

    /// Of `total` units spent in all, those in the time looked back on, and that
    /// time; `None` before a tenth of a slice has been seen.
    pub(crate) fn rate(&mut self, now: Nanos, total: u64) -> Option<(u64, Nanos)> {
        self.look(now, total);
        let begins = (now / self.slice).saturating_sub(SLICES as u64 - 1) * self.slice;
        let seen = now.saturating_sub(begins.max(self.since.min(now)));
        let spent = self.spent.iter().sum();
        (seen >= self.slice / 10).then_some((spent, seen.max(1)))
    }

    /// When `left` more units are spent if it goes on like this; `None` if never.
    pub(crate) fn gone_at(&mut self, now: Nanos, total: u64, left: u64) -> Option<Nanos> {
        let (spent, seen) = self.rate(now, total)?;
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

    /// Spends as the limiter does: what is due is looked at before.
    struct Spender(Trend, u64);

    impl Spender {
        fn spend(&mut self, now: Nanos, n: u64) {
            if now >= self.0.wants_look() {
                self.0.look(now, self.1);
            }
            self.0.begin(now);
            self.1 += n;
        }

        fn gone_at(&mut self, now: Nanos, left: u64) -> Option<Nanos> {
            self.0.gone_at(now, self.1, left)
        }
    }

    #[test]
    fn steady_spending_is_carried_on_in_a_straight_line() {
        let mut trend = Spender(Trend::new(DAY), 0);
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
        let mut trend = Spender(Trend::new(DAY), 0);
        trend.spend(0, 1_000);
        trend.spend(2 * 3_600 * SECOND, 0);
        assert_eq!(trend.gone_at(2 * 3_600 * SECOND, 10), None);
        let mut trend = Spender(Trend::new(DAY), 0);
        trend.spend(0, 1_000);
        assert_eq!(trend.gone_at(2 * 3_600 * SECOND, 10), None);
    }

    #[test]
    fn one_call_alone_is_no_trend() {
        let mut trend = Spender(Trend::new(DAY), 0);
        trend.spend(5 * SECOND, 10);
        assert_eq!(trend.gone_at(6 * SECOND, 10), None);
    }

    #[test]
    fn what_is_given_back_is_taken_off_the_newest_slices() {
        let mut trend = Trend::new(DAY);
        trend.begin(0);
        trend.look(200 * SECOND, 30);
        trend.look(400 * SECOND, 50);
        trend.look(401 * SECOND, 15);
        assert_eq!(trend.rate(402 * SECOND, 15), Some((15, 402 * SECOND)));
    }
}
