//! The one place that reads the wall clock.
//!
//! Durations are measured with tokio's clock; only what is written for people or compared with the
//! server's times comes from here.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit, tz::TimeZone};

/// The time of day, to the second.
#[must_use]
pub fn now() -> Timestamp {
    nearest(exact())
}

/// The time of day, as exact as the system has it. For sums; what is written down is to the second.
#[must_use]
pub fn exact() -> Timestamp {
    Timestamp::now()
}

/// The nearest whole second.
#[must_use]
pub fn nearest(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}

/// The time of day when a wait that begins now is over: the next whole second, never before it.
#[must_use]
pub fn after(wait: SignedDuration) -> Timestamp {
    ceil(exact().saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// The next whole second.
#[must_use]
pub fn ceil(time: Timestamp) -> Timestamp {
    let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    time.round(up).unwrap_or(time)
}

/// A time in a time zone, with its distance from UTC: `2026-03-11 02:00:00 +02:00`.
#[must_use]
pub fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
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
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
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
        let zone = TimeZone::get("Europe/Tallinn").unwrap();
        assert_eq!(local(v2, &zone), "2026-01-02 05:04:05 +02:00");
        assert_eq!(text(ceil(parse("2026-01-02T03:04:05.001Z").unwrap())), "2026-01-02T03:04:06Z");
    }
}
