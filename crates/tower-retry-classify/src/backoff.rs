//! How long to wait before a retry. No clock and no randomness in here.

use std::time::Duration;

/// How the delays of a [`Backoff`] grow.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Strategy {
    /// `base`, `base * factor`, `base * factor^2`, ...
    Exponential {
        /// Before the first retry. More than zero, at most a day.
        base: Duration,
        /// What each delay is multiplied by for the next. From 1 to 1,000.
        factor: f64,
    },
    /// `base`, `2 * base`, `3 * base`, ...
    Linear {
        /// Before the first retry, and added for each one after. More than zero, at most a day.
        base: Duration,
    },
    /// The same each time. Zero tries again at once, without a timer.
    Constant {
        /// Before each retry. At most a day.
        delay: Duration,
    },
    /// No retry at all.
    None,
}

/// How chance spreads a delay, so that callers that failed together do not come
/// back together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Jitter {
    /// The plain delay.
    None,
    /// Between nothing and the delay.
    Full,
    /// Between half the delay and the delay.
    Equal,
    /// Between the strategy's first delay and three times the last wait (at first,
    /// three times the first delay), up to the cap. It grows by itself and takes no
    /// notice of the strategy's growth.
    Decorrelated,
    /// Up to this part of the delay is taken off: 0.1 gives 90 % to 100 %.
    /// From 0 to 1.
    Fraction(f64),
}

/// A strategy with a cap and jitter.
///
/// ```
/// use std::time::Duration;
/// use tower_retry_classify::{Backoff, Jitter};
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), 2.0)
///     .cap(Duration::from_secs(5))
///     .jitter(Jitter::None);
/// let delay = |retry| backoff.delay(retry, Duration::ZERO, 0.5).unwrap().as_secs();
/// assert_eq!([delay(0), delay(1), delay(2), delay(3), delay(4)], [1, 2, 4, 5, 5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub struct Backoff {
    pub(crate) strategy: Strategy,
    pub(crate) cap: Duration,
    pub(crate) jitter: Jitter,
}

impl Backoff {
    /// By a strategy. Default cap: 30 s. Default jitter: 10 %.
    pub const fn new(strategy: Strategy) -> Self {
        Self { strategy, cap: Duration::from_secs(30), jitter: Jitter::Fraction(0.1) }
    }

    /// Delays that are multiplied by `factor` each time.
    pub const fn exponential(base: Duration, factor: f64) -> Self {
        Self::new(Strategy::Exponential { base, factor })
    }

    /// Delays that grow by `base` each time.
    pub const fn linear(base: Duration) -> Self {
        Self::new(Strategy::Linear { base })
    }

    /// The same delay each time.
    pub const fn constant(delay: Duration) -> Self {
        Self::new(Strategy::Constant { delay })
    }

    /// No retry at all.
    pub const fn none() -> Self {
        Self::new(Strategy::None)
    }

    /// The longest delay that is ever chosen, from the first delay to a day. It bounds our
    /// own delays only, not what a server asks for. Default: 30 s.
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How chance spreads the delays. Default: `Fraction(0.1)`, which keeps them
    /// predictable; `Full` spreads many callers that fail together best.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The delay before a retry, `None` if there is to be none.
    ///
    /// `retry` counts from 0 for the first retry. `last` is the wait before
    /// (zero before the first); only [`Jitter::Decorrelated`] looks at it.
    /// `random` lies in `[0, 1)`. Never longer than the cap.
    #[must_use]
    pub fn delay(&self, retry: u32, last: Duration, random: f64) -> Option<Duration> {
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.0 };
        let (first, plain) = match self.strategy {
            Strategy::Exponential { base, factor } => {
                (base, self.scaled(base, powi(factor, retry)))
            }
            Strategy::Linear { base } => (base, self.scaled(base, f64::from(retry) + 1.0)),
            Strategy::Constant { delay } => (delay, delay.min(self.cap)),
            Strategy::None => return None,
        };
        Some(match self.jitter {
            Jitter::None => plain,
            Jitter::Full => self.scaled(plain, random),
            Jitter::Equal => self.scaled(plain, 0.5 + 0.5 * random),
            Jitter::Fraction(part) => {
                self.scaled(plain, 1.0 - part.clamp(0.0, 1.0) * (1.0 - random))
            }
            Jitter::Decorrelated => {
                let first = first.min(self.cap);
                // Also the first: else all that failed together would come back together.
                let most = self.scaled(last.max(first), 3.0).max(first);
                // Floats round: together they may come out above the cap.
                first.saturating_add(self.scaled(most - first, random)).min(self.cap)
            }
        })
    }

    /// What a server asked for, plus a little chance: up to a tenth of it, at most
    /// a second, so that all who were told the same do not come back together.
    /// Never shorter than `after`. With [`Jitter::None`] it is `after`.
    #[must_use]
    pub fn spread(&self, after: Duration, random: f64) -> Duration {
        if self.jitter == Jitter::None || !random.is_finite() {
            return after;
        }
        let most = (after / 10).min(Duration::from_secs(1));
        after.saturating_add(most.mul_f64(random.clamp(0.0, 1.0)))
    }

    /// `delay * by`, but at most the cap, whatever `by` is.
    pub(crate) fn scaled(&self, delay: Duration, by: f64) -> Duration {
        if delay.is_zero() {
            return Duration::ZERO; // also when `by` is infinite
        }
        let seconds = delay.as_secs_f64() * by;
        Duration::try_from_secs_f64(seconds).map_or(self.cap, |scaled| scaled.min(self.cap))
    }
}

fn powi(factor: f64, retry: u32) -> f64 {
    factor.powi(i32::try_from(retry).unwrap_or(i32::MAX))
}

/// [`Profile::GENERIC`](crate::Profile::GENERIC)'s: from 1 s, doubled, to 30 s, 10 % jitter.
impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1), 2.0)
    }
}
