//! Pure: looks single values up in JSON text, without allocating and without
//! recursion. Skips what it does not look for, and does not check it.

use super::text::Number;

/// How much of a body is looked through. In a longer one, only what begins
/// before this is found.
pub(crate) const LOOKED_THROUGH: usize = 1024 * 1024;

/// The value of the member of that name of the object that `text` begins with.
pub(crate) fn member<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let text = &text[..text.len().min(LOOKED_THROUGH)];
    let mut rest = text.trim_ascii_start().strip_prefix(b"{")?;
    loop {
        rest = rest.trim_ascii_start();
        let (key, after) = rest.split_at_checked(string_end(rest)?)?;
        let value = after.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, after) = value.split_at_checked(end(value)?)?;
        if &key[1..key.len() - 1] == name.as_bytes() {
            return Some(value);
        }
        rest = after.trim_ascii_start().strip_prefix(b",")?;
    }
}

/// Down through objects.
pub(crate) fn path<'a>(text: &'a [u8], names: &[&str]) -> Option<&'a [u8]> {
    names.iter().try_fold(text, |text, name| member(text, name))
}

/// A number that is not negative.
pub(crate) fn number(text: &[u8], names: &[&str]) -> Option<Number> {
    Number::parse(path(text, names)?)
}

/// What stands between the quotes; escapes are left as they are.
pub(crate) fn string<'a>(text: &'a [u8], names: &[&str]) -> Option<&'a [u8]> {
    path(text, names)?.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The elements of the array that `text` is; ends at the first that is broken.
pub(crate) fn elements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text.strip_prefix(b"[");
    std::iter::from_fn(move || {
        let from = rest?.trim_ascii_start();
        let (element, after) = from.split_at_checked(end(from)?)?;
        rest = after.trim_ascii_start().strip_prefix(b",");
        Some(element)
    })
}

/// Where the value ends that `text` begins with; `None` if it does not.
fn end(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => string_end(text),
        b'{' | b'[' => nested_end(text),
        _ => text
            .iter()
            .position(|b| matches!(b, b',' | b'}' | b']' | b':' | b'"') || b.is_ascii_whitespace())
            .filter(|&end| end > 0),
    }
}

fn string_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn nested_end(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += text.get(at..)?.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'))?;
        match text[at] {
            b'"' => {
                at += string_end(&text[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] =
        br#" { "data": {"usage": {"total": 1}, "text": "a \"usage\": {\"total\": 2} \\"},
        "list": [ "x", {"a": [1, 2]}, 3.5 ,[] ], "usage" : { "total" : 18 , "none": null } } "#;

    #[test]
    fn a_member_is_found_at_its_own_level_only() {
        assert_eq!(number(BODY, &["usage", "total"]).map(Number::down), Some(18));
        assert_eq!(number(BODY, &["data", "usage", "total"]).map(Number::down), Some(1));
        assert_eq!(number(BODY, &["total"]), None);
        assert_eq!(number(BODY, &["usage", "none"]), None);
        assert_eq!(path(BODY, &["usage", "none"]), Some(&b"null"[..]));
        assert_eq!(string(br#"{"a":"b\"c"}"#, &["a"]), Some(&br#"b\"c"#[..]));
    }

    #[test]
    fn an_array_is_walked() {
        let list = member(BODY, "list").unwrap();
        let found: Vec<_> = elements(list).collect();
        assert_eq!(found, [&b"\"x\""[..], b"{\"a\": [1, 2]}", b"3.5", b"[]"]);
        assert_eq!(elements(b"[]").count(), 0);
        assert_eq!(elements(b"{}").count(), 0);
    }

    #[test]
    fn what_is_cut_off_is_not_found() {
        for end in 0..BODY.len() {
            let found = number(&BODY[..end], &["usage", "total"]).map(Number::down);
            assert!(matches!(found, None | Some(18)), "{end} {found:?}");
        }
        assert_eq!(number(br#"{"a":1"#, &["a"]), None);
    }

    #[test]
    fn nesting_without_end_takes_no_stack() {
        let mut deep = b"{\"a\":".to_vec();
        deep.extend(std::iter::repeat_n(b'[', 500_000));
        assert_eq!(member(&deep, "b"), None);
        deep.extend(std::iter::repeat_n(b']', 500_000));
        deep.extend_from_slice(b",\"b\":1}");
        assert_eq!(member(&deep, "b"), Some(&b"1"[..]));
    }

    #[test]
    fn what_lies_beyond_the_bound_is_not_found() {
        let mut long = b"{\"a\":\"".to_vec();
        long.resize(LOOKED_THROUGH, b' ');
        long.extend_from_slice(b"\",\"b\":1}");
        assert_eq!(member(&long, "b"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}\\[\\]\",:\\\\ a1\n]{0,80}") {
            let text = text.as_bytes();
            let _ = (member(text, "a"), elements(text).count(), string(text, &["a", "a"]));
        }
    }
}
