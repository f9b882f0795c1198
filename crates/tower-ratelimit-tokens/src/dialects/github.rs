use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{
    ResetForm,
    by_name::ByName,
    closed, json,
    pause::Belief,
    some_time,
    text::{GLANCE, contains, count, one},
    unavailable,
};
use crate::{BudgetId, HttpDialect, Observation, Observations, WallClock};

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static USED: HeaderName = HeaderName::from_static("x-ratelimit-used");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static RESOURCE: HeaderName = HeaderName::from_static("x-ratelimit-resource");

/// What GitHub's responses say, of its REST and of its GraphQL API.
///
/// | response | read as |
/// | --- | --- |
/// | `x-ratelimit-limit`, `-remaining`, `-used`, `-reset` (seconds since 1970) | level of the budget of `x-ratelimit-resource` |
/// | 403 or 429 whose text speaks of a secondary rate limit, or with `Retry-After` and units left; any 429 without `-remaining: 0` | secondary limit: the gate closes for `Retry-After`, or else, if `-remaining` is 0, until the reset, or else for [`secondary_for`](Self::secondary_for) |
/// | 403 or 429 with `-remaining: 0` | primary limit: that budget is exhausted until the reset |
/// | 200 of the GraphQL API with an error `RATE_LIMITED` and `-remaining: 0`, or with a message of a secondary limit | as the two before |
/// | 503 with `Retry-After` | the gate closes for that time |
/// | any other 403 | nothing: a matter of rights |
///
/// If remaining and used contradict each other, the fewer units are left. A
/// response without `x-ratelimit-resource` is about `core`. Levels of a resource
/// that has no budget here are left out; its refusals close the gate, as nothing
/// else could hold its calls back. So name each
/// [`resource`](Self::resource) that you use.
///
/// With a body that streams ([`HeadersOnly`](crate::HeadersOnly)) a secondary
/// limit that is told by the text alone, in a 403, is not seen.
///
/// Sources: the pages [Rate limits for the REST API] and [Rate limits for the
/// GraphQL API]; the waits are those that they ask for.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{
///     Budget, Dialect, GithubDialect, Limiter, Observation, SystemClock,
/// };
///
/// let mut limits = Limiter::builder();
/// let core = limits.budget("core", Budget::fixed(5_000, Duration::from_secs(3_600)));
/// let search = limits.budget("search", Budget::fixed(30, Duration::from_secs(60)));
/// let dialect = GithubDialect::new(core).resource("search", search);
///
/// let found = http::Response::builder()
///     .header("date", "Mon, 23 Nov 2026 12:00:00 GMT")
///     .header("x-ratelimit-resource", "search")
///     .header("x-ratelimit-limit", "30")
///     .header("x-ratelimit-remaining", "18")
///     .header("x-ratelimit-reset", "1795435242")
///     .body("{}")
///     .unwrap();
/// let reset = Some(Duration::from_secs(42));
/// let level = Observation::Level { budget: search, limit: Some(30), remaining: 18, reset };
/// assert_eq!(dialect.observe(&found, &SystemClock).iter().next(), Some(&level));
/// ```
///
/// [Rate limits for the REST API]: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
/// [Rate limits for the GraphQL API]: https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
#[derive(Clone, Debug)]
pub struct GithubDialect {
    core: BudgetId,
    resources: ByName,
    secondary: Duration,
    belief: Belief,
}

impl GithubDialect {
    /// Tells `core` what the responses say of the resource of that name, the one
    /// of all REST calls that have none of their own.
    #[must_use]
    pub fn new(core: BudgetId) -> Self {
        let mut resources = ByName::default();
        resources.set("core", core);
        let secondary = Duration::from_secs(60);
        Self { core, resources, secondary, belief: Belief::DEFAULT }
    }

    /// Tells `budget` what the responses say of another resource: `search`,
    /// `code_search`, `graphql`, `integration_manifest` and so on.
    #[must_use]
    pub fn resource(mut self, name: &str, budget: BudgetId) -> Self {
        self.resources.set(name, budget);
        self
    }

    /// How long a secondary limit closes the gate if it names no time. Default:
    /// 60 s, the least that the documentation asks for.
    #[must_use]
    pub const fn secondary_for(mut self, pause: Duration) -> Self {
        self.secondary = pause;
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

    fn exhausted(&self, budget: Option<BudgetId>, pause: Option<Duration>) -> Observation {
        let pause = some_time(pause);
        match budget {
            Some(budget) => Observation::Exhausted { budget, retry_after: pause },
            None => closed(pause.unwrap_or(self.secondary)),
        }
    }
}

impl HttpDialect for GithubDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let resource = one(headers, &RESOURCE);
        let budget = match resource {
            Some(name) => self.resources.get(name),
            None if headers.contains_key(&RESOURCE) => None,
            None => Some(self.core),
        };
        let limit = count(headers, &LIMIT);
        let unused =
            limit.zip(count(headers, &USED)).map(|(limit, used)| limit.saturating_sub(used));
        let told = count(headers, &REMAINING);
        let remaining = told.into_iter().chain(unused).min();
        let reset = self.belief.reset(ResetForm::EpochSeconds, headers, &RESET, clock);

        let pause = self.belief.retry_after(headers, clock);
        let empty = told == Some(0);
        let (secondary, primary) = match status {
            StatusCode::FORBIDDEN => (is_secondary(text) || (!empty && pause.is_some()), empty),
            StatusCode::TOO_MANY_REQUESTS => (is_secondary(text) || !empty, empty),
            StatusCode::OK if resource == Some(b"graphql") && text.len() <= GLANCE => {
                let errors = json::member(text, "errors").unwrap_or_default();
                let message = json::string(text, &["message"]).unwrap_or_default();
                let limited = empty && contains(errors, b"rate_limited");
                (is_secondary(errors) || is_secondary(message), limited)
            }
            _ => (false, false),
        };
        let refused = if secondary {
            let until = some_time(reset).filter(|_| empty);
            Some(closed(some_time(pause).or(until).unwrap_or(self.secondary)))
        } else if primary {
            // The later of the two, if both are told.
            Some(self.exhausted(budget, reset.max(pause)))
        } else {
            unavailable(status, headers, clock, self.belief).iter().next().copied()
        };

        let mut said = Observations::none();
        if let Some((budget, remaining)) = budget.zip(remaining) {
            said.push(Observation::Level { budget, limit, remaining, reset });
        }
        if let Some(refused) = refused {
            said.push(refused);
        }
        said
    }
}

/// Today's words, and those of before 2022.
fn is_secondary(text: &[u8]) -> bool {
    contains(text, b"secondary rate limit") || contains(text, b"abuse detection")
}
