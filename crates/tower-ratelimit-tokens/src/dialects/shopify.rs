use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{
    closed, json,
    pause::Belief,
    some_time,
    text::{Number, one},
    unavailable,
};
use crate::{BudgetId, HttpDialect, Observation, Observations, WallClock};

static CALLS: HeaderName = HeaderName::from_static("x-shopify-shop-api-call-limit");

/// What Shopify's responses say, of the GraphQL and of the REST Admin API.
///
/// | response | read as |
/// | --- | --- |
/// | `x-shopify-shop-api-call-limit: 32/40` | level of the [`rest`](Self::rest) budget: 8 of 40 left |
/// | `extensions.cost.throttleStatus` in the body | level of the [`graphql`](Self::graphql) budget: `currentlyAvailable` of `maximumAvailable` points |
/// | `extensions.cost.actualQueryCost` | what the query has really cost |
/// | an error whose `extensions.code` is `THROTTLED`, with status 200 or 429 | it cost nothing, and came too fast: the gate closes for `Retry-After`, or else until `restoreRate` has brought the points that `requestedQueryCost` lacked, or else for the budget's window |
/// | any other 429 | too fast for REST: the gate closes for `Retry-After`, or else for the budget's window |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// Charge a query what it may cost at most (`requestedQueryCost`); the answer
/// settles it. An error `MAX_COST_EXCEEDED` says nothing about a budget: that
/// query will never be let through. `extensions` is found in the first MiB of a
/// body; in a longer one the charge stands.
///
/// Sources: [API limits], [GraphQL Admin API rate limits], [REST Admin API rate
/// limits]. The status of a throttled query is not documented; 200 is what is
/// observed.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Budget, Dialect, Limiter, Observation, ShopifyDialect, SystemClock};
///
/// let mut limits = Limiter::builder();
/// let points = limits.budget("points", Budget::bucket(1_000, 50, Duration::from_secs(1)));
///
/// let body = r#"{"data":{"shop":{"name":"Snow"}},"extensions":{"cost":{"requestedQueryCost":101,
///     "actualQueryCost":46,"throttleStatus":{"maximumAvailable":1000.0,
///     "currentlyAvailable":954,"restoreRate":50.0}}}}"#;
/// let answer = http::Response::new(body);
/// let said = ShopifyDialect::new().graphql(points).observe(&answer, &SystemClock);
/// let cost = Observation::Cost { budget: points, units: 46 };
/// let level =
///     Observation::Level { budget: points, limit: Some(1_000), remaining: 954, reset: None };
/// assert!(said.iter().eq([&cost, &level]));
/// ```
///
/// [API limits]: https://shopify.dev/docs/api/usage/limits
/// [GraphQL Admin API rate limits]: https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits
/// [REST Admin API rate limits]: https://shopify.dev/docs/api/admin-rest/usage/rate-limits
#[derive(Clone, Copy, Debug, Default)]
pub struct ShopifyDialect {
    rest: Option<BudgetId>,
    graphql: Option<BudgetId>,
    belief: Belief,
}

impl ShopifyDialect {
    /// Tells no budget anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { rest: None, graphql: None, belief: Belief::DEFAULT }
    }

    /// The budget of REST calls, in requests.
    #[must_use]
    pub const fn rest(mut self, budget: BudgetId) -> Self {
        self.rest = Some(budget);
        self
    }

    /// The budget of GraphQL calls, in points of cost.
    #[must_use]
    pub const fn graphql(mut self, budget: BudgetId) -> Self {
        self.graphql = Some(budget);
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

    /// Reads the cost of a query. Returns how long it lacks points, if it was
    /// throttled.
    fn query(&self, budget: BudgetId, text: &[u8], said: &mut Observations) -> Throttled {
        let cost = json::path(text, &["extensions", "cost"]).unwrap_or_default();
        let number = |names: &[&str]| json::number(cost, names);
        let actual = number(&["actualQueryCost"]).map(Number::up);
        // A query that has a cost was let through: no need to look for errors.
        let throttled = actual.is_none() && is_throttled(text);
        if let Some(units) = actual.or(throttled.then_some(0)) {
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            said.push(Observation::Cost { budget, units });
        }
        let left = number(&["throttleStatus", "currentlyAvailable"]).map(Number::down);
        if let Some(remaining) = left {
            let limit = number(&["throttleStatus", "maximumAvailable"]).map(Number::down);
            said.push(Observation::Level { budget, limit, remaining, reset: None });
        }
        if !throttled {
            return Throttled::No;
        }
        let rate = number(&["throttleStatus", "restoreRate"]).map(Number::down);
        let wanted = number(&["requestedQueryCost"]).map(Number::up);
        let pause = match (wanted, left, rate) {
            (Some(wanted), Some(left), Some(rate @ 1..)) if wanted > left => {
                Some(Duration::from_secs((wanted - left).div_ceil(rate)))
            }
            _ => None,
        };
        Throttled::Yes(pause.filter(|&pause| self.belief.allows(pause)))
    }
}

enum Throttled {
    No,
    Yes(Option<Duration>),
}

impl HttpDialect for ShopifyDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let mut said = Observations::none();
        let calls = one(headers, &CALLS).and_then(used_of);
        if let Some((budget, (used, limit))) = self.rest.zip(calls) {
            let remaining = limit.saturating_sub(used);
            said.push(Observation::Level { budget, limit: Some(limit), remaining, reset: None });
        }
        let throttled = match self.graphql {
            // REST answers have the header, and bodies that need not be looked at.
            Some(budget) if calls.is_none() => self.query(budget, text, &mut said),
            _ => Throttled::No,
        };
        let pause = || some_time(self.belief.retry_after(headers, clock));
        let refused = match (throttled, self.graphql, self.rest) {
            (Throttled::Yes(lacks), Some(budget), _) => {
                Some(Observation::Burst { budget, retry_after: pause().or(lacks) })
            }
            _ if status != StatusCode::TOO_MANY_REQUESTS => {
                unavailable(status, headers, clock, self.belief).iter().next().copied()
            }
            (_, _, Some(budget)) => Some(Observation::Burst { budget, retry_after: pause() }),
            (_, Some(budget), None) => Some(Observation::Burst { budget, retry_after: pause() }),
            (_, None, None) => pause().map(closed),
        };
        if let Some(refused) = refused {
            said.push(refused);
        }
        said
    }
}

fn is_throttled(text: &[u8]) -> bool {
    let errors = json::member(text, "errors").unwrap_or_default();
    json::elements(errors).any(|error| {
        json::string(error, &["extensions", "code"]) == Some(b"THROTTLED")
            || json::string(error, &["message"]) == Some(b"Throttled")
    })
}

/// `32/40`: used, and the limit.
fn used_of(text: &[u8]) -> Option<(u64, u64)> {
    let slash = text.iter().position(|&b| b == b'/')?;
    let used = Number::parse(text[..slash].trim_ascii())?;
    let limit = Number::parse(text[slash + 1..].trim_ascii())?;
    Some((used.up(), limit.down()))
}
