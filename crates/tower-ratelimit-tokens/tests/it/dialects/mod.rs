//! The dialects against what the documentation of each API shows, and against
//! what no documentation shows.

mod any_answer;
mod autotask;
mod generic;
mod github;
mod hubspot;
mod ietf;
mod open_ai;
mod shopify;

use std::time::Duration;

use http::Response;
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, BudgetId, Dialect, GateReason, Limiter, Observation,
};

/// The date that [`said`] puts into every response: 1795435200 in seconds since
/// 1970.
const DATE: &str = "Mon, 23 Nov 2026 12:00:00 GMT";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Names of budgets; what they hold does not matter here.
fn budgets<const N: usize>() -> [BudgetId; N] {
    let mut limits = Limiter::builder();
    std::array::from_fn(|n| limits.budget(&n.to_string(), Budget::concurrency(1)))
}

/// What a dialect reads of a response. The local clock is an hour slow.
fn said(
    dialect: &impl Dialect<Response<String>>,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<Observation> {
    let mut response = Response::builder().status(status).header("date", DATE);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let clock = AnchoredClock::new("2026-11-23T11:00:00Z".parse().unwrap());
    let observations = dialect.observe(&response.body(body.to_owned()).unwrap(), &clock);
    observations.iter().copied().collect()
}

fn level(budget: BudgetId, limit: u64, remaining: u64, reset: Option<u64>) -> Observation {
    Observation::Level { budget, limit: Some(limit), remaining, reset: reset.map(seconds) }
}

fn burst(budget: BudgetId, pause: Option<u64>) -> Observation {
    Observation::Burst { budget, retry_after: pause.map(seconds) }
}

fn exhausted(budget: BudgetId, pause: Option<u64>) -> Observation {
    Observation::Exhausted { budget, retry_after: pause.map(seconds) }
}

fn closed(pause: u64) -> Observation {
    Observation::Closed { reason: GateReason::RetryAfter, retry_after: seconds(pause) }
}
