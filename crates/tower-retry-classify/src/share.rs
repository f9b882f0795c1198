//! A share of the requests, and some retries a second, without a clock.

use std::time::Duration;

use crate::Problem;

/// Into how many parts the window is cut.
const SLOTS: usize = 10;
/// So many parts a token has: a share of 20 % brings 200 of them.
const TOKEN: i64 = 1_000;

/// Retries as a share of the requests, plus a reserve; pure.
///
/// Each request (not each attempt) brings a part of a retry, and so many retries a
/// second are there even when nothing was asked before. Both are counted over a
/// window that slides in ten steps, so what was saved in good times cannot
/// all be spent in bad ones. The defaults are Finagle's: 20 % of the requests,
/// 10 retries a second, a window of 10 s.
///
/// ```
/// use tower_retry_classify::{RetryBudget, Share};
///
/// let budget = RetryBudget::share(Share::FINAGLE.per_second(2));
/// assert_eq!(budget.available(), 20); // two for each of ten seconds
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub struct Share {
    pub(crate) ratio: f64,
    pub(crate) per_second: u32,
    pub(crate) window: Duration,
}

impl Share {
    /// The defaults above.
    pub const FINAGLE: Self = Self { ratio: 0.2, per_second: 10, window: Duration::from_secs(10) };

    /// Retries per request. From 0.001, the least that is counted, to 1,000, or 0. Default: 0.2.
    pub const fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Retries that are always there, per second. At least 1 if the ratio is 0. Default: 10.
    pub const fn per_second(mut self, retries: u32) -> Self {
        self.per_second = retries;
        self
    }

    /// How long a request counts, and a retry. From 1 s to 60 s. Default: 10 s.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The most retries that `requests` within one window allow, in that window.
    #[must_use]
    pub fn promise(&self, requests: u64) -> u64 {
        let shared = i128::from(requests) * i128::from(self.deposit());
        u64::try_from((shared + i128::from(self.reserve())) / i128::from(TOKEN)).unwrap_or(u64::MAX)
    }

    fn deposit(&self) -> i64 {
        #[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        let parts = (self.ratio.clamp(0.0, 1_000.0) * TOKEN as f64).round() as i64;
        parts
    }

    fn reserve(&self) -> i64 {
        let seconds = self.window.as_secs_f64().min(1e6);
        #[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        let parts = (f64::from(self.per_second) * seconds * TOKEN as f64) as i64;
        parts
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.ratio != 0.0 && !(0.001..=1_000.0).contains(&self.ratio) {
            problems.push(Problem::new("ratio", self.ratio, "0, or from 0.001 to 1000"));
        }
        if self.ratio == 0.0 && self.per_second == 0 {
            problems.push(Problem::new("per_second", 0, "at least 1, as the ratio is 0"));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.window) {
            let value = format!("{:?}", self.window);
            problems.push(Problem::new("window", value, "from 1 s to 60 s"));
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::FINAGLE
    }
}

/// What came in and went out, by time. `now` counts from any fixed instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    slots: [i64; SLOTS],
    /// The number of the newest slot, counted from the fixed instant.
    newest: u64,
}

impl Tally {
    /// A request came.
    pub(crate) fn request(&mut self, rule: &Share, now: Duration) {
        self.add(rule, now, rule.deposit());
    }

    /// Takes a retry out, if there is one.
    pub(crate) fn withdraw(&mut self, rule: &Share, now: Duration) -> bool {
        let enough = self.parts(rule, now) >= TOKEN;
        if enough {
            self.add(rule, now, -TOKEN);
        }
        enough
    }

    /// A retry that was paid for was not sent.
    pub(crate) fn refund(&mut self, rule: &Share, now: Duration) {
        self.add(rule, now, TOKEN);
    }

    /// Whole retries that could be taken out.
    pub(crate) fn available(&mut self, rule: &Share, now: Duration) -> u32 {
        u32::try_from(self.parts(rule, now).max(0) / TOKEN).unwrap_or(u32::MAX)
    }

    fn parts(&mut self, rule: &Share, now: Duration) -> i64 {
        self.advance(rule, now);
        self.slots.iter().fold(rule.reserve(), |sum, slot| sum.saturating_add(*slot))
    }

    fn add(&mut self, rule: &Share, now: Duration, parts: i64) {
        self.advance(rule, now);
        let slot = &mut self.slots[place(self.newest)];
        *slot = slot.saturating_add(parts);
    }

