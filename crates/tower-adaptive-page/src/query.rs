//! The page-size parameter in a query; every other byte stays as it is.

use http::{Uri, uri::PathAndQuery};

/// Lets the query of `uri` ask for at most `size` rows, and says how many it
/// asks for now. `None`: the value is no number, or the address would become
/// too long; nothing was changed.
pub(crate) fn limit_rows(uri: &mut Uri, parameter: &str, size: u32) -> Option<u32> {
    let query = uri.query().unwrap_or("");
    let mut asked = None;
    let mut rewrite = false;
    for (key, value) in pairs(query) {
        if is(key, parameter) {
            // A value beyond u32 is a number all the same.
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let value = value.parse().unwrap_or(u32::MAX);
            rewrite |= value > size;
            // Which of several counts is the server's affair; keep the largest.
            asked = asked.max(Some(value.min(size)));
        }
    }
    match asked {
        Some(asked) if !rewrite => Some(asked),
        Some(asked) => replace_query(uri, &with_smaller(query, parameter, size)).then_some(asked),
        None => {
            let mut query = query.to_owned();
            push_pair(&mut query, parameter, &size.to_string());
            replace_query(uri, &query).then_some(size)
        }
    }
}

/// Whether the query of `uri` has the parameter.
pub(crate) fn has(uri: &Uri, parameter: &str) -> bool {
    pairs(uri.query().unwrap_or("")).any(|(key, _)| is(key, parameter))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn with_smaller(query: &str, parameter: &str, size: u32) -> String {
    let mut smaller = String::with_capacity(query.len());
    for (n, pair) in query.split('&').enumerate() {
        if n > 0 {
            smaller.push('&');
        }
        match pair.split_once('=') {
            Some((key, value))
                if is(key, parameter) && value.parse().unwrap_or(u32::MAX) > size =>
            {
                smaller.push_str(key);
                smaller.push('=');
                smaller.push_str(&size.to_string());
            }
            _ => smaller.push_str(pair),
        }
    }
    smaller
}

/// Replaces the query; `false` if the result would be no address.
pub(crate) fn replace_query(uri: &mut Uri, query: &str) -> bool {
    let path_and_query = format!("{}?{query}", uri.path());
    let Ok(path_and_query) = PathAndQuery::try_from(path_and_query) else { return false };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    match Uri::from_parts(parts) {
        Ok(changed) => *uri = changed,
        Err(_) => return false,
    }
    true
}

/// Whether an encoded key means `parameter`; without building a string.
fn is(key: &str, parameter: &str) -> bool {
    let mut encoded = key.bytes();
    let mut wanted = parameter.bytes();
    loop {
        let byte = match encoded.next() {
            Some(b'%') => {
                let digits = (encoded.next().and_then(hex), encoded.next().and_then(hex));
                let (Some(high), Some(low)) = digits else { return false };
                Some(high << 4 | low)
            }
            Some(b'+') => Some(b' '),
            byte => byte,
        };
        match (byte, wanted.next()) {
            (None, None) => return true,
            (byte, wanted) if byte != wanted => return false,
            _ => {}
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|digit| digit as u8)
}

/// Appends a pair.
pub(crate) fn push_pair(query: &mut String, key: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    push_encoded(query, key);
    query.push('=');
    push_encoded(query, value);
}

/// Appends `text`, percent-encoded but for what RFC 3986 calls unreserved.
fn push_encoded(query: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                query.push(byte as char);
            }
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                query.push('%');
                query.push(DIGITS[usize::from(byte >> 4)] as char);
                query.push(DIGITS[usize::from(byte & 15)] as char);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(uri: &str, size: u32) -> (String, Option<u32>) {
        let mut uri: Uri = uri.parse().unwrap();
        let asked = limit_rows(&mut uri, "limit", size);
        (uri.to_string(), asked)
    }

    #[test]
    fn a_larger_value_becomes_the_size_and_a_smaller_one_stays() {
        assert_eq!(limited("/d?limit=500", 100), ("/d?limit=100".into(), Some(100)));
        assert_eq!(limited("/d?limit=50", 100), ("/d?limit=50".into(), Some(50)));
        assert_eq!(limited("/d?limit=007", 100), ("/d?limit=007".into(), Some(7)));
        assert_eq!(limited("/d?limit=99999999999", 100), ("/d?limit=100".into(), Some(100)));
    }

    #[test]
    fn an_absent_parameter_is_added_at_the_end() {
        assert_eq!(limited("/d", 100), ("/d?limit=100".into(), Some(100)));
        assert_eq!(limited("/d?", 100), ("/d?limit=100".into(), Some(100)));
        assert_eq!(limited("/d?a=1", 100), ("/d?a=1&limit=100".into(), Some(100)));
        assert_eq!(limited("http://h:1/d", 9), ("http://h:1/d?limit=9".into(), Some(9)));
        assert_eq!(limited("http://h", 9), ("http://h/?limit=9".into(), Some(9)));
    }

    #[test]
    fn all_other_bytes_stay_as_they_are() {
        let (uri, _) = limited("https://h/a%2Fb?x=%20+&&limits=900&limit=500&=&y&nolimit=600", 20);
        assert_eq!(uri, "https://h/a%2Fb?x=%20+&&limits=900&limit=20&=&y&nolimit=600");
    }

    #[test]
    fn an_encoded_key_is_the_same_key() {
        assert_eq!(limited("/d?l%69mit=500", 100).0, "/d?l%69mit=100");
        assert_eq!(limited("/d?l%6=500", 100).0, "/d?l%6=500&limit=100");
    }

    #[test]
    fn what_is_no_number_is_left_to_the_server() {
        for uri in ["/d?limit=all", "/d?limit=", "/d?limit", "/d?limit=-5", "/d?limit=%35"] {
            assert_eq!(limited(uri, 100), (uri.to_string(), None));
        }
    }

    #[test]
    fn every_occurrence_is_limited() {
        let (uri, asked) = limited("/d?limit=500&limit=3&limit=200", 100);
        assert_eq!((uri.as_str(), asked), ("/d?limit=100&limit=3&limit=100", Some(100)));
    }
}
