//! How long a server wants to be left alone, and what is believed of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::{
    date,
    text::{Number, digits, one},
};
use crate::WallClock;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// No pause longer than this is ever believed: 366 days.
///
/// What is longer comes from a server that counts in another unit or is
/// broken, and must not close the gate for good.
pub const MAX_PAUSE: Duration = Duration::from_secs(366 * DAY.as_secs());

/// The longest pause that a dialect believes, unless its `believe_up_to` says
/// otherwise: 32 days, as the quota of a month comes back after 31 at most.
///
/// A pause that is believed is never shortened. A longer one counts as not said,
/// so that what holds without one holds: the budget's window, the day's reset,
/// the dialect's own default.
pub const BELIEVED_PAUSE: Duration = Duration::from_secs(32 * DAY.as_secs());

/// The longest pause that is not garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Belief(Duration);

impl Default for Belief {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Belief {
    pub(crate) const DEFAULT: Self = Self(BELIEVED_PAUSE);

    pub(crate) const fn up_to(pause: Duration) -> Self {
        let shorter = pause.as_nanos() < MAX_PAUSE.as_nanos();
        Self(if shorter { pause } else { MAX_PAUSE })
    }

    pub(crate) fn allows(self, pause: Duration) -> bool {
        pause <= self.0
    }

    /// What `Retry-After` asks for. Sent twice, the longer that is believed counts.
    pub(crate) fn retry_after(
        self,
        headers: &HeaderMap,
        clock: &dyn WallClock,
    ) -> Option<Duration> {
        let values = headers.get_all(header::RETRY_AFTER).iter();
        let pauses = values.filter_map(|value| {
            let text = value.as_bytes().trim_ascii();
            let seconds = || Number::parse(text).map(|n| Duration::from_secs(n.up()));
            seconds().or_else(|| date::http(text).map(|at| until(at, headers, clock)))
        });
        pauses.filter(|&pause| self.allows(pause)).max()
    }

    /// The time to a reset that a header tells in `form`.
    pub(crate) fn reset(
        self,
        form: ResetForm,
        headers: &HeaderMap,
        name: &HeaderName,
        clock: &dyn WallClock,
    ) -> Option<Duration> {
        let text = one(headers, name)?;
        let number = || Number::parse(text);
        let point = |at: Option<i64>| at.map(|at| until(at, headers, clock));
        let pause = match form {
            ResetForm::Seconds => number().map(|n| Duration::from_secs(n.up())),
            ResetForm::Millis => number().map(|n| Duration::from_millis(n.up())),
            ResetForm::EpochSeconds => point(number().and_then(date::epoch_seconds)),
            ResetForm::EpochMillis => point(number().and_then(date::epoch_millis)),
            ResetForm::HttpDate => point(date::http(text)),
            ResetForm::Iso8601 => point(date::iso(text)),
            ResetForm::Units => units(text),
            ResetForm::Auto => return self.guess(text, headers, clock),
        };
        pause.filter(|&pause| self.allows(pause))
    }

    fn guess(self, text: &[u8], headers: &HeaderMap, clock: &dyn WallClock) -> Option<Duration> {
        let Some(number) = Number::parse(text) else {
            let at = date::iso(text).or_else(|| date::http(text));
            let pause = at.map(|at| until(at, headers, clock)).or_else(|| units(text));
            return pause.filter(|&pause| self.allows(pause));
        };
        let seconds = Duration::from_secs(number.up());
        if self.allows(seconds) {
            return Some(seconds);
        }
        let now = now(headers, clock);
        let near = |at: &i64| self.allows(Duration::from_millis(at.abs_diff(now)));
        let at = date::epoch_seconds(number).filter(near);
        let at = at.or_else(|| date::epoch_millis(number).filter(near))?;
        Some(between(now, at))
    }
}

/// How a header tells when a window resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetForm {
    /// Seconds from now: `30`.
    Seconds,
    /// Milliseconds from now: `30000`.
    Millis,
    /// Seconds since 1970: `1795435230`.
    EpochSeconds,
    /// Milliseconds since 1970: `1795435230000`.
    EpochMillis,
    /// As in the `Date` header: `Mon, 23 Nov 2026 12:00:30 GMT`.
    HttpDate,
    /// ISO 8601, as RFC 3339 narrows it: `2026-11-23T12:00:30Z`. UTC if it has no
    /// offset.
    Iso8601,
    /// A length of time with its units: `30s`, `6m0s`, `120ms`. A bare number is
    /// seconds.
    Units,
    /// Whichever it is. A date or a length with units is told by its look. A
    /// number that would be a believable pause
    /// ([`believe_up_to`](super::GenericDialect::believe_up_to)) is one, in
    /// seconds. A greater number is a point in time, in seconds or else in
    /// milliseconds since 1970, if that point lies no farther than a believable
    /// pause from now, in the past or in the future. Any other number counts as
    /// not said. So however wrong the guess is, the pause is a believable one.
    #[default]
    Auto,
}

/// The server's own clock if it tells it, or else `clock`; in milliseconds.
fn now(headers: &HeaderMap, clock: &dyn WallClock) -> i64 {
    let date = one(headers, &header::DATE).and_then(date::http);
    date.unwrap_or_else(|| clock.now().as_millisecond())
}

/// Nothing if it is over.
fn between(now: i64, at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
}

