use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{
    ResetForm, closed, json,
    pause::{Belief, units},
    some_time,
    text::{Number, after, contains, count},
    unavailable,
};
use crate::{BudgetId, HttpDialect, Observation, Observations, WallClock};

/// The headers of one of the two budgets.
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

static REQUESTS: Names = Names {
    limit: HeaderName::from_static("x-ratelimit-limit-requests"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-requests"),
    reset: HeaderName::from_static("x-ratelimit-reset-requests"),
};
static TOKENS: Names = Names {
    limit: HeaderName::from_static("x-ratelimit-limit-tokens"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-tokens"),
    reset: HeaderName::from_static("x-ratelimit-reset-tokens"),
};
static RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// The account has no money left; waiting a minute does not help.
const UNPAID: [&[u8]; 3] =
    [b"insufficient_quota", b"billing_hard_limit_reached", b"billing_not_active"];

/// What the responses of OpenAI say, and of the many that speak like it.
///
/// | response | read as |
/// | --- | --- |
/// | `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests` | level of the requests budget |
/// | `x-ratelimit-limit-tokens`, `-remaining-tokens`, `-reset-tokens` | level of the tokens budget |
/// | `usage.total_tokens` in the body of a success | what the request has really cost of the tokens budget |
/// | 429 whose `error.code` or `error.type` is `insufficient_quota`, `billing_hard_limit_reached` or `billing_not_active` | no money left: the gate closes for `Retry-After`, or else for [`quota_for`](Self::quota_for) |
/// | any other 429 | too fast: the gate closes for `retry-after-ms`, `Retry-After`, the time in the text (*Please try again in 9.816s*), the reset of that budget, or else the budget's window, whichever is told first |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// Resets are lengths of time with units (`1s`, `6m0s`, `120ms`); a bare number
/// is seconds. A 429 is about tokens if `error.type` is `tokens` or its text
/// says *tokens per*, about requests if it says so in the same way, or else about
/// the budget of which nothing is left; else about requests.
///
/// Limits are those of one model and one project: use a limiter for each model,
/// or leave levels out. `usage` is found in the first MiB of a body, and not at
/// all in one that streams ([`HeadersOnly`](crate::HeadersOnly)).
///
/// Sources: [Rate limits], [Error codes]. Only observed, so nothing depends on
/// it: the text of refusals, the values of `error.type`, and `retry-after-ms`,
/// which OpenAI's own clients read. OpenAI counts what a request may use at most
/// before it runs; whoever wants that estimate to stand says
/// [`without_usage`](Self::without_usage).
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Budget, Dialect, Limiter, Observation, OpenAiDialect, SystemClock};
///
/// let mut limits = Limiter::builder();
/// let minute = Duration::from_secs(60);
/// let requests = limits.budget("requests", Budget::bucket(60, 60, minute));
/// let tokens = limits.budget("tokens", Budget::bucket(150_000, 150_000, minute));
///
/// let answer = http::Response::builder()
///     .header("x-ratelimit-limit-tokens", "150000")
///     .header("x-ratelimit-remaining-tokens", "149984")
///     .header("x-ratelimit-reset-tokens", "6m0s")
///     .body(r#"{"object":"chat.completion","usage":{"prompt_tokens":13,"total_tokens":18}}"#)
///     .unwrap();
/// let said = OpenAiDialect::new(requests, tokens).observe(&answer, &SystemClock);
/// let level = Observation::Level {
///     budget: tokens,
///     limit: Some(150_000),
///     remaining: 149_984,
///     reset: Some(Duration::from_secs(360)),
/// };
/// let cost = Observation::Cost { budget: tokens, units: 18 };
/// assert!(said.iter().eq([&level, &cost]));
/// ```
///
/// [Rate limits]: https://developers.openai.com/api/docs/guides/rate-limits
/// [Error codes]: https://developers.openai.com/api/docs/guides/error-codes
#[derive(Clone, Copy, Debug)]
pub struct OpenAiDialect {
    requests: BudgetId,
    tokens: BudgetId,
    quota: Duration,
    usage: bool,
    belief: Belief,
}

impl OpenAiDialect {
    /// Tells `requests` and `tokens` what the responses say.
    #[must_use]
    pub const fn new(requests: BudgetId, tokens: BudgetId) -> Self {
        let quota = Duration::from_secs(300);
        Self { requests, tokens, quota, usage: true, belief: Belief::DEFAULT }
    }

    /// How long the gate stays closed when there is no money left and no time is
    /// told. Default: 5 minutes, a guess: it ends when somebody pays.
    #[must_use]
    pub const fn quota_for(mut self, pause: Duration) -> Self {
        self.quota = pause;
        self
    }

    /// Does not look for the usage in the body: what was charged stands.
    #[must_use]
    pub const fn without_usage(mut self) -> Self {
        self.usage = false;
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
        let told = self.belief.reset(ResetForm::Millis, headers, &RETRY_AFTER_MS, clock);
        let asked = || some_time(self.belief.retry_after(headers, clock));
        let pause = some_time(told).or_else(asked);
        let error = json::member(text, "error").unwrap_or_default();
        let code = json::string(error, &["code"]).unwrap_or_default();
        let kind = json::string(error, &["type"]).unwrap_or_default();
        if UNPAID.contains(&code) || UNPAID.contains(&kind) {
            return closed(pause.unwrap_or(self.quota));
        }
        let message = json::string(error, &["message"]).unwrap_or_default();
        let about = |names: &Names, word: &[u8], per: &[u8]| {
            let left = || count(headers, &names.remaining);
            (kind == word || contains(message, per), left() == Some(0))
        };
        let tokens = about(&TOKENS, b"tokens", b"tokens per");
        let requests = about(&REQUESTS, b"requests", b"requests per");
        // What the text says stands above what the levels say.
        let (budget, names) =
            if tokens > requests { (self.tokens, &TOKENS) } else { (self.requests, &REQUESTS) };
        let written = || some_time(self.in_words(message));
        let reset = || self.belief.reset(ResetForm::Units, headers, &names.reset, clock);
        let pause = pause.or_else(written).or_else(|| some_time(reset()));
        Observation::Burst { budget, retry_after: pause }
    }

    /// *Please try again in 9.816s.*
    fn in_words(&self, message: &[u8]) -> Option<Duration> {
        let time = after(message, b"try again in ")?;
        let end = time.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(time.len());
        let time = &time[..end];
        let time = time.strip_suffix(b".").unwrap_or(time);
        units(time).filter(|&pause| self.belief.allows(pause))
    }
}

impl HttpDialect for OpenAiDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let mut said = match status {
            StatusCode::TOO_MANY_REQUESTS => Observations::none(),
            _ => unavailable(status, headers, clock, self.belief),
        };
        for (budget, names) in [(self.requests, &REQUESTS), (self.tokens, &TOKENS)] {
            if let Some(remaining) = count(headers, &names.remaining) {
                let limit = count(headers, &names.limit);
                let reset = self.belief.reset(ResetForm::Units, headers, &names.reset, clock);
                said.push(Observation::Level { budget, limit, remaining, reset });
            }
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            said.push(self.refused(headers, text, clock));
        } else if self.usage && status.is_success() {
            let total = json::number(text, &["usage", "total_tokens"]).map(Number::up);
            if let Some(units) = total {
                let units = u32::try_from(units).unwrap_or(u32::MAX);
                said.push(Observation::Cost { budget: self.tokens, units });
            }
        }
        said
    }
}
