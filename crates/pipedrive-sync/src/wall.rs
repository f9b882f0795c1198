//! The one place that reads the wall clock.
//!
//! Durations are measured with tokio's clock; only what is written for people or compared with the
//! server's times comes from here.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// The time of day, to the second.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now)
}

/// The time of day when a wait that begins now is over: the next whole second, never before it.
#[must_use]
pub fn after(wait: SignedDuration) -> Timestamp {
    let then = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    then.round(up).unwrap_or(then)
}

/// [`now`] as RFC 3339 in UTC without fractional seconds, which is the form that the API understands.
#[must_use]
pub fn now_text() -> String {
    text(now())
}

/// A time as RFC 3339 in UTC without fractional seconds.
#[must_use]
pub fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a time as the API writes it: RFC 3339 (version 2) or `YYYY-MM-DD HH:MM:SS` in UTC (version 1).
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read_and_fractions_never_written() {
        let v2 = parse("2026-01-02T03:04:05Z").unwrap();
        assert_eq!(parse("2026-01-02 03:04:05"), Some(v2));
        assert_eq!(text(v2), "2026-01-02T03:04:05Z");
        assert_eq!(text(parse("2026-01-02T03:04:05.789Z").unwrap()), "2026-01-02T03:04:05Z");
        assert_eq!(parse("yesterday"), None);
    }
}