fn until(at: i64, headers: &HeaderMap, clock: &dyn WallClock) -> Duration {
    between(now(headers, clock), at)
}

/// A length of time as Go writes it: `1h2m3.5s`, `120ms`. A bare number is
/// seconds. Parts of a nanosecond are rounded up.
pub(crate) fn units(text: &[u8]) -> Option<Duration> {
    if let Some(seconds) = Number::parse(text) {
        return Some(Duration::from_secs(seconds.up()));
    }
    let (mut rest, mut sum) = (text, 0_u128);
    while !rest.is_empty() {
        let span = |rest: &[u8], test: fn(&u8) -> bool| {
            rest.iter().position(|b| !test(b)).unwrap_or(rest.len())
        };
        let (number, after) = rest.split_at(span(rest, |b| b.is_ascii_digit() || *b == b'.'));
        let (unit, after) = after.split_at(span(after, |b| !b.is_ascii_digit() && *b != b'.'));
        let unit: u128 = match unit {
            b"h" => 3_600_000_000_000,
            b"m" => 60_000_000_000,
            b"s" => 1_000_000_000,
            b"ms" => 1_000_000,
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
            b"ns" => 1,
            _ => return None,
        };
        let point = number.iter().position(|&b| b == b'.').unwrap_or(number.len());
        let (whole, part) = number.split_at(point);
        let part = part.get(1..).unwrap_or_default();
        let (part, beyond) = part.split_at(part.len().min(9));
        let mut nanos = u128::from(digits(whole)?) * unit;
        if !part.is_empty() {
            let more = u128::from(beyond.iter().any(|&b| b != b'0'));
            let scaled = u128::from(digits(part)?) + more;
            nanos += (scaled * unit).div_ceil(10_u128.pow(part.len() as u32));
        }
        if !beyond.iter().all(u8::is_ascii_digit) {
            return None;
        }
        sum = sum.saturating_add(nanos);
        rest = after;
    }
    let sum = u64::try_from(sum).ok()?;
    (!text.is_empty()).then(|| Duration::from_nanos(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AnchoredClock;

    static RESET: HeaderName = HeaderName::from_static("x-reset");

    fn read(form: ResetForm, text: &str) -> Option<Duration> {
        let clock = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(&RESET, text.parse().unwrap());
        Belief::DEFAULT.reset(form, &headers, &RESET, &clock)
    }

    #[tokio::test(start_paused = true)]
    async fn every_form_of_a_reset_is_half_a_minute_from_now() {
        for (form, text) in [
            (ResetForm::Seconds, "30"),
            (ResetForm::Seconds, "29.1"),
            (ResetForm::Millis, "30000"),
            (ResetForm::EpochSeconds, "1795435230"),
            (ResetForm::EpochMillis, "1795435230000"),
            (ResetForm::HttpDate, "Mon, 23 Nov 2026 12:00:30 GMT"),
            (ResetForm::Iso8601, "2026-11-23T14:00:30+02:00"),
            (ResetForm::Units, "0m30s"),
            (ResetForm::Units, "30000ms"),
        ] {
            assert_eq!(read(form, text), Some(Duration::from_secs(30)), "{form:?} {text}");
            if form != ResetForm::Millis {
                assert_eq!(read(ResetForm::Auto, text), Some(Duration::from_secs(30)), "{text}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_guess_never_closes_anything_for_longer_than_is_believed() {
        let month = 32 * 86_400;
        for (text, seconds) in [
            (month.to_string(), Some(month)),
            ((month + 1).to_string(), None),
            ("1795435100".into(), Some(0)), // over
            ((1_795_435_200 + month).to_string(), Some(month)),
            ((1_795_435_200 + month + 1).to_string(), None),
            ("1795435230000000".into(), None), // microseconds
            ("999999999999999999".into(), None),
            ("18446744073709551615".into(), None),
            ("2126-11-23T12:00:00Z".into(), None),
            ("Fri, 31 Dec 9999 23:59:59 GMT".into(), None),
            ("99999999h".into(), None),
            ("-30".into(), None),
            ("NaN".into(), None),
            (String::new(), None),
        ] {
            let found = read(ResetForm::Auto, &text);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn lengths_with_units_are_summed() {
        for (text, nanos) in [
            ("1s", Some(1_000_000_000)),
            ("6m0s", Some(360_000_000_000)),
            ("120ms", Some(120_000_000)),
            ("7.66s", Some(7_660_000_000)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("1.5µs", Some(1_500)),
            ("0.0000000001s", Some(1)),
            ("0.0000015ms", Some(2)),
            ("60", Some(60_000_000_000)),
            ("0", Some(0)),
            ("9.s", Some(9_000_000_000)),
            ("", None),
            ("s", None),
            ("1", Some(1_000_000_000)),
            ("1m30", None),
            ("-1s", None),
            ("1d", None),
            ("1..5s", None),
            ("1.0000000000x1s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(units(text.as_bytes()), nanos.map(Duration::from_nanos), "{text}");
        }
    }

    #[test]
    fn nobody_can_be_told_to_believe_more_than_a_year() {
        assert!(!Belief::up_to(Duration::MAX).allows(MAX_PAUSE + Duration::from_nanos(1)));
        assert!(Belief::up_to(Duration::MAX).allows(MAX_PAUSE));
        assert!(!Belief::up_to(Duration::ZERO).allows(Duration::from_nanos(1)));
    }
}
