//! Pure: numbers and words in headers and bodies, read without allocating.

use http::{HeaderMap, HeaderName};

/// How much of a refusal's text is looked through.
pub(crate) const GLANCE: usize = 4 * 1024;

/// A number that is not negative, as servers write it: digits, perhaps a point
/// and more digits. No sign, no exponent, no NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    whole: u64,
    /// Whether there is more behind the point than zeros.
    more: bool,
}

impl Number {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let point = text.iter().position(|&b| b == b'.');
        let (whole, part) = match point {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[][..]),
        };
        let more = part.iter().any(|&b| b != b'0');
        let good = part.iter().all(u8::is_ascii_digit);
        digits(whole).filter(|_| good).map(|whole| Self { whole, more })
    }

    /// Rounded down: what is left.
    pub(crate) const fn down(self) -> u64 {
        self.whole
    }

    /// Rounded up: how long to wait.
    pub(crate) const fn up(self) -> u64 {
        self.whole.saturating_add(self.more as u64)
    }
}

/// One or more digits and nothing else; `None` if they overflow.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The value of a header. Sent twice with different values, it says nothing.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut all = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// How many units a header tells, rounded down.
pub(crate) fn count(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    Number::parse(one(headers, name)?).map(Number::down)
}

/// Whether `word`, in lower case, occurs near the beginning of `text`.
pub(crate) fn contains(text: &[u8], word: &[u8]) -> bool {
    after(text, word).is_some()
}

/// What follows `word`, in lower case, near the beginning of `text`.
pub(crate) fn after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let glance = &text[..text.len().min(GLANCE)];
    let at = glance.windows(word.len()).position(|found| found.eq_ignore_ascii_case(word))?;
    Some(&glance[at + word.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_with_a_fraction_and_nothing_else() {
        for (text, down_up) in [
            ("0", Some((0, 0))),
            ("39", Some((39, 39))),
            ("1.2", Some((1, 2))),
            ("2.0", Some((2, 2))),
            ("2.", Some((2, 2))),
            ("18446744073709551615.9", Some((u64::MAX, u64::MAX))),
            ("18446744073709551616", None),
            ("", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("NaN", None),
            ("inf", None),
            ("1.2.3", None),
            ("1.x", None),
            ("1 2", None),
        ] {
            let found = Number::parse(text.as_bytes()).map(|n| (n.down(), n.up()));
            assert_eq!(found, down_up, "{text}");
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_says_nothing() {
        static NAME: HeaderName = HeaderName::from_static("x-left");
        let mut headers = HeaderMap::new();
        assert_eq!(count(&headers, &NAME), None);
        headers.append(&NAME, "7".parse().unwrap());
        headers.append(&NAME, " 7 ".parse().unwrap());
        assert_eq!(count(&headers, &NAME), Some(7));
        headers.append(&NAME, "8".parse().unwrap());
        assert_eq!(count(&headers, &NAME), None);
    }

    #[test]
    fn words_are_found_near_the_beginning_only() {
        assert_eq!(after(b"Please TRY again in 2s", b"try again in "), Some(&b"2s"[..]));
        let mut long = vec![b' '; GLANCE];
        long.extend_from_slice(b"daily");
        assert!(!contains(&long, b"daily"));
    }
}
