use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{
    json,
    pause::Belief,
    some_time,
    text::{GLANCE, Number, contains},
    unavailable,
};
use crate::{BudgetId, GateReason, HttpDialect, Observation, Observations, WallClock};

/// What the responses of Autotask's REST API say.
///
/// | response | read as |
/// | --- | --- |
/// | the answer of `ThresholdInformation`: `externalRequestThreshold`, `currentTimeframeRequestCount` | level of the hour's budget: the one less the other |
/// | an error whose text has `Itgenatr005` or speaks of a thread threshold or limit | too many at once: the gate closes for `Retry-After`, or else for [`threads_for`](Self::threads_for) |
/// | any other error whose text says that a threshold is exceeded, and any other response with the [refusal's status](Self::refused_with) | the hour's budget is exhausted for `Retry-After`, or else for [`refused_for`](Self::refused_for) |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// Autotask tells no level in headers: somebody must ask for
/// `ThresholdInformation` now and then, through the same limiter, as that counts
/// too. The threshold is that of the last 60 minutes and of all integrations of a
/// database together: a budget `Budget::rolling(10_000, hour)`.
///
/// An error is any status from 400 on. Its text is looked through whatever the
/// status is, because Autotask answers most errors with 500.
///
/// Sources: [Thread limiting] and *Thresholds and limits* of the same help. Not
/// documented, so settings: the status of a refusal, whether it has
/// `Retry-After`, and how long to wait without. The shape of
/// `ThresholdInformation` and the texts are those that public clients read.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{
///     AutotaskDialect, Budget, Dialect, Limiter, Observation, SystemClock,
/// };
///
/// let mut limits = Limiter::builder();
/// let hour = limits.budget("hour", Budget::rolling(10_000, Duration::from_secs(3_600)));
///
/// let answer = r#"{"externalRequestThreshold":10000,"requestThresholdTimeframe":60,
///     "currentTimeframeRequestCount":7400}"#;
/// let said = AutotaskDialect::new(hour).observe(&http::Response::new(answer), &SystemClock);
/// let level =
///     Observation::Level { budget: hour, limit: Some(10_000), remaining: 2_600, reset: None };
/// assert_eq!(said.iter().next(), Some(&level));
/// ```
///
/// [Thread limiting]: https://www.autotask.net/help/developerhelp/Content/APIs/General/ThreadLimiting.htm
#[derive(Clone, Copy, Debug)]
pub struct AutotaskDialect {
    hour: BudgetId,
    threads: Option<BudgetId>,
    refused_with: StatusCode,
    refused_for: Duration,
    threads_for: Duration,
    belief: Belief,
}

impl AutotaskDialect {
    /// Tells `hour`, the budget of the last 60 minutes, what the responses say.
    #[must_use]
    pub const fn new(hour: BudgetId) -> Self {
        Self {
            hour,
            threads: None,
            refused_with: StatusCode::TOO_MANY_REQUESTS,
            refused_for: Duration::from_secs(60),
            threads_for: Duration::from_secs(1),
            belief: Belief::DEFAULT,
        }
    }

    /// The concurrency budget that a thread refusal is about. Default: none; it
    /// is then told as a pause.
    #[must_use]
    pub const fn threads(mut self, budget: BudgetId) -> Self {
        self.threads = Some(budget);
        self
    }

    /// The status of a refusal, whatever its text says. Default: 429, which
    /// clients expect; Autotask does not document one.
    #[must_use]
    pub const fn refused_with(mut self, status: StatusCode) -> Self {
        self.refused_with = status;
        self
    }

    /// How long the hour's budget stays exhausted after a refusal that names no
    /// time. Default: 60 s, a guess: use falls bit by bit as the hour moves on.
    #[must_use]
    pub const fn refused_for(mut self, pause: Duration) -> Self {
        self.refused_for = pause;
        self
    }

    /// How long the gate closes after a thread refusal that names no time.
    /// Default: 1 s, a guess: the place is free when another request ends.
    #[must_use]
    pub const fn threads_for(mut self, pause: Duration) -> Self {
        self.threads_for = pause;
        self
    }

    /// A longer pause is taken for garbage and counts as not said. Default:
    /// [`BELIEVED_PAUSE`](super::BELIEVED_PAUSE), 32 days; never more than
    /// [`MAX_PAUSE`](super::MAX_PAUSE).
    #[must_use]
    pub const fn believe_up_to(mut self, pause: Duration) -> Self {
        self.belief = Belief::up_to(pause);
        self
    }

    fn threshold(&self, text: &[u8]) -> Option<Observation> {
        // It is short; other answers are not walked through.
        let text = Some(text).filter(|text| text.len() <= GLANCE)?;
        let number = |name| json::number(text, &[name]).map(Number::down);
        let limit = number("externalRequestThreshold")?;
        let remaining = limit.saturating_sub(number("currentTimeframeRequestCount")?);
        Some(Observation::Level { budget: self.hour, limit: Some(limit), remaining, reset: None })
    }
}

impl HttpDialect for AutotaskDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        if status.is_success() {
            return self.threshold(text).map_or_else(Observations::none, Into::into);
        }
        let failed = status.is_client_error() || status.is_server_error();
        let says = |word: &[u8]| failed && contains(text, word);
        let threads = says(b"itgenatr005") || says(b"thread threshold") || says(b"thread limit");
        let threshold = says(b"threshold") && says(b"exceeded");
        let pause = || some_time(self.belief.retry_after(headers, clock));
        if threads {
            let pause = pause().unwrap_or(self.threads_for);
            return match self.threads {
                Some(budget) => Observation::Burst { budget, retry_after: Some(pause) }.into(),
                None => {
                    let reason = GateReason::Burst;
                    Observation::Closed { reason, retry_after: pause }.into()
                }
            };
        }
        if threshold || status == self.refused_with {
            let pause = pause().unwrap_or(self.refused_for);
            return Observation::Exhausted { budget: self.hour, retry_after: Some(pause) }.into();
        }
        unavailable(status, headers, clock, self.belief)
    }
}
