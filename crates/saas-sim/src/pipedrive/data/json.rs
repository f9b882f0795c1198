//! JSON written straight into a buffer, keys in order, exactly as a sorted tree would print it.

/// Writes one object, key by key. Keys must come in ascending order.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    last: &'a str,
}

impl<'a> Object<'a> {
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, last: "" }
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    /// Writes the key and hands out the buffer for the value.
    pub(crate) fn key(&mut self, key: &'a str) -> &mut Vec<u8> {
        debug_assert!(self.last < key, "keys out of order: {key} after {}", self.last);
        if !self.last.is_empty() {
            self.out.push(b',');
        }
        self.last = key;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn raw(&mut self, key: &'a str, json: &str) {
        self.key(key).extend_from_slice(json.as_bytes());
    }

    pub(crate) fn null(&mut self, key: &'a str) {
        self.raw(key, "null");
    }

    pub(crate) fn bool(&mut self, key: &'a str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    pub(crate) fn int(&mut self, key: &'a str, value: u64) {
        int(self.key(key), value);
    }

    /// An id, or null when it is zero.
    pub(crate) fn id(&mut self, key: &'a str, value: u64) {
        if value == 0 { self.null(key) } else { self.int(key, value) }
    }

    pub(crate) fn str(&mut self, key: &'a str, value: &str) {
        string(self.key(key), value);
    }

    /// A string, or null.
    pub(crate) fn text(&mut self, key: &'a str, value: Option<&str>) {
        match value {
            Some(value) => self.str(key, value),
            None => self.null(key),
        }
    }

    /// A time of version 2: `2026-02-10T11:00:42Z`.
    pub(crate) fn time(&mut self, key: &'a str, seconds: i64) {
        let out = self.key(key);
        out.push(b'"');
        moment(out, seconds, b'T');
        out.extend_from_slice(b"Z\"");
    }

    /// A time of version 1: `2026-02-10 11:00:42`.
    pub(crate) fn old_time(&mut self, key: &'a str, seconds: i64) {
        let out = self.key(key);
        out.push(b'"');
        moment(out, seconds, b' ');
        out.push(b'"');
    }

    /// A date: `2026-02-10`.
    pub(crate) fn date(&mut self, key: &'a str, day: i64) {
        let out = self.key(key);
        out.push(b'"');
        date(out, day);
        out.push(b'"');
    }

    /// An object in the object.
    pub(crate) fn object(&mut self, key: &'a str, fill: impl FnOnce(&mut Object<'_>)) {
        let mut inner = Object::open(self.key(key));
        fill(&mut inner);
        inner.close();
    }
}

/// A whole number.
pub(crate) fn int(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A string with its quotes, escaped where JSON demands it.
pub(crate) fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0x00..=0x1f => {
                out.extend_from_slice(&value.as_bytes()[from..at]);
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                from = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&value.as_bytes()[from..at]);
        out.extend_from_slice(escape);
        from = at + 1;
    }
    out.extend_from_slice(&value.as_bytes()[from..]);
    out.push(b'"');
}

fn two(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// Days since 1970 as `2026-02-10` (civil calendar, years 0 to 9999).
pub(crate) fn date(out: &mut Vec<u8>, day: i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    two(out, year / 100);
    two(out, year);
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day_of_month);
}

/// Seconds since 1970 as date, separator and time of day in UTC.
pub(crate) fn moment(out: &mut Vec<u8>, seconds: i64, separator: u8) {
    date(out, seconds.div_euclid(86_400));
    out.push(separator);
    let time = seconds.rem_euclid(86_400);
    two(out, time / 3_600);
    out.push(b':');
    two(out, time / 60 % 60);
    out.push(b':');
    two(out, time % 60);
}

/// `moment` as a string, with a tail such as `Z`.
pub(crate) fn moment_text(seconds: i64, separator: u8, tail: &str) -> String {
    let mut out = Vec::with_capacity(24);
    moment(&mut out, seconds, separator);
    out.extend_from_slice(tail.as_bytes());
    String::from_utf8(out).expect("only ASCII was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_with_a_calendar_library() {
        for seconds in (-2_000_000_000_i64..4_000_000_000).step_by(77_777_777) {
            let truth = jiff::Timestamp::from_second(seconds).expect("in range").to_string();
            assert_eq!(moment_text(seconds, b'T', "Z"), truth);
        }
    }

    #[test]
    fn strings_and_numbers_agree_with_the_library() {
        for text in
            ["", "plain", "a\"b\\c", "tab\tline\nnull\u{0}\u{1f}\u{8}\u{c}\r", "Łódź 🙂 \u{7f}"]
        {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(out, serde_json::to_vec(text).expect("a string"));
        }
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            int(&mut out, number);
            assert_eq!(String::from_utf8(out).expect("digits"), number.to_string());
        }
    }
}
