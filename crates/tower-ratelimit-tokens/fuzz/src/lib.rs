//! What the targets share: a response out of arbitrary bytes, and what must hold
//! of whatever a dialect reads of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use tower_ratelimit_tokens::{
    BELIEVED_PAUSE, Budget, BudgetId, HttpDialect, Limiter, Observation, WallClock,
};

/// 2026-11-23, noon.
#[derive(Debug)]
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_795_435_200).expect("in range")
    }
}

/// The first three budgets of any limiter.
#[must_use]
pub fn budgets() -> [BudgetId; 3] {
    let mut limits = Limiter::builder();
    ["a", "b", "c"].map(|name| limits.budget(name, Budget::concurrency(1)))
}

/// Status, headers and body, as one would write them down: the status on a line,
/// each header on a line, an empty line, the body. What is no header is left out.
fn response(data: &[u8]) -> (StatusCode, HeaderMap, &[u8]) {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        line
    };
    let status = StatusCode::from_bytes(line()).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut headers = HeaderMap::new();
    for _ in 0..64 {
        let line = line();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = HeaderValue::from_bytes(value.strip_prefix(b" ").unwrap_or(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (status, headers, rest)
}

/// Lets each dialect read the response.
///
/// # Panics
///
/// If a pause is longer than is believed, or a budget is named that was not given.
pub fn check(dialects: &[Box<dyn HttpDialect + Send + Sync>], data: &[u8]) {
    let (status, headers, body) = response(data);
    for dialect in dialects {
        for observation in dialect.read(status, &headers, body, &Noon).iter() {
            let (budget, pause) = match *observation {
                Observation::Level { budget, reset, .. } => (Some(budget), reset),
                Observation::Burst { budget, retry_after }
                | Observation::Exhausted { budget, retry_after } => (Some(budget), retry_after),
                Observation::Closed { retry_after, .. } => (None, Some(retry_after)),
                Observation::Cost { budget, .. } => (Some(budget), None),
                _ => (None, None),
            };
            assert!(pause.unwrap_or(Duration::ZERO) <= BELIEVED_PAUSE, "{observation:?}");
            assert!(budget.is_none_or(|budget| budget.index() < 3), "{observation:?}");
        }
    }
}

/// A target for the dialects that the block makes of three budgets.
#[macro_export]
macro_rules! target {
    (|[$a:ident, $b:ident, $c:ident]| $($dialect:expr),+ $(,)?) => {
        type Dialects = Vec<Box<dyn tower_ratelimit_tokens::HttpDialect + Send + Sync>>;
        static DIALECTS: std::sync::LazyLock<Dialects> = std::sync::LazyLock::new(|| {
            #[allow(unused_variables)]
            let [$a, $b, $c] = tower_ratelimit_tokens_fuzz::budgets();
            vec![$(Box::new($dialect)),+]
        });
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            tower_ratelimit_tokens_fuzz::check(&DIALECTS, data)
        });
    };
}
