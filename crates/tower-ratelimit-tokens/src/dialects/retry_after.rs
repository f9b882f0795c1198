use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};

use crate::{Dialect, GateReason, HttpDialect, Observation, Observations, WallClock};

/// The number in a header; a fraction is rounded up.
pub(crate) fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    match text.split_once('.') {
        None => text.parse().ok(),
        Some((whole, part)) if part.bytes().all(|b| b.is_ascii_digit()) => {
            let more = u64::from(part.bytes().any(|b| b != b'0'));
            whole.parse::<u64>().ok()?.checked_add(more)
        }
        Some(_) => None,
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    static PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

/// How long `Retry-After` asks for, in either of its forms.
///
/// A date is held against the response's own `Date`, so that a clock that is
/// wrong here does not matter; without one, against `clock`. A date in the past
/// asks for no time. The two obsolete forms of HTTP dates are not read. Never
/// shortened here.
#[must_use]
pub fn retry_after(headers: &HeaderMap, clock: &dyn WallClock) -> Option<Duration> {
    if let Some(seconds) = number(headers, &header::RETRY_AFTER) {
        return Some(Duration::from_secs(seconds));
    }
    let at = date(headers, &header::RETRY_AFTER)?;
    let now = date(headers, &header::DATE).unwrap_or_else(|| clock.now());
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Closes the gate for as long as the `Retry-After` of a 429 or a 503 asks, for
/// any HTTP service.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Dialect, GateReason, Observation, RetryAfterDialect, SystemClock};
///
/// let busy = http::Response::builder().status(503).header("retry-after", "7").body(()).unwrap();
/// let said = RetryAfterDialect::new().observe(&busy, &SystemClock);
/// let closed = Observation::Closed { reason: GateReason::RetryAfter, retry_after: Duration::from_secs(7) };
/// assert_eq!(said.iter().next(), Some(&closed));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryAfterDialect {
    too_many: Option<Duration>,
}

impl RetryAfterDialect {
    /// A 429 or 503 without `Retry-After` says nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { too_many: None }
    }

    /// How long a 429 without `Retry-After` closes the gate. Default: not at all.
    #[must_use]
    pub const fn too_many(mut self, pause: Duration) -> Self {
        self.too_many = Some(pause);
        self
    }
}

impl HttpDialect for RetryAfterDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        _: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let pause = match status {
            StatusCode::TOO_MANY_REQUESTS => retry_after(headers, clock).or(self.too_many),
            StatusCode::SERVICE_UNAVAILABLE => retry_after(headers, clock),
            _ => None,
        };
        pause.map_or_else(Observations::none, |retry_after| {
            Observation::Closed { reason: GateReason::RetryAfter, retry_after }.into()
        })
    }
}

impl<B> Dialect<Response<B>> for RetryAfterDialect {
    fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
        self.read(response.status(), response.headers(), &[], clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[derive(Debug)]
    struct At(&'static str);
    impl WallClock for At {
        fn now(&self) -> Timestamp {
            self.0.parse().unwrap()
        }
    }

    #[test]
    fn seconds_are_read_and_fractions_rounded_up() {
        for (text, seconds) in [
            ("0", Some(0)),
            (" 39 ", Some(39)),
            ("1.2", Some(2)),
            ("2.0", Some(2)),
            ("soon", None),
            ("-1", None),
            ("1.x", None),
        ] {
            let found = retry_after(&headers(&[("retry-after", text)]), &SystemClock);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_date_is_held_against_the_servers_own_clock() {
        let both = headers(&[
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
            ("date", "Fri, 31 Dec 1999 23:59:00 GMT"),
        ]);
        assert_eq!(retry_after(&both, &SystemClock), Some(Duration::from_secs(59)));
    }

    #[test]
    fn a_date_without_the_servers_clock_is_held_against_ours() {
        let one = headers(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]);
        let clock = At("1999-12-31T23:58:59Z");
        assert_eq!(retry_after(&one, &clock), Some(Duration::from_secs(60)));
        let late = At("2000-01-01T00:00:00Z");
        assert_eq!(retry_after(&one, &late), Some(Duration::ZERO));
    }
}
