use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    LONG, closed,
    fields::{self, Bare, Item, List},
    json,
    pause::Belief,
    some_time,
    text::{Number, contains, count, digits, one},
    unavailable,
};
use crate::{BudgetId, HttpDialect, Observation, Observations, WallClock, charge::MAX_BUDGETS};

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

mod read;

/// How many items of a field are looked at. A field with more is not read.
const MOST_ITEMS: usize = 16;

/// What a policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuotaUnit {
    /// `requests`: what a policy counts that does not say.
    #[default]
    Requests,
    /// `content-bytes`.
    ContentBytes,
    /// `concurrent-requests`.
    ConcurrentRequests,
    /// A unit of the server's own.
    Other(&'static str),
}

impl QuotaUnit {
    /// `None`: the policy does not say.
    fn is(self, said: Option<Bare<'_>>) -> bool {
        let Some(said) = said else { return self == Self::Requests };
        match self {
            // The draft's own registry calls it `request`.
            Self::Requests => said.is("requests") || said.is("request"),
            Self::ContentBytes => said.is("content-bytes"),
            Self::ConcurrentRequests => said.is("concurrent-requests"),
            Self::Other(unit) => said.is(unit),
        }
    }
}

#[derive(Clone, Debug)]
struct Policy {
    name: Box<str>,
    budget: BudgetId,
    unit: QuotaUnit,
}

/// The `RateLimit` and `RateLimit-Policy` fields of the IETF's draft 11, and
/// those of the drafts before it that are still in use.
///
/// | response | read as |
/// | --- | --- |
/// | an item of `RateLimit`: `"burst";r=50;t=30` | level of the budget of that policy: `r` units left, reset in `t` seconds; the limit is `q` of the item of `RateLimit-Policy` with that name |
/// | `RateLimit: limit=100, remaining=50, reset=5` (draft 7) | level of the [default](Self::default_policy) budget |
/// | `RateLimit-Limit`, `-Remaining`, `-Reset` (drafts 0 to 6), without `RateLimit` | level of the default budget |
/// | 429 | a refusal by the policies that `violated-policies` in the body names, or else by those with `r=0`, or else by the only one told, or else by the default one. It holds for `Retry-After`, or else for `t`, or else for the budget's window. If that time or the policy's `w` is [long](Self::long), the budget is exhausted; or else the gate closes |
/// | 429 of the type `abnormal-usage-detected`, or of which no budget is known | the gate closes for `Retry-After`, or else, if it is abnormal use, for 60 s |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// **Names.** A policy without a budget here is left out. One that is the only
/// item of its field, or whose field has no names, is the default policy.
///
/// **Units.** A policy whose `qu` differs from that of the budget is left out.
/// If `RateLimit-Policy` is not sent, the unit is taken for right.
///
/// **Partition keys.** With [`partition`](Self::partition), items that have
/// another `pk` are left out; without it, of two items of one policy the one
/// with fewer units left counts.
///
/// A field that is malformed anywhere is ignored as a whole, as the draft
/// demands; so is one with more than 16 items, and all fields of a response that
/// comes from a cache (`Age` above 0). Names may be tokens too, as in draft 7.
///
/// Sources: [draft 11] and RFC 9651. How much of a `RateLimit` a 429 means is not
/// said there; that a policy with a long window exhausts is ours.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Budget, Dialect, IetfDialect, Limiter, Observation, SystemClock};
///
/// let mut limits = Limiter::builder();
/// let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(60)));
/// let daily = limits.budget("daily", Budget::fixed(1_000, Duration::from_secs(86_400)));
/// let dialect = IetfDialect::new().policy("burst", burst).policy("daily", daily);
///
/// let answer = http::Response::builder()
///     .header("ratelimit-policy", r#""burst";q=100;w=60,"daily";q=1000;w=86400"#)
///     .header("ratelimit", r#""daily";r=100;t=36000"#)
///     .body("")
///     .unwrap();
/// let level = Observation::Level {
///     budget: daily,
///     limit: Some(1_000),
///     remaining: 100,
///     reset: Some(Duration::from_secs(36_000)),
/// };
/// assert_eq!(dialect.observe(&answer, &SystemClock).iter().next(), Some(&level));
/// ```
///
/// [draft 11]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/
#[derive(Clone, Debug)]
pub struct IetfDialect {
    policies: Vec<Policy>,
    default: Option<BudgetId>,
    /// In base64 without padding.
    partition: Option<Box<[u8]>>,
    long: Duration,
    belief: Belief,
}

impl Default for IetfDialect {
    fn default() -> Self {
        Self::new()
    }
}

impl IetfDialect {
    /// Tells no budget anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            policies: Vec::new(),
            default: None,
            partition: None,
            long: LONG,
            belief: Belief::DEFAULT,
        }
    }

    /// Tells `budget` what the responses say of the policy of that name, which
    /// counts requests.
    #[must_use]
    pub fn policy(self, name: &str, budget: BudgetId) -> Self {
        self.policy_in(name, budget, QuotaUnit::Requests)
    }

    /// As [`policy`](Self::policy), for a policy that counts in another unit, as
    /// the budget then must too.
    #[must_use]
    pub fn policy_in(mut self, name: &str, budget: BudgetId, unit: QuotaUnit) -> Self {
        self.policies.push(Policy { name: name.into(), budget, unit });
        self
    }

    /// Tells `budget` what the responses say of a policy whose name is not known
    /// here and that is the only one, or that has no name. It counts requests.
    /// Default: that is left out.
    #[must_use]
    pub const fn default_policy(mut self, budget: BudgetId) -> Self {
        self.default = Some(budget);
        self
    }

    /// The partition that the budgets here belong to, as bytes. Default: the
    /// items of every partition are read.
    #[must_use]
    pub fn partition(mut self, key: &[u8]) -> Self {
        self.partition = Some(read::base64(key));
        self
    }

    /// A refusal for this long or longer, or by a policy with such a window,
    /// exhausts that budget and leaves the others alone; a shorter one closes the
    /// gate for all. Default: a minute.
    #[must_use]
    pub const fn long(mut self, time: Duration) -> Self {
        self.long = time;
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
}
