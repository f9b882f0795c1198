//! How long a circuit stays open.

use std::time::Duration;

/// How long a circuit stays open: constant, or growing from one opening to the next up to a cap, and spread by a jitter.
///
/// ```
/// use std::time::Duration;
/// use tower_circuit::OpenTime;
///
/// // 10 s, 20 s, 40 s, 60 s, 60 s; each of them up to a tenth shorter, so that many programs do not come back at once.
/// let time = OpenTime::constant(Duration::from_secs(10))
///     .growing(2.0, Duration::from_secs(60))
///     .jitter(0.1);
/// assert_eq!(time.nth(1, 0.0), Duration::from_secs(10));
/// assert_eq!(time.nth(3, 0.0), Duration::from_secs(40));
/// assert_eq!(time.nth(4, 0.5), Duration::from_secs(57));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub struct OpenTime {
    pub(crate) first: Duration,
    pub(crate) factor: f64,
    pub(crate) cap: Duration,
    pub(crate) jitter: f64,
}

impl OpenTime {
    /// Always the same time. Above zero and at most a day.
    pub const fn constant(time: Duration) -> Self {
        Self { first: time, factor: 1.0, cap: time, jitter: 0.0 }
    }

    /// Each opening in a row lasts `factor` times as long as the one before, but never longer than `cap`.
    ///
    /// A row goes on while trials fail, and when the circuit opens again before it has been
    /// closed for as long as it was open last; so a service that flaps is asked less and less often.
    /// `factor` lies between 1 and 100; `cap` between the first time and a day.
    pub const fn growing(mut self, factor: f64, cap: Duration) -> Self {
        self.factor = factor;
        self.cap = cap;
        self
    }

    /// Shortens each time by a random part of it, at most `share`, between 0 and 1. A time that a response
    /// named is never shortened; it is lengthened by at most that share of the first time.
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The time of the `n`-th opening in a row, counted from 1, with `random` from 0 up to but not including 1.
    #[must_use]
    pub fn nth(&self, n: u32, random: f64) -> Duration {
        let power = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
        // Beyond the range of numbers lies infinity, and the cap below it.
        let grown = self.first.as_secs_f64() * self.factor.powi(power);
        let seconds = grown.min(self.cap.as_secs_f64()) * (1.0 - self.jitter * random);
        if seconds >= self.cap.as_secs_f64() {
            self.cap
        } else {
            Duration::from_secs_f64(seconds.max(0.0))
        }
    }

    /// What is added to a named time, so that not all come at its end.
    pub(crate) fn spread(&self, random: f64) -> Duration {
        self.first.mul_f64(self.jitter * random)
    }
}

impl From<Duration> for OpenTime {
    fn from(time: Duration) -> Self {
        Self::constant(time)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_constant_time_is_exact() {
        let time = OpenTime::constant(Duration::from_nanos(1_234_567_891));
        for n in [1, 2, u32::MAX] {
            assert_eq!(time.nth(n, 0.9), Duration::from_nanos(1_234_567_891));
        }
    }

    #[test]
    fn however_many_openings_the_cap_holds() {
        let time = OpenTime::constant(SECOND).growing(100.0, 3_600 * SECOND);
        assert_eq!(time.nth(2, 0.0), 100 * SECOND);
        for n in [3, 1_000, u32::MAX] {
            assert_eq!(time.nth(n, 0.0), 3_600 * SECOND);
        }
    }

    #[test]
    fn a_whole_jitter_reaches_from_nothing_to_all_of_it() {
        let time = OpenTime::constant(10 * SECOND).jitter(1.0);
        assert_eq!(time.nth(1, 0.0), 10 * SECOND);
        assert_eq!(time.nth(1, 0.75), Duration::from_millis(2_500));
        assert!(time.nth(1, 1.0 - f64::EPSILON) < Duration::from_micros(1));
        assert_eq!(time.spread(0.5), 5 * SECOND);
    }

    proptest! {
        #[test]
        fn a_time_lies_between_its_jitter_and_the_cap_and_never_shrinks(
            first in 1_u64..86_400_000, factor in 1.0..100.0_f64, cap in 1.0..1_000.0_f64,
            jitter in 0.0..=1.0_f64, random in 0.0..1.0_f64, n in 1_u32..10_000,
        ) {
            let first = Duration::from_millis(first);
            let cap = first.mul_f64(cap).min(Duration::from_secs(86_400));
            let time = OpenTime::constant(first).growing(factor, cap).jitter(jitter);
            let full = time.nth(n, 0.0);
            prop_assert!(full <= cap && full + Duration::from_nanos(1) >= first);
            prop_assert!(time.nth(n + 1, 0.0) >= full);
            let drawn = time.nth(n, random);
            prop_assert!(drawn <= full);
            prop_assert!(drawn + Duration::from_micros(1) >= full.mul_f64(1.0 - jitter));
        }
    }
}
