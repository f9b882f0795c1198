//! Endpoints that keep failing get a longer first delay; without a clock.

use std::time::Duration;

use crate::{Class, Problem};

/// Failures that are taken for chance.
const CHANCE: f64 = 3.0;
/// The most pairs of endpoint and class that are remembered.
const PAIRS: usize = 256;

/// How a policy learns from failures. Off unless given to
/// [`RetryBuilder::learning`](crate::RetryBuilder::learning).
///
/// Each call whose first attempt fails and may be tried again counts as one, for its
/// endpoint and class, and half of what was counted is forgotten with each half-life.
/// Beyond three, the first delay of that and the next calls is multiplied by one more for each, up to the greatest
/// factor; never beyond the back-off's cap. What a server asks for is not touched.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower_retry_classify::{ConfigError, Learning, RetryPolicy};
///
/// let learning = Learning::new().half_life(Duration::from_secs(120)).max_factor(4.0);
/// let policy = RetryPolicy::<Request<()>, Response<()>>::http().learning(learning).build()?;
/// # let _ = policy;
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub struct Learning {
    half_life: Duration,
    max_factor: f64,
}

impl Learning {
    /// The defaults below.
    pub const fn new() -> Self {
        Self { half_life: Duration::from_secs(60), max_factor: 8.0 }
    }

    /// After which time half is forgotten. From 1 s to a day. Default: 60 s.
    pub const fn half_life(mut self, half_life: Duration) -> Self {
        self.half_life = half_life;
        self
    }

    /// The most by which a first delay is multiplied. From 1 to 100. Default: 8.
    pub const fn max_factor(mut self, max_factor: f64) -> Self {
        self.max_factor = max_factor;
        self
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.half_life) {
            let value = format!("{:?}", self.half_life);
            problems.push(Problem::new("half_life", value, "from 1 s to 86400 s"));
        }
        if !(1.0..=100.0).contains(&self.max_factor) {
            problems.push(Problem::new("max_factor", self.max_factor, "from 1 to 100"));
        }
    }
}

impl Default for Learning {
    fn default() -> Self {
        Self::new()
    }
}

/// What was learned. `now` counts from any fixed instant.
#[derive(Debug)]
pub(crate) struct Learner {
    rule: Learning,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    endpoint: Box<str>,
    class: Class,
    count: f64,
    at: Duration,
}

impl Learner {
    pub(crate) const fn new(rule: Learning) -> Self {
        Self { rule, pairs: Vec::new() }
    }

    /// A first attempt failed; by what its delay is multiplied.
    pub(crate) fn failed(&mut self, now: Duration, endpoint: &str, class: Class) -> f64 {
        let rule = self.rule;
        let left = |pair: &Pair| {
            let lives = now.saturating_sub(pair.at).as_secs_f64() / rule.half_life.as_secs_f64();
            pair.count * 0.5_f64.powf(lives)
        };
        let same = |pair: &Pair| pair.class == class && *pair.endpoint == *endpoint;
        let place = match self.pairs.iter().position(same) {
            Some(place) => place,
            None => {
                if self.pairs.len() >= PAIRS {
                    // The one of which the least is left makes room.
                    let least = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
                    let all = self.pairs.iter().map(left).enumerate();
                    if let Some((place, _)) = all.min_by(least) {
                        self.pairs.swap_remove(place);
                    }
                }
                self.pairs.push(Pair { endpoint: endpoint.into(), class, count: 0.0, at: now });
                self.pairs.len() - 1
            }
        };
        let pair = &mut self.pairs[place];
        // More than leads to the greatest factor would only take longer to forget.
        pair.count = (left(pair) + 1.0).min(CHANCE + rule.max_factor);
        pair.at = now;
        (1.0 + (pair.count - CHANCE).max(0.0)).min(rule.max_factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failed(learner: &mut Learner, now: u64, times: usize) -> f64 {
        (0..times).map(|_| learner.failed(at(now), "a", Class::Server)).last().unwrap()
    }

    #[test]
    fn the_delay_grows_with_failures_and_shrinks_with_time() {
        let mut learner = Learner::new(Learning::new());
        assert_eq!(failed(&mut learner, 0, 3), 1.0, "three are chance");
        assert_eq!(failed(&mut learner, 0, 2), 3.0);
        assert_eq!(failed(&mut learner, 0, 1_000), 8.0, "it has an end");
        // Eleven are left, then five and a half, and one more; then next to nothing.
        assert_eq!(failed(&mut learner, 60, 1), 4.5);
        assert_eq!(failed(&mut learner, 600, 1), 1.0);
    }

    #[test]
    fn endpoints_and_classes_are_told_apart() {
        let mut learner = Learner::new(Learning::new());
        failed(&mut learner, 0, 9);
        assert_eq!(learner.failed(at(0), "b", Class::Server), 1.0);
        assert_eq!(learner.failed(at(0), "a", Class::Timeout), 1.0);
        assert_eq!(learner.failed(at(0), "a", Class::Server), 8.0);
    }

    #[test]
    fn the_least_known_pair_makes_room() {
        let mut learner = Learner::new(Learning::new());
        failed(&mut learner, 0, 9);
        for n in 0..1_000 {
            learner.failed(at(1), &n.to_string(), Class::Server);
        }
        assert_eq!(learner.pairs.len(), PAIRS);
        assert!(learner.failed(at(1), "a", Class::Server) > 6.0, "it is still known");
    }
}
