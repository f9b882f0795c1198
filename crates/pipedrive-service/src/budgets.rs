//! Pipedrive's three budgets, and how its answers speak of them.

use std::{sync::Arc, time::Duration};

use http::Response;
use tower_ratelimit_tokens::{
    BodyText, Budget, BudgetId, Charge, ConfigError, Dialect, Limiter, Observation, Observations,
    PipedriveDialect, WallClock,
};

use crate::{
    config::Config,
    costs,
    error::BAN,
    plan::{AuthKind, Plan, SEARCH_BURST},
};

/// The burst window.
const WINDOW: Duration = Duration::from_secs(2);

/// Which budget is which.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Budgets {
    /// Requests per 2 seconds, all but searches: `burst`.
    pub burst: BudgetId,
    /// Searches per 2 seconds: `search`.
    pub search: BudgetId,
    /// Tokens per day: `day`.
    pub day: BudgetId,
}

/// What a limiter is built with besides the configuration.
#[derive(Debug, Default)]
pub(crate) struct LimiterOptions {
    pub(crate) leased: bool,
    pub(crate) shared: bool,
    pub(crate) clock: Option<Arc<dyn WallClock>>,
}

#[derive(Debug)]
struct SharedClock(Arc<dyn WallClock>);

impl WallClock for SharedClock {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }
}

/// The limiter that a configuration asks for.
pub(crate) fn limiter(
    config: &Config,
    options: LimiterOptions,
) -> Result<(Limiter, Budgets), ConfigError> {
    let (limiting, account) = (&config.rate_limiting, &config.account);
    let pace = |budget: Budget| if limiting.even { budget.even() } else { budget };
    let window = |limit| {
        let window = pace(Budget::rolling(limit, WINDOW).freed_by_answer(limiting.burst_margin));
        if options.shared { window.leased() } else { window }
    };
    let mut limits = Limiter::builder();

    let known_burst =
        limiting.burst_limit.or_else(|| account.plan.map(|plan| plan.burst(config.auth)));
    let burst = match known_burst {
        Some(limit) => window(limit),
        // The least that any plan allows, until the server says what it is.
        None => window(Plan::Lite.burst(config.auth)).learns_limit(),
    };
    let burst = limits.budget("burst", burst);
    let search = limits.budget("search", window(SEARCH_BURST));

    let known_day = account.plan.zip(account.seats).map(|(plan, seats)| plan.daily_tokens(seats));
    let tokens = known_day.unwrap_or(limiting.daily_budget);
    let mut day = Budget::calendar_day(tokens, account.reset_time_zone.clone(), account.reset_time);
    if known_day.is_none() {
        day = day.learns_limit();
    }
    if options.leased || options.shared {
        day = day.leased();
    }
    if limiting.reserve > 0.0 {
        day = day.keep(limiting.reserve, limiting.reserve_from);
    }
    day = day.pace(limiting.day_pace.clone()).warn_at(&limiting.warn_at);
    let day = limits.budget("day", day);

    let mut limits = limits
        .max_waiting(limiting.max_queue_size)
        .max_wait(limiting.queue_timeout)
        .when_full(limiting.when_full)
        .level_every(limiting.level_every);
    if let Some(clock) = options.clock {
        limits = limits.wall_clock(SharedClock(clock));
    }
    Ok((limits.build()?, Budgets { burst, search, day }))
}

impl Budgets {
    /// What a call of the operation with this path template pays: one of the window that it falls into, and its tokens
    /// of the day.
    #[must_use]
    pub fn charge(&self, template: &str, tokens: u32) -> Charge {
        let window = if costs::is_search(template) { self.search } else { self.burst };
        Charge::new().with(window, 1).with(self.day, tokens)
    }

    /// Reads Pipedrive's answers for these budgets.
    #[must_use]
    pub fn dialect(&self) -> BurstDialect {
        let dialect = PipedriveDialect::new(self.burst, self.day).ban_for(BAN);
        BurstDialect { dialect, burst: self.burst, search: self.search }
    }
}

/// Pipedrive's dialect, with the levels of the search window kept apart from those of the burst window.
///
/// Both are in the same headers; the search window is known by its limit of 10, which no plan has for the burst.
#[derive(Clone, Copy, Debug)]
pub struct BurstDialect {
    dialect: PipedriveDialect,
    burst: BudgetId,
    search: BudgetId,
}

impl<B: BodyText> Dialect<Response<B>> for BurstDialect {
    fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
        let said = self.dialect.observe(response, clock);
        let limit = || response.headers().get("x-ratelimit-limit");
        if said.is_empty() || limit().is_none_or(|limit| limit.as_bytes() != b"10") {
            return said;
        }
        let mut sorted = Observations::none();
        for observation in said.iter() {
            sorted.push(match *observation {
                Observation::Level { budget, limit, remaining, reset } if budget == self.burst => {
                    Observation::Level { budget: self.search, limit, remaining, reset }
                }
                Observation::Burst { retry_after, .. } => {
                    Observation::Burst { budget: self.search, retry_after }
                }
                other => other,
            });
        }
        sorted
    }
}

/// The burst limit that holds until the server says another.
#[must_use]
pub fn least_burst(auth: AuthKind) -> u64 {
    Plan::Lite.burst(auth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use tower_ratelimit_tokens::SystemClock;

    fn limits(settings: &[(&str, &str)]) -> (u64, u64, u64) {
        let config = Config::load(&Sources::new().env(settings.iter().copied())).unwrap();
        let (limiter, _) = limiter(&config, LimiterOptions::default()).unwrap();
        let status = limiter.status();
        let limit = |name| status.budget(name).unwrap().limit;
        (limit("burst"), limit("search"), limit("day"))
    }

    #[tokio::test]
    async fn budgets_come_from_plan_and_seats_or_else_from_settings() {
        assert_eq!(limits(&[]), (20, 10, 10_000));
        assert_eq!(limits(&[("PIPEDRIVE_DAILY_TOKEN_BUDGET", "777")]), (20, 10, 777));
        assert_eq!(limits(&[("PIPEDRIVE_PLAN", "premium")]), (100, 10, 10_000));
        let known =
            [("PIPEDRIVE_PLAN", "growth"), ("PIPEDRIVE_SEATS", "10"), ("PIPEDRIVE_AUTH", "oauth")];
        assert_eq!(limits(&known), (160, 10, 600_000));
        assert_eq!(
            limits(&[("PIPEDRIVE_PLAN", "lite"), ("PIPEDRIVE_BURST_LIMIT", "5")]),
            (5, 10, 10_000)
        );
    }

    #[tokio::test]
    async fn the_search_window_is_told_from_the_burst_window() {
        let config = Config::load(&Sources::new()).unwrap();
        let (_, budgets) = limiter(&config, LimiterOptions::default()).unwrap();
        let level = |limit: &str| {
            let response = Response::builder()
                .header("x-ratelimit-limit", limit)
                .header("x-ratelimit-remaining", "3");
            let said = budgets.dialect().observe(&response.body(()).unwrap(), &SystemClock);
            said.iter().copied().next()
        };
        let is = |said, wanted| matches!(said, Some(Observation::Level { budget, .. }) if budget == wanted);
        assert!(is(level("100"), budgets.burst));
        assert!(is(level("10"), budgets.search));
    }
}
