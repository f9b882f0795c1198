use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{
    LONG, ResetForm, closed, json,
    pause::Belief,
    some_time,
    text::{contains, count},
    unavailable,
};
use crate::{BudgetId, HttpDialect, Observation, Observations, WallClock};

static MAX: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-max");
static REMAINING: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-remaining");
static INTERVAL: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-interval-milliseconds");
static SECONDLY: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-secondly");
static SECONDLY_REMAINING: HeaderName =
    HeaderName::from_static("x-hubspot-ratelimit-secondly-remaining");
static DAILY: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-daily");
static DAILY_REMAINING: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-daily-remaining");

/// The account is being moved between data centres.
const MIGRATION: u16 = 477;

const SECOND: Duration = Duration::from_secs(1);

/// What HubSpot's responses say.
///
/// | response | read as |
/// | --- | --- |
/// | `x-hubspot-ratelimit-max`, `-remaining` | level of the burst budget |
/// | `x-hubspot-ratelimit-daily`, `-daily-remaining` | level of the day's budget |
/// | `x-hubspot-ratelimit-secondly`, `-secondly-remaining` | level of the [`secondly`](Self::secondly) budget, if there is one |
/// | 429 with the policy `DAILY`; without a policy, with no daily requests left or with a `Retry-After` of a minute or more | the day is exhausted until `Retry-After`, or else until its own reset |
/// | 429 with the policy `SECONDLY`, or whose message says *secondly limit* | too fast: the gate closes for `Retry-After`, or else for 1 s |
/// | any other 429 (`TEN_SECONDLY_ROLLING`) | too fast: the gate closes for `Retry-After`, or else for `x-hubspot-ratelimit-interval-milliseconds`, or else for the budget's window |
/// | 477 (the account is being moved) or 503 with `Retry-After` | the gate closes for that time |
///
/// The policy is `policyName` in the body. Only some responses carry the headers:
/// those of the search endpoints have none, those of OAuth apps tell no day, as
/// they have none. The secondly headers are no longer documented; HubSpot calls
/// them deprecated. The day resets at midnight of the account's own time zone.
///
/// Sources: [API usage guidelines], the [announcement of the headers]; the wait
/// after a refusal by second is that of HubSpot's own client. That a day's 429
/// has a `Retry-After` is not documented, and nothing depends on it.
///
/// ```
/// use tower_ratelimit_tokens::{Budget, Dialect, HubspotDialect, Limiter, Observation, SystemClock};
/// use jiff::{civil::Time, tz::TimeZone};
/// use std::time::Duration;
///
/// let mut limits = Limiter::builder();
/// let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(10)));
/// let day = limits.budget("day", Budget::calendar_day(250_000, TimeZone::UTC, Time::midnight()));
///
/// let refusal = r#"{"status":"error","message":"You have reached your daily limit.",
///     "errorType":"RATE_LIMIT","policyName":"DAILY"}"#;
/// let refusal = http::Response::builder().status(429).body(refusal).unwrap();
/// let said = HubspotDialect::new(burst, day).observe(&refusal, &SystemClock);
/// let gone = Observation::Exhausted { budget: day, retry_after: None };
/// assert_eq!(said.iter().next(), Some(&gone));
/// ```
///
/// [API usage guidelines]: https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
/// [announcement of the headers]: https://developers.hubspot.com/changelog/2018-11-06-rate-limit-information-headers-will-be-included-in-http-responses
#[derive(Clone, Copy, Debug)]
pub struct HubspotDialect {
    burst: BudgetId,
    day: BudgetId,
    secondly: Option<BudgetId>,
    belief: Belief,
}

impl HubspotDialect {
    /// Tells `burst`, the window of ten seconds, and `day` what the responses say.
    #[must_use]
    pub const fn new(burst: BudgetId, day: BudgetId) -> Self {
        Self { burst, day, secondly: None, belief: Belief::DEFAULT }
    }

    /// A budget of a window of one second, such as that of the search endpoints.
    /// Default: a refusal by second is one of the burst budget, and the secondly
    /// headers are not read.
    #[must_use]
    pub const fn secondly(mut self, budget: BudgetId) -> Self {
        self.secondly = Some(budget);
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

    fn refused(&self, headers: &HeaderMap, text: &[u8], clock: &dyn WallClock) -> Observation {
        let pause = some_time(self.belief.retry_after(headers, clock));
        let policy = json::string(text, &["policyName"]);
        let message = json::string(text, &["message"]).unwrap_or_default();
        let ten_seconds = policy.is_some_and(|policy| contains(policy, b"ten_secondly"));
        let second = !ten_seconds
            && (policy.is_some_and(|policy| contains(policy, b"secondly"))
                || contains(message, b"your secondly limit"));
        let daily = match policy {
            Some(policy) => contains(policy, b"daily"),
            None => {
                !second
                    && (contains(message, b"daily limit")
                        || count(headers, &DAILY_REMAINING) == Some(0)
                        || pause.is_some_and(|pause| pause >= LONG))
            }
        };
        if daily {
            return Observation::Exhausted { budget: self.day, retry_after: pause };
        }
        if second {
            let budget = self.secondly.unwrap_or(self.burst);
            return Observation::Burst { budget, retry_after: pause.or(Some(SECOND)) };
        }
        let interval = || self.belief.reset(ResetForm::Millis, headers, &INTERVAL, clock);
        let pause = pause.or_else(|| some_time(interval()));
        Observation::Burst { budget: self.burst, retry_after: pause }
    }
}

impl HttpDialect for HubspotDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let refused = match status {
            StatusCode::TOO_MANY_REQUESTS => Some(self.refused(headers, text, clock)),
            status if status.as_u16() == MIGRATION => {
                self.belief.retry_after(headers, clock).map(closed)
            }
            status => unavailable(status, headers, clock, self.belief).iter().next().copied(),
        };
        let mut said = Observations::none();
        let mut level = |budget, limit: &HeaderName, remaining: &HeaderName| {
            if let Some(remaining) = count(headers, remaining) {
                let limit = count(headers, limit);
                said.push(Observation::Level { budget, limit, remaining, reset: None });
            }
        };
        level(self.day, &DAILY, &DAILY_REMAINING);
        level(self.burst, &MAX, &REMAINING);
        if let Some(budget) = self.secondly {
            level(budget, &SECONDLY, &SECONDLY_REMAINING);
        }
        if let Some(refused) = refused {
            said.push(refused);
        }
        said
    }
}
