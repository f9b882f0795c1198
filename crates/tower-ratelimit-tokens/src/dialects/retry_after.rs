use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::{MAX_PAUSE, closed, pause::Belief, unavailable};
use crate::{Dialect, HttpDialect, Observations, WallClock};

/// How long `Retry-After` asks for, in either of its forms.
///
/// A date is held against the response's own `Date`, so that a clock that is
/// wrong here does not matter; without one, against `clock`. A date in the past
/// asks for no time. Never shortened here; what asks for more than [`MAX_PAUSE`]
/// is garbage and says nothing. Of several, the longest counts.
#[must_use]
pub fn retry_after(headers: &HeaderMap, clock: &dyn WallClock) -> Option<Duration> {
    Belief::up_to(MAX_PAUSE).retry_after(headers, clock)
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
    belief: Belief,
}

impl RetryAfterDialect {
    /// A 429 or 503 without `Retry-After` says nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { too_many: None, belief: Belief::DEFAULT }
    }

    /// How long a 429 without `Retry-After` closes the gate. Default: not at all.
    #[must_use]
    pub const fn too_many(mut self, pause: Duration) -> Self {
        self.too_many = Some(pause);
        self
    }

    /// A longer pause is taken for garbage and counts as not said. Default:
    /// [`BELIEVED_PAUSE`](super::BELIEVED_PAUSE), 32 days; never more than
    /// [`MAX_PAUSE`].
    #[must_use]
    pub const fn believe_up_to(mut self, pause: Duration) -> Self {
        self.belief = Belief::up_to(pause);
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
        if status != StatusCode::TOO_MANY_REQUESTS {
            return unavailable(status, headers, clock, self.belief);
        }
        let pause = self.belief.retry_after(headers, clock).or(self.too_many);
        pause.map_or_else(Observations::none, |pause| closed(pause).into())
    }
}

impl<B> Dialect<Response<B>> for RetryAfterDialect {
    fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
        self.read(response.status(), response.headers(), &[], clock)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use jiff::Timestamp;

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
            ("1e3", None),
            ("31622400", Some(31_622_400)),
            ("31622401", None),
            ("18446744073709551615", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
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

    #[test]
    fn of_several_the_longest_that_is_believed_counts() {
        let mut several = headers(&[("retry-after", "5")]);
        for text in ["7", "soon", "999999999999"] {
            several.append("retry-after", text.parse().unwrap());
        }
        assert_eq!(retry_after(&several, &SystemClock), Some(Duration::from_secs(7)));
    }

    #[test]
    fn garbage_falls_back_to_what_holds_without_a_header() {
        let dialect = RetryAfterDialect::new().believe_up_to(Duration::from_secs(60));
        let long = headers(&[("retry-after", "61")]);
        let read = |dialect: RetryAfterDialect, status, headers: &HeaderMap| {
            dialect.read(status, headers, &[], &SystemClock).iter().next().copied()
        };
        let (many, down) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(read(dialect, many, &long), None);
        assert_eq!(read(dialect, down, &long), None);
        let dialect = dialect.too_many(Duration::from_secs(9));
        let closed = |seconds| Some(closed(Duration::from_secs(seconds)));
        assert_eq!(read(dialect, many, &long), closed(9));
        assert_eq!(read(dialect, many, &headers(&[("retry-after", "60")])), closed(60));
        // Only a 429 is a refusal without a time, and only a 503 asks for one besides.
        assert_eq!(read(dialect, down, &long), None);
        assert_eq!(read(dialect, StatusCode::OK, &headers(&[("retry-after", "60")])), None);
    }
}
