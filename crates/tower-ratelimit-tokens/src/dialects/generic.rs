use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode};

use super::{pause::Belief, some_time, text::count, unavailable};
use crate::{BudgetId, Dialect, HttpDialect, Observation, Observations, ResetForm, WallClock};

/// What the headers of one window are called.
#[derive(Clone, Debug)]
struct Window {
    budget: BudgetId,
    limit: Option<HeaderName>,
    remaining: Option<HeaderName>,
    used: Option<HeaderName>,
    reset: Option<(HeaderName, ResetForm)>,
    exhausts: bool,
}

/// What one window says.
struct Reading {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
}

/// Rate limit headers by any name.
///
/// | response | read as |
/// | --- | --- |
/// | the headers named, of which remaining, or limit and used, must be there | level of the budget |
/// | a [refusal](Self::refused_with), 429 unless told otherwise | it is about each window with nothing left, or else about the first: too fast, the gate closes; or, if the window [`exhausts`](Self::exhausts), that budget is exhausted. For `Retry-After`, or else until the reset, or else for the budget's window |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// If remaining and used contradict each other, the fewer units are left. What
/// is no number, negative, too great, or sent twice with different values counts
/// as not said, and so does a reset or a pause that is
/// [longer than is believed](Self::believe_up_to).
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{
///     Budget, Dialect, GenericDialect, Limiter, Observation, ResetForm, SystemClock,
/// };
/// use http::HeaderName;
///
/// let mut limits = Limiter::builder();
/// let minute = limits.budget("minute", Budget::fixed(60, Duration::from_secs(60)));
/// let day = limits.budget("day", Budget::fixed(1_000, Duration::from_secs(86_400)));
/// let dialect = GenericDialect::x_ratelimit(minute)
///     .and(day)
///     .limit(HeaderName::from_static("x-quota-limit"))
///     .used(HeaderName::from_static("x-quota-used"))
///     .reset(HeaderName::from_static("x-quota-reset"), ResetForm::Seconds)
///     .exhausts();
///
/// let refusal = http::Response::builder()
///     .status(429)
///     .header("x-ratelimit-remaining", "59")
///     .header("x-quota-limit", "1000")
///     .header("x-quota-used", "1000")
///     .header("x-quota-reset", "3600")
///     .body(())
///     .unwrap();
/// let said = dialect.observe(&refusal, &SystemClock);
/// let gone =
///     Observation::Exhausted { budget: day, retry_after: Some(Duration::from_secs(3_600)) };
/// assert_eq!(said.iter().last(), Some(&gone));
/// ```
#[derive(Clone, Debug)]
pub struct GenericDialect {
    /// At least one.
    windows: Vec<Window>,
    refused_with: StatusCode,
    belief: Belief,
}

impl GenericDialect {
    /// Tells `budget` what the headers say that are named next. Until then only
    /// refusals are read.
    #[must_use]
    pub fn new(budget: BudgetId) -> Self {
        let dialect = Self {
            windows: Vec::with_capacity(1),
            refused_with: StatusCode::TOO_MANY_REQUESTS,
            belief: Belief::DEFAULT,
        };
        dialect.and(budget)
    }

    /// `x-ratelimit-limit`, `-remaining` and `-used`, and `-reset` in whatever
    /// form ([`ResetForm::Auto`]).
    #[must_use]
    pub fn x_ratelimit(budget: BudgetId) -> Self {
        Self::new(budget)
            .limit(HeaderName::from_static("x-ratelimit-limit"))
            .remaining(HeaderName::from_static("x-ratelimit-remaining"))
            .used(HeaderName::from_static("x-ratelimit-used"))
            .reset(HeaderName::from_static("x-ratelimit-reset"), ResetForm::Auto)
    }

    /// `x-rate-limit-limit`, `-remaining` and `-used`, and `-reset` in whatever
    /// form ([`ResetForm::Auto`]).
    #[must_use]
    pub fn x_rate_limit(budget: BudgetId) -> Self {
        Self::new(budget)
            .limit(HeaderName::from_static("x-rate-limit-limit"))
            .remaining(HeaderName::from_static("x-rate-limit-remaining"))
            .used(HeaderName::from_static("x-rate-limit-used"))
            .reset(HeaderName::from_static("x-rate-limit-reset"), ResetForm::Auto)
    }

    /// Another window: the headers that are named after this are its own. At
    /// most eight in all; a ninth replaces the eighth.
    #[must_use]
    pub fn and(mut self, budget: BudgetId) -> Self {
        self.windows.truncate(crate::observe::MAX_OBSERVATIONS - 1);
        self.windows.push(Window {
            budget,
            limit: None,
            remaining: None,
            used: None,
            reset: None,
            exhausts: false,
        });
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Window)) -> Self {
        if let Some(window) = self.windows.last_mut() {
            change(window);
        }
        self
    }

    /// The header that tells the limit.
    #[must_use]
    pub fn limit(self, name: HeaderName) -> Self {
        self.last(|window| window.limit = Some(name))
    }

    /// The header that tells how many units are left.
    #[must_use]
    pub fn remaining(self, name: HeaderName) -> Self {
        self.last(|window| window.remaining = Some(name))
    }

    /// The header that tells how many units are spent.
    #[must_use]
    pub fn used(self, name: HeaderName) -> Self {
        self.last(|window| window.used = Some(name))
    }

    /// The header that tells when the window resets, and how it tells it.
    #[must_use]
    pub fn reset(self, name: HeaderName, form: ResetForm) -> Self {
        self.last(|window| window.reset = Some((name, form)))
    }

    /// A refusal by this window exhausts its budget alone, instead of closing the
    /// gate for all: right for a day's quota.
    #[must_use]
    pub fn exhausts(self) -> Self {
        self.last(|window| window.exhausts = true)
    }

    /// The status of a refusal. Default: 429.
    #[must_use]
    pub fn refused_with(mut self, status: StatusCode) -> Self {
        self.refused_with = status;
        self
    }

    /// A longer pause is taken for garbage and counts as not said. Default:
    /// [`BELIEVED_PAUSE`](super::BELIEVED_PAUSE), 32 days; never more than
    /// [`MAX_PAUSE`](super::MAX_PAUSE).
    #[must_use]
    pub fn believe_up_to(mut self, pause: Duration) -> Self {
        self.belief = Belief::up_to(pause);
        self
    }

    fn reading(&self, window: &Window, headers: &HeaderMap, clock: &dyn WallClock) -> Reading {
        let told = |name: &Option<HeaderName>| count(headers, name.as_ref()?);
        let limit = told(&window.limit);
        let unused = limit.zip(told(&window.used)).map(|(limit, used)| limit.saturating_sub(used));
        let reset = window.reset.as_ref();
        Reading {
            limit,
            remaining: told(&window.remaining).into_iter().chain(unused).min(),
            reset: reset.and_then(|(name, form)| self.belief.reset(*form, headers, name, clock)),
        }
    }
}

