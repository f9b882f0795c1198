use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    ResetForm,
    pause::Belief,
    text::{contains, count},
    unavailable,
};
use crate::{BudgetId, GateReason, HttpDialect, Observation, Observations, WallClock};

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static DAY_LIMIT: HeaderName = HeaderName::from_static("x-daily-ratelimit-token-limit");
static DAY_REMAINING: HeaderName = HeaderName::from_static("x-daily-ratelimit-token-remaining");

/// A refusal that asks for this long or longer cannot be about a 2 s window.
const LONG: Duration = Duration::from_secs(60);

/// What Pipedrive's responses say.
///
/// | response | read as |
/// | --- | --- |
/// | `x-ratelimit-limit`, `-remaining`, `-reset` | level of the burst budget |
/// | `x-daily-ratelimit-token-limit`, `-remaining` | level of the day's budget |
/// | 429 whose text says `daily`, or with no daily tokens left, or with a `Retry-After` of a minute or more | the day is exhausted until `Retry-After`, or else until the reset |
/// | any other 429 | too fast: the gate closes for `Retry-After`, or else `x-ratelimit-reset`, or else one window |
/// | 403 with an HTML page | banned by the edge: the gate closes for [`ban_for`](Self::ban_for) |
/// | 503 with `Retry-After` | the gate closes for that time |
///
/// The body must be at hand ([`BodyText`](crate::BodyText)); for one that streams, wrap
/// it in [`HeadersOnly`](crate::HeadersOnly).
///
/// The burst headers are in the public reference; the daily ones and
/// `Retry-After` have only been observed, so nothing depends on them. The
/// search endpoints have a window of their own: a level whose limit is not the
/// burst budget's says nothing about that and is left out, if
/// [`burst_limit`](Self::burst_limit) is given.
#[derive(Clone, Copy, Debug)]
pub struct PipedriveDialect {
    burst: BudgetId,
    day: BudgetId,
    ban: Duration,
    burst_limit: Option<u64>,
    belief: Belief,
}

impl PipedriveDialect {
    /// Tells `burst` and `day` what the responses say.
    #[must_use]
    pub const fn new(burst: BudgetId, day: BudgetId) -> Self {
        Self {
            burst,
            day,
            ban: Duration::from_secs(60),
            burst_limit: None,
            belief: Belief::DEFAULT,
        }
    }

    /// How long a ban parks everything, if it names no time itself. Default:
    /// 60 s, a guess: no source states how long the edge's bans last.
    #[must_use]
    pub const fn ban_for(mut self, time: Duration) -> Self {
        self.ban = time;
        self
    }

    /// The limit of the burst window. Burst levels with another limit are then
    /// taken for those of another window and left out. Default: all are read.
    #[must_use]
    pub const fn burst_limit(mut self, limit: u64) -> Self {
        self.burst_limit = Some(limit);
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
        let pause = self.belief.retry_after(headers, clock);
        let daily = contains(text, b"daily")
            || count(headers, &DAY_REMAINING) == Some(0)
            || pause.is_some_and(|pause| pause >= LONG);
        if daily {
            return Observation::Exhausted { budget: self.day, retry_after: pause };
        }
        let reset = || self.belief.reset(ResetForm::Seconds, headers, &RESET, clock);
        // A pause of nothing would let the next call run into the same wall.
        let pause = pause.or_else(reset).filter(|pause| !pause.is_zero());
        Observation::Burst { budget: self.burst, retry_after: pause }
    }
}

impl HttpDialect for PipedriveDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let mut said = Observations::none();
        if let Some(remaining) = count(headers, &DAY_REMAINING) {
            let limit = count(headers, &DAY_LIMIT);
            said.push(Observation::Level { budget: self.day, limit, remaining, reset: None });
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                said.push(self.refused(headers, text, clock));
                return said;
            }
            StatusCode::FORBIDDEN if is_html(headers, text) => {
                let retry_after = self.belief.retry_after(headers, clock).unwrap_or(self.ban);
                said.push(Observation::Closed { reason: GateReason::Banned, retry_after });
                return said;
            }
            _ => {
                let paused = unavailable(status, headers, clock, self.belief);
                paused.iter().for_each(|observation| said.push(*observation));
            }
        }
        if let Some(remaining) = count(headers, &REMAINING) {
            let limit = count(headers, &LIMIT);
            if self.burst_limit.is_none() || limit == self.burst_limit {
                let reset = self.belief.reset(ResetForm::Seconds, headers, &RESET, clock);
                said.push(Observation::Level { budget: self.burst, limit, remaining, reset });
            }
        }
        said
    }
}

