//! The `Retry-After` field (RFC 9110, section 10.2.3), without a clock.
//!
//! What the policy makes of it:
//!
//! | the server says | the wait before the retry |
//! | --- | --- |
//! | whole seconds, or a date to come | that, and up to a tenth (at most 1 s) more by chance; never less, whatever the cap |
//! | zero, or a date that is past | our own delay: "at once" is no reason to hammer |
//! | a negative number, a fraction, any other text | our own delay, as if nothing had been said |
//! | more than a year | a year |
//! | longer than the caller's deadline | none: the outcome is final at once ([`Reason::Deadline`](crate::Reason::Deadline)) |
//! | longer than [`max_wait`](crate::RetryBuilder::max_wait), and there is no deadline | none ([`Reason::WaitTooLong`](crate::Reason::WaitTooLong)) |
//!
//! When there is none, [`NotRetried::retry_after`](crate::NotRetried::retry_after) tells the caller how long it would have been.

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