impl HttpDialect for GenericDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        _: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let refusal = status == self.refused_with;
        let mut said = Observations::none();
        if !refusal {
            said = unavailable(status, headers, clock, self.belief);
        }
        let asked = if refusal { self.belief.retry_after(headers, clock) } else { None };
        let mut told = false;
        for window in &self.windows {
            let Reading { limit, remaining, reset } = self.reading(window, headers, clock);
            let budget = window.budget;
            if refusal && remaining == Some(0) {
                said.push(window.refused(some_time(asked).or(some_time(reset))));
                told = true;
            } else if let Some(remaining) = remaining {
                said.push(Observation::Level { budget, limit, remaining, reset });
            }
        }
        if refusal && !told {
            let first = &self.windows[0];
            let Reading { remaining, reset, .. } = self.reading(first, headers, clock);
            // With units left, the reset is no reason to wait that long.
            let reset = some_time(reset).filter(|_| remaining.is_none());
            said.push(first.refused(some_time(asked).or(reset)));
        }
        said
    }
}

impl Window {
    const fn refused(&self, retry_after: Option<Duration>) -> Observation {
        let budget = self.budget;
        if self.exhausts {
            Observation::Exhausted { budget, retry_after }
        } else {
            Observation::Burst { budget, retry_after }
        }
    }
}

impl<B> Dialect<Response<B>> for GenericDialect {
    fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
        self.read(response.status(), response.headers(), &[], clock)
    }
}