fn is_html(headers: &HeaderMap, text: &[u8]) -> bool {
    let by_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| contains(value.as_bytes(), b"text/html"));
    by_type || text.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::{Dialect, SystemClock};

    const BURST: BudgetId = BudgetId(0);
    const DAY: BudgetId = BudgetId(1);

    fn said(status: u16, headers: &[(&str, &str)], body: &'static str) -> Vec<Observation> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(body).unwrap();
        let dialect = PipedriveDialect::new(BURST, DAY);
        dialect.observe(&response, &SystemClock).iter().copied().collect()
    }

    #[test]
    fn both_levels_are_read_from_a_success() {
        let headers = [
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-remaining", "97"),
            ("x-ratelimit-reset", "2"),
            ("x-daily-ratelimit-token-limit", "1170000"),
            ("x-daily-ratelimit-token-remaining", "1068620"),
        ];
        let day = Observation::Level {
            budget: DAY,
            limit: Some(1_170_000),
            remaining: 1_068_620,
            reset: None,
        };
        let reset = Some(Duration::from_secs(2));
        let burst = Observation::Level { budget: BURST, limit: Some(100), remaining: 97, reset };
        assert_eq!(said(200, &headers, "{}"), [day, burst]);
    }

    #[test]
    fn nothing_is_made_up_where_headers_are_absent_or_wrong() {
        assert_eq!(said(200, &[("x-ratelimit-remaining", "many")], "{}"), []);
        assert_eq!(said(500, &[], "oops"), []);
    }

    #[test]
    fn a_burst_refusal_takes_the_windows_reset() {
        let body = r#"{"success":false,"error":"request over limit","errorCode":429}"#;
        let retry_after = Some(Duration::from_secs(1));
        let burst = Observation::Burst { budget: BURST, retry_after };
        assert_eq!(said(429, &[("x-ratelimit-reset", "1")], body), [burst]);
        let unknown = Observation::Burst { budget: BURST, retry_after: None };
        assert_eq!(said(429, &[], body), [unknown]);
        assert_eq!(said(429, &[("retry-after", "0")], body), [unknown]);
    }

    #[test]
    fn an_exhausted_day_is_told_by_text_by_tokens_or_by_a_long_pause() {
        let pause = Some(Duration::from_secs(3_939));
        let text = r#"{"success":false,"error":"Daily request budget exceeded","errorCode":429}"#;
        let plain = Observation::Exhausted { budget: DAY, retry_after: None };
        assert_eq!(said(429, &[], text), [plain]);
        let long = Observation::Exhausted { budget: DAY, retry_after: pause };
        assert_eq!(said(429, &[("retry-after", "3939")], "{}"), [long]);
        let empty = said(429, &[("x-daily-ratelimit-token-remaining", "0")], "{}");
        assert_eq!(empty[1], plain);
    }

    #[test]
    fn a_page_of_the_edge_is_a_ban_and_a_json_403_is_not() {
        let retry_after = Duration::from_secs(60);
        let ban = Observation::Closed { reason: GateReason::Banned, retry_after };
        assert_eq!(said(403, &[("content-type", "text/html; charset=UTF-8")], ""), [ban]);
        assert_eq!(said(403, &[], "  <!DOCTYPE html>"), [ban]);
        assert_eq!(said(403, &[], r#"{"success":false}"#), []);
    }

    #[test]
    fn the_search_window_is_not_taken_for_the_burst_window() {
        let headers = [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "0")];
        let response = headers
            .iter()
            .fold(Response::builder(), |r, (name, value)| r.header(*name, *value))
            .body(())
            .unwrap();
        let dialect = PipedriveDialect::new(BURST, DAY).burst_limit(100);
        assert!(dialect.observe(&response, &SystemClock).is_empty());
    }
}