    /// Forgets what is older than the window. A clock that went back stands still.
    fn advance(&mut self, rule: &Share, now: Duration) {
        let slot = (rule.window / SLOTS as u32).max(Duration::from_millis(1));
        let number = u64::try_from(now.as_nanos() / slot.as_nanos()).unwrap_or(u64::MAX);
        let steps = number.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 1..=steps {
            self.slots[place(number - steps + step)] = 0;
        }
        self.newest = self.newest.max(number);
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn drain(tally: &mut Tally, rule: &Share, now: Duration) -> u32 {
        (0..).find(|_| !tally.withdraw(rule, now)).unwrap()
    }

    #[test]
    fn five_requests_buy_one_retry() {
        let rule = Share::FINAGLE.per_second(0);
        let mut tally = Tally::default();
        for bought in [0, 0, 0, 0, 1, 0, 0, 0, 0, 1] {
            tally.request(&rule, ms(0));
            assert_eq!(drain(&mut tally, &rule, ms(0)), bought);
        }
    }

    #[test]
    fn the_reserve_is_there_again_when_the_window_has_passed() {
        let rule = Share::FINAGLE;
        let mut tally = Tally::default();
        assert_eq!(drain(&mut tally, &rule, ms(500)), 100);
        assert_eq!(drain(&mut tally, &rule, ms(9_999)), 0);
        assert_eq!(drain(&mut tally, &rule, ms(10_000)), 100);
    }

    #[test]
    fn what_was_saved_is_forgotten_after_the_window() {
        let rule = Share::FINAGLE.per_second(0);
        let mut tally = Tally::default();
        for _ in 0..1_000 {
            tally.request(&rule, ms(0));
        }
        assert_eq!(tally.available(&rule, ms(9_999)), 200);
        assert_eq!(tally.available(&rule, ms(10_000)), 0);
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing() {
        let rule = Share::FINAGLE;
        let mut tally = Tally::default();
        assert_eq!(drain(&mut tally, &rule, ms(50_000)), 100);
        assert_eq!(tally.available(&rule, ms(0)), 0);
        assert_eq!(tally.available(&rule, ms(50_000)), 0);
    }

    #[test]
    fn a_refund_can_be_spent_again() {
        let rule = Share::FINAGLE.per_second(1).window(Duration::from_secs(1));
        let mut tally = Tally::default();
        assert!(tally.withdraw(&rule, ms(0)));
        assert!(!tally.withdraw(&rule, ms(0)));
        tally.refund(&rule, ms(0));
        assert!(tally.withdraw(&rule, ms(0)));
    }

    proptest! {
        #[test]
        fn no_window_gives_more_than_is_promised(
            ratio in 0.0..2.0, per_second in 0u32..20, seconds in 1u64..=60,
            calls in prop::collection::vec((0u64..3_000, 0u32..40, 0u32..40), 1..60),
        ) {
            let rule = Share::FINAGLE.ratio(ratio).per_second(per_second).window(Duration::from_secs(seconds));
            let mut tally = Tally::default();
            let (mut now, mut taken) = (0, Vec::new());
            let mut asked = Vec::new();
            for (step, requests, retries) in calls {
                now += step;
                for _ in 0..requests { tally.request(&rule, ms(now)); }
                let taken_now = (0..retries).filter(|_| tally.withdraw(&rule, ms(now))).count() as u64;
                asked.push((now, u64::from(requests)));
                taken.push((now, taken_now));
                // By whole slots, as the tally slides: this one and the nine before it.
                let first = (now / (seconds * 100)).saturating_sub(9) * seconds * 100;
                let within = |what: &[(u64, u64)]| -> u64 {
                    what.iter().filter(|(at, _)| *at >= first).map(|(_, n)| n).sum()
                };
                if taken_now > 0 {
                    prop_assert!(within(&taken) <= rule.promise(within(&asked)), "{:?}", tally);
                }
            }
        }

        #[test]
        fn no_value_makes_it_panic(
            ratio in any::<f64>(), per_second in any::<u32>(), window in any::<(u64, u32)>(),
            nows in prop::collection::vec(any::<(u64, u32)>(), 1..20),
        ) {
            let time = |(s, n): (u64, u32)| Duration::new(s, n % 1_000_000_000);
            let rule = Share::FINAGLE.ratio(ratio).per_second(per_second).window(time(window));
            let mut tally = Tally::default();
            for now in nows {
                tally.request(&rule, time(now));
                let _ = tally.withdraw(&rule, time(now));
                let _ = tally.available(&rule, time(now));
            }
        }
    }
}
