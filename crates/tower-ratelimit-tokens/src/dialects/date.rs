//! Pure: points in time, as milliseconds since 1970, read without allocating.

use super::text::{Number, digits};

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// Seconds since 1970 at a time of day in UTC. Years 1970 to 9999.
fn seconds(date: (u64, u64, u64), time: (u64, u64, u64)) -> Option<i64> {
    let ((year, month, day), (hour, minute, second)) = (date, time);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let good = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !good || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March, so that the leap day comes last.
    let (march, after) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * march + march / 4 - march / 100 + march / 400 + (153 * after + 2) / 5 + day;
    let days = days - 719_469; // from 0000-03-00 to 1970-01-01
    i64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second.min(59)).ok()
}

/// An HTTP date, in the form that must be sent or in one of the two obsolete
/// forms that must be understood (RFC 9110, section 5.6.7).
pub(crate) fn http(text: &[u8]) -> Option<i64> {
    let mut words =
        text.split(|b| matches!(b, b' ' | b',' | b'-' | b':')).filter(|w| !w.is_empty());
    let mut word = || words.next();
    let mut first = word()?;
    if first.len() >= 3 && first.iter().all(u8::is_ascii_alphabetic) {
        first = word()?; // the day of the week
    }
    let (date, time, zone);
    if first.iter().all(u8::is_ascii_alphabetic) {
        // Sun Nov  6 08:49:37 1994
        let (month, day) = (month(first)?, digits(word()?)?);
        time = (digits(word()?)?, digits(word()?)?, digits(word()?)?);
        date = (digits(word()?)?, month, day);
        zone = word();
    } else {
        // Sun, 06 Nov 1994 08:49:37 GMT, or Sunday, 06-Nov-94 08:49:37 GMT
        let (day, month, year) = (digits(first)?, month(word()?)?, word()?);
        let short = if year.len() == 2 { if year[0] < b'7' { 2_000 } else { 1_900 } } else { 0 };
        date = (digits(year)? + short, month, day);
        time = (digits(word()?)?, digits(word()?)?, digits(word()?)?);
        zone = Some(word()?);
    }
    let utc = |zone: &[u8]| zone == b"GMT" || zone == b"UTC" || zone == b"0000" || zone == b"+0000";
    if word().is_some() || !zone.is_none_or(utc) {
        return None;
    }
    seconds(date, time).map(|seconds| seconds * 1_000)
}

fn month(name: &[u8]) -> Option<u64> {
    let at = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month))?;
    Some(at as u64 + 1)
}

/// A date and time of ISO 8601 as in RFC 3339; without an offset it is UTC.
/// Parts of a millisecond are rounded up.
pub(crate) fn iso(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let mut take = |n: usize| {
        let (taken, left) = rest.split_at_checked(n)?;
        rest = left;
        Some(taken)
    };
    let year = digits(take(4)?)?;
    let month = take(1).filter(|sign| sign == b"-").and_then(|_| digits(take(2)?))?;
    let day = take(1).filter(|sign| sign == b"-").and_then(|_| digits(take(2)?))?;
    take(1).filter(|sign| matches!(sign[0], b'T' | b't' | b' '))?;
    let hour = digits(take(2)?)?;
    let minute = take(1).filter(|sign| sign == b":").and_then(|_| digits(take(2)?))?;
    let mut second = 0;
    if rest.first() == Some(&b':') {
        second = digits(&rest[1..rest.len().min(3)])?;
        rest = rest.get(3..)?;
    }
    let mut millis = 0;
    if let Some((b'.' | b',', after)) = rest.split_first() {
        let end = after.iter().position(|b| !b.is_ascii_digit()).unwrap_or(after.len());
        let (part, left) = after.split_at(end);
        if part.is_empty() {
            return None;
        }
        for place in 0..3 {
            millis = millis * 10 + part.get(place).map_or(0, |b| i64::from(b - b'0'));
        }
        millis += i64::from(part.iter().skip(3).any(|&b| b != b'0'));
        rest = left;
    }
    let offset = match rest {
        [] | b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone {
                [_, _] => (digits(zone)?, 0),
                [_, _, _, _] => (digits(&zone[..2])?, digits(&zone[2..])?),
                [_, _, b':', _, _] => (digits(&zone[..2])?, digits(&zone[3..])?),
                _ => return None,
            };
            let seconds = (hours * 3_600 + minutes * 60) as i64;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = seconds((year, month, day), (hour, minute, second))?;
    Some((seconds - offset) * 1_000 + millis)
}

/// Seconds since 1970; a fraction is rounded up.
pub(crate) fn epoch_seconds(number: Number) -> Option<i64> {
    i64::try_from(number.up()).ok()?.checked_mul(1_000)
}

/// Milliseconds since 1970; a fraction is rounded up.
pub(crate) fn epoch_millis(number: Number) -> Option<i64> {
    i64::try_from(number.up()).ok()
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, fmt::rfc2822};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_of_http_dates_are_one_moment() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 -0000",
        ] {
            assert_eq!(http(text.as_bytes()), Some(784_111_777_000), "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_of_this_century_up_to_69() {
        let year = |text: &str| http(text.as_bytes()).map(|at| 1970 + at / 31_556_952_000);
        assert_eq!(year("Sunday, 06-Nov-70 08:49:37 GMT"), Some(1970));
        assert_eq!(year("Sunday, 06-Nov-69 08:49:37 GMT"), Some(2069));
    }

    #[test]
    fn leap_days_are_where_they_are() {
        for (year, there) in [(2000, true), (2024, true), (2100, false), (2023, false)] {
            let found = iso(format!("{year}-02-29T00:00:00Z").as_bytes());
            assert_eq!(found.is_some(), there, "{year}");
        }
    }

    #[test]
    fn what_is_no_http_date_is_not_read() {
        for text in [
            "",
            "Sun",
            "Sun, 31 Feb 1999 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 06 Nov 1994 08:49:37 -0500",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Nov 18446744073709551615 08:49:37 GMT",
            "39",
        ] {
            assert_eq!(http(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn iso_dates_have_offsets_and_fractions() {
        for (text, millis) in [
            ("2026-11-23T12:00:00Z", 0),
            ("2026-11-23 12:00:00", 0),
            ("2026-11-23t12:00z", 0),
            ("2026-11-23T14:00:00+02:00", 0),
            ("2026-11-23T06:30:00-0530", 0),
            ("2026-11-23T13:00:00+01", 0),
            ("2026-11-23T12:00:00.25Z", 250),
            ("2026-11-23T12:00:00.2500001+00:00", 251),
        ] {
            assert_eq!(iso(text.as_bytes()), Some(1_795_435_200_000 + millis), "{text}");
        }
        for text in
            ["2026-11-23", "2026-13-23T12:00:00Z", "2026-11-23T12:00:00.Z", "2026-11-23T12:0"]
        {
            assert_eq!(iso(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_are_those_of_a_calendar_library(second in 0_i64..253_402_300_800) {
            let at = Timestamp::from_second(second).unwrap();
            let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
            prop_assert_eq!(http(text.as_bytes()), Some(second * 1_000), "{}", text);
            prop_assert_eq!(iso(at.to_string().as_bytes()), Some(second * 1_000), "{}", at);
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (http(&text), iso(&text));
        }
    }
}
