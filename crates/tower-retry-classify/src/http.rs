//! Statuses.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::{BoxError, Class, Classify, Verdict, retry_after};

/// A server that names a day further away than this is not believed, only
/// waited for: the figure keeps arithmetic from overflowing.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Classifies an [`http::Response`] by its status.
///
/// | status | class | retried |
/// | --- | --- | --- |
/// | 429 | rate limit | yes |
/// | 500, 502, 503, 504, 524 | server | yes |
/// | 408 | time-out | yes |
/// | 401 | authentication | no |
/// | 402 | quota | no |
/// | 403 | forbidden | no |
/// | 404, 410 | not found | no |
/// | 400, 405, 415, 422, 501 and every other 4xx | bad request | no |
/// | other 5xx | server | no |
/// | the rest | no opinion | no |
///
/// `Retry-After` is read, in both its forms, for those that are retried.
///
/// To change a line of the table, put a classifier behind this one, which overrules
/// it; [`also`](Self::also) is short for one that has a status retried.
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpStatus {
    also: Vec<(StatusCode, Class)>,
    wall: fn() -> SystemTime,
}

impl HttpStatus {
    /// The table above.
    pub const fn new() -> Self {
        Self { also: Vec::new(), wall: wall_clock }
    }

    /// Has another status retried, as an outcome of the class.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_retry_classify::{BoxError, Class, Classify, HttpStatus, Verdict};
    ///
    /// let locked = HttpStatus::new().also(StatusCode::LOCKED, Class::Custom("locked"));
    /// let answer = http::Response::builder().status(423).body(())?;
    /// let verdict = locked.classify(&(), Ok(&answer));
    /// assert_eq!(verdict, Verdict::retry(Class::Custom("locked")));
    /// # Ok::<(), BoxError>(())
    /// ```
    pub fn also(mut self, status: StatusCode, class: Class) -> Self {
        self.also.push((status, class));
        self
    }

    /// Where the wall-clock time comes from that a `Retry-After` date is
    /// measured against. Default: the system's clock.
    pub const fn wall_clock(mut self, wall: fn() -> SystemTime) -> Self {
        self.wall = wall;
        self
    }

    /// The verdict on a status and the headers that came with it.
    #[must_use]
    pub fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        if status.is_success() && self.also.is_empty() {
            return Verdict::NoOpinion;
        }
        let class = match self.also.iter().find(|(also, _)| *also == status) {
            Some(&(_, class)) => class,
            None => match status.as_u16() {
                408 => Class::Timeout,
                429 => Class::RateLimit,
                500 | 502 | 503 | 504 | 524 => Class::Server,
                401 => return Verdict::never(Class::Auth),
                402 => return Verdict::never(Class::Quota),
                403 => return Verdict::never(Class::Forbidden),
                404 | 410 => return Verdict::never(Class::NotFound),
                501 | 400..=499 => return Verdict::never(Class::BadRequest),
                505.. => return Verdict::never(Class::Server),
                _ => return Verdict::NoOpinion,
            },
        };
        let after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after::parse(value, (self.wall)(), LONGEST));
        Verdict::Retry { class, after }
    }
}

impl Default for HttpStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, B> Classify<Req, http::Response<B>> for HttpStatus {
    fn classify(&self, _: &Req, outcome: Result<&http::Response<B>, &BoxError>) -> Verdict {
        match outcome {
            Ok(response) => self.judge(response.status(), response.headers()),
            Err(_) => Verdict::NoOpinion,
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a date on the wire can only be held against the wall clock"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16) -> Verdict {
        HttpStatus::new().judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new())
    }

    #[test]
    fn the_whole_table() {
        for status in 100..=999 {
            let expected = match status {
                429 => Verdict::retry(Class::RateLimit),
                408 => Verdict::retry(Class::Timeout),
                500 | 502 | 503 | 504 | 524 => Verdict::retry(Class::Server),
                401 => Verdict::never(Class::Auth),
                402 => Verdict::never(Class::Quota),
                403 => Verdict::never(Class::Forbidden),
                404 | 410 => Verdict::never(Class::NotFound),
                400..=499 | 501 => Verdict::never(Class::BadRequest),
                505.. => Verdict::never(Class::Server),
                _ => Verdict::NoOpinion,
            };
            assert_eq!(judge(status), expected, "{status}");
        }
    }

    #[test]
    fn also_a_success_can_be_worth_a_retry() {
        let pending = HttpStatus::new().also(StatusCode::ACCEPTED, Class::Custom("pending"));
        let verdict = pending.judge(StatusCode::ACCEPTED, &HeaderMap::new());
        assert_eq!(verdict, Verdict::retry(Class::Custom("pending")));
        assert_eq!(pending.judge(StatusCode::OK, &HeaderMap::new()), Verdict::NoOpinion);
    }

    #[test]
    fn retry_after_comes_along_in_both_forms() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(httpdate::fmt_http_date(at(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        let status = HttpStatus::new()
            .wall_clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90));
        for (value, seconds) in [("7", 7), ("Sun, 06 Nov 1994 08:49:37 GMT", 90)] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            let after = Some(Duration::from_secs(seconds));
            let verdict = status.judge(StatusCode::SERVICE_UNAVAILABLE, &headers);
            assert_eq!(verdict, Verdict::Retry { class: Class::Server, after });
        }
    }
}
