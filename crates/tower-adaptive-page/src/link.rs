use http::{HeaderMap, header::LINK};

use crate::Next;

impl Next {
    /// The next page that the `Link` header names (RFC 8288, `rel="next"`); [`Next::End`](Self::End) if it names
    /// none.
    ///
    /// An address that is relative to the request is not resolved: a walk follows absolute addresses and
    /// paths that begin with `/`.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tower_adaptive_page::Next;
    ///
    /// let mut headers = HeaderMap::new();
    /// let links = "<https://h/r?page=1>; rel=\"first\", <https://h/r?page=3>; rel=\"next\"";
    /// headers.insert("link", links.parse().unwrap());
    /// assert_eq!(Next::link(&headers), Next::Url("https://h/r?page=3".to_owned()));
    /// ```
    #[must_use]
    pub fn link(headers: &HeaderMap) -> Self {
        let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let target = values.filter_map(next_in).next();
        Self::url(target.map(ToOwned::to_owned))
    }
}

/// The target of the first link of one header value that leads to the next page.
fn next_in(mut text: &str) -> Option<&str> {
    loop {
        text = text.split_once('<')?.1;
        let (target, mut rest) = text.split_once('>')?;
        let mut is_next = None;
        while let Some(parameters) = rest.trim_start().strip_prefix(';') {
            let (name, value, behind) = parameter(parameters);
            // Of several `rel` the first counts.
            if is_next.is_none() && name.trim().eq_ignore_ascii_case("rel") {
                let mut relations = value.split_ascii_whitespace();
                is_next = Some(relations.any(|it| it.eq_ignore_ascii_case("next")));
            }
            rest = behind;
        }
        if is_next == Some(true) {
            return Some(target.trim());
        }
        text = rest;
    }
}

/// Name and value of a parameter, without quotes, and what follows. In a value that has escapes
/// they stay; no relation has any.
fn parameter(text: &str) -> (&str, &str, &str) {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(value) = rest.strip_prefix('=') else { return (name, "", rest) };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_at(value.find([';', ',']).unwrap_or(value.len()));
        return (name, value.trim(), rest);
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    match end {
        Some(end) => (name, &quoted[..end], &quoted[end + 1..]),
        None => (name, quoted, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_relation_is_found_among_all_others() {
        for (text, expected) in [
            ("<https://h/2>; rel=\"next\"", Some("https://h/2")),
            ("<https://h/2>;rel=next", Some("https://h/2")),
            ("<https://h/2>; REL = \"prefetch Next\"", Some("https://h/2")),
            ("</1>; rel=prev, </3>; rel=next", Some("/3")),
            ("</a,b;c>; title=\"x, <y>; rel=next\"; rel=\"last\", </3>; rel=\"next\"", Some("/3")),
            ("</1>; title=\"a \\\" b\"; rel=next", Some("/1")),
            ("</1>; rel=prev; rel=next", None),
            ("</1>; rel=nexts", None),
            ("</1>; rel", None),
            ("</1", None),
            ("", None),
        ] {
            assert_eq!(next_in(text), expected, "{text}");
        }
    }

    #[test]
    fn several_headers_are_one_list_and_none_is_the_end() {
        let mut headers = HeaderMap::new();
        assert_eq!(Next::link(&headers), Next::End);
        headers.append(LINK, "</1>; rel=prev".parse().unwrap());
        assert_eq!(Next::link(&headers), Next::End);
        headers.append(LINK, "</3>; rel=next".parse().unwrap());
        assert_eq!(Next::link(&headers), Next::Url("/3".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[<>;=,\"\\\\a-z ]{0,40}|.*") {
            let _ = next_in(&text);
        }
    }
}
