//! The `Retry-After` field (RFC 9110, section 10.2.3), without a clock.

use std::time::{Duration, SystemTime};

/// How long the server asks us to wait.
///
/// `value` is either a whole number of seconds or an HTTP date (all three forms
/// of RFC 9110), which is measured from `now`. A date in the past is no wait.
/// `max` only bounds the absurd: a longer wait comes back as `max`.
/// `None` if it is neither form.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_retry_classify::retry_after::parse;
///
/// let day = Duration::from_secs(24 * 60 * 60);
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
/// assert_eq!(parse("120", now, day), Some(Duration::from_secs(120)));
/// assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", now, day), Some(Duration::from_secs(77)));
/// assert_eq!(parse("soon", now, day), None);
/// ```
#[must_use]
pub fn parse(value: &str, now: SystemTime, max: Duration) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits, so the only failure is a number too great.
        let seconds = value.parse().map_or(Duration::MAX, Duration::from_secs);
        return Some(seconds.min(max));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO).min(max))
}
