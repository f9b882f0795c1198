//! One quick look at an answer: whether it surely is whole JSON with nothing wrong in it.
//!
//! The careful parser decides on whatever is not vouched for here, so all that is rare may be left to it: names of the
//! envelope that are written with escapes or twice, a list for the envelope, values nested more than sixty deep.

/// What is left to read; none if something is wrong or rare.
type Rest<'a> = Option<&'a [u8]>;

/// 1 in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// Whether a body surely is one whole object that says `success` or does not say, and has `data` that is not null.
pub(crate) fn is_sound(body: &[u8]) -> bool {
    sound(body).is_some_and(<[u8]>::is_empty)
}

fn sound(body: &[u8]) -> Rest<'_> {
    let (b'{', inside) = token(body)? else { return None };
    let mut seen = [false; 3];
    let rest = members(inside, |name, rest| match name {
        b"success" if !take(&mut seen[0]) => match token(rest)? {
            (b't', [b'r', b'u', b'e', rest @ ..]) => Some(rest),
            _ => None,
        },
        b"data" if !take(&mut seen[1]) => match token(rest)? {
            (b'n', _) => None,
            _ => value(rest),
        },
        b"additional_data" if !take(&mut seen[2]) => match token(rest)? {
            (b'n', _) => value(rest),
            (b'{', inside) => {
                let mut paged = false;
                members(inside, |name, rest| {
                    (name != b"pagination" || !take(&mut paged)).then(|| value(rest))?
                })
            }
            _ => None,
        },
        b"success" | b"data" | b"additional_data" => None,
        _ => value(rest),
    })?;
    seen[1].then(|| rest.trim_ascii_start())
}

/// Sets a flag and says how it stood.
fn take(flag: &mut bool) -> bool {
    std::mem::replace(flag, true)
}

/// Reads an object of the envelope from behind its brace; `each` is given a name and what follows its colon.
#[inline(always)]
fn members<'a>(inside: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8]) -> Rest<'a>) -> Rest<'a> {
    if let (b'}', rest) = token(inside)? {
        return Some(rest);
    }
    let mut rest = inside;
    loop {
        let (b'"', name) = token(rest)? else { return None };
        let after = string(name)?;
        let name = &name[..name.len() - after.len() - 1];
        if !name.iter().all(|byte| byte.is_ascii() && *byte != b'\\') {
            return None;
        }
        let (b':', after) = token(after)? else { return None };
        match token(each(name, after)?)? {
            (b',', after) => rest = after,
            (b'}', rest) => return Some(rest),
            _ => return None,
        }
    }
}

/// Reads one value of any kind.
fn value(mut rest: &[u8]) -> Rest<'_> {
    // The containers around, the innermost in the lowest bit: 1 for an object, 0 for a list. The highest 1 is a mark.
    let mut open: u64 = 1;
    'value: loop {
        let (&first, after) = rest.split_first()?;
        rest = match first {
            b'"' => string(after)?,
            b'n' => after.strip_prefix(b"ull")?,
            b't' => after.strip_prefix(b"rue")?,
            b'f' => after.strip_prefix(b"alse")?,
            b'-' | b'0'..=b'9' => number(first, after)?,
            b'{' | b'[' => match token(after)? {
                // The closing bracket comes two places behind the opening one.
                (byte, after) if byte == first + 2 => after,
                _ if open >> 60 != 0 => return None,
                _ => {
                    open = open << 1 | u64::from(first == b'{');
                    rest = if first == b'{' { name(after)? } else { after };
                    continue;
                }
            },
            b' ' | b'\n' | b'\r' | b'\t' => {
                rest = after;
                continue;
            }
            _ => return None,
        };
        // A value has ended, and with it perhaps what is around it.
        while open != 1 {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            match byte {
                b',' => {
                    if open & 1 == 1 {
                        rest = name(rest)?;
                    }
                    continue 'value;
                }
                b'}' if open & 1 == 1 => open >>= 1,
                b']' if open & 1 == 0 => open >>= 1,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => return None,
            }
        }
        return Some(rest);
    }
}

/// Reads a name and its colon.
#[inline(always)]
fn name(rest: &[u8]) -> Rest<'_> {
    let rest = match rest {
        [b'"', rest @ ..] => rest,
        _ => expect(b'"', rest)?,
    };
    match string(rest)? {
        [b':', rest @ ..] => Some(rest),
        rest => expect(b':', rest),
    }
}
#[cold]
fn expect(wanted: u8, rest: &[u8]) -> Rest<'_> {
    let (found, rest) = token(rest)?;
    (found == wanted).then_some(rest)
}

/// The next byte that is not white space, and what follows it.
#[inline(always)]
fn token(mut rest: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        match rest.split_first()? {
            (&byte, after) if byte > b' ' => return Some((byte, after)),
            (b' ' | b'\n' | b'\r' | b'\t', after) => rest = after,
            _ => return None,
        }
    }
}

/// Reads a string from behind its first quote to behind its last, sixteen bytes at a time.
#[inline(always)]
fn string(mut rest: &[u8]) -> Rest<'_> {
    loop {
        let ordinary = match rest.split_first_chunk() {
            Some((chunk, after)) => {
                let words = u128::from_le_bytes(*chunk);
                match (special(words as u64), special((words >> 64) as u64)) {
                    (0, 0) => {
                        rest = after;
                        continue;
                    }
                    (0, high) => 8 + high.trailing_zeros() as usize / 8,
                    (low, _) => low.trailing_zeros() as usize / 8,
                }
            }
            None => rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?,
        };
        rest = match rest.get(ordinary..)? {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', rest @ ..] => escape(rest)?,
            _ => return None,
        };
    }
}

#[cold]
fn escape(rest: &[u8]) -> Rest<'_> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => Some(rest),
        [b'u', hex @ ..] => {
            let (digits, rest) = hex.split_first_chunk::<4>()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(rest)
        }
        _ => None,
    }
}

/// Marks, by the highest bit of its byte, the lowest of eight bytes that is a quote, a backslash or a control character.
/// Bytes above it may be marked as well.
///
/// A subtraction borrows from the highest bit of a byte that is smaller, and perhaps from the bytes above it.
#[inline(always)]
const fn special(word: u64) -> u64 {
    // With its second bit turned, a quote is a space, and a control character is one still.
    let quote = word ^ (ONES * 2);
    let quote = quote.wrapping_sub(ONES * 0x21) & !quote;
    let backslash = word ^ (ONES * b'\\' as u64);
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (quote | backslash) & (ONES << 7)
}

/// Reads a number from behind its first character.
#[inline(always)]
fn number(first: u8, mut rest: &[u8]) -> Rest<'_> {
    let mut digit = first;
    if first == b'-' {
        (digit, rest) = rest.split_first().map(|(digit, rest)| (*digit, rest))?;
    }
    match digit {
        // A digit behind it is no more of the number, and nothing that may follow one.
        b'0' => {}
        b'1'..=b'9' => rest = digits(rest),
        _ => return None,
    }
    if let [b'.', fraction @ ..] = rest {
        rest = some_digits(fraction)?;
    }
    if let [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] = rest {
        rest = some_digits(power)?;
    }
    Some(rest)
}

#[inline(always)]
fn digits(mut rest: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    rest
}

fn some_digits(rest: &[u8]) -> Rest<'_> {
    let after = digits(rest);
    (after.len() < rest.len()).then_some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::classify::wrong;

    /// Any JSON, with all that is odd in strings and numbers.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// Bytes that matter to a parser of JSON, and others.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            prop::sample::select(b"{}[],:\"\\ \n\t0123456789-+.eEnulltruefalse/u".to_vec()),
            any::<u8>()
        ]
    }

    fn answer(data: &Value, more: &Value, pretty: bool) -> Vec<u8> {
        let answer = json!({"success": true, "data": data, "additional_data": more, "other": more});
        let text =
            if pretty { serde_json::to_vec_pretty(&answer) } else { serde_json::to_vec(&answer) };
        text.unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_good_answer_is_vouched_for(data in json(), pretty: bool) {
            prop_assume!(!data.is_null());
            prop_assert!(is_sound(&answer(&data, &Value::Null, pretty)));
        }

        #[test]
        fn the_careful_parser_agrees_on_whatever_is_vouched_for(
            data in json(),
            more in json(),
            pretty: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, byte()), 0..3),
        ) {
            let mut body = answer(&data, &more, pretty);
            for (place, change, byte) in changes {
                let place = place.index(body.len());
                match change {
                    0 => body[place] = byte,
                    1 => body.insert(place, byte),
                    2 => _ = body.remove(place),
                    _ => body.truncate(place + 1),
                }
            }
            if is_sound(&body) {
                let wrong = wrong(&body);
                prop_assert!(wrong.is_none(), "{:?}: {wrong:?}", String::from_utf8_lossy(&body));
            }
        }

        #[test]
        fn an_answer_cut_short_is_never_vouched_for(data in json(), at: prop::sample::Index) {
            let body = answer(&data, &Value::Null, false);
            prop_assert!(!is_sound(&body[..at.index(body.len())]));
        }

        #[test]
        fn marks_are_right_up_to_the_first(bytes: [u8; 8]) {
            let first = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
            let marked = special(u64::from_le_bytes(bytes));
            prop_assert_eq!((marked != 0).then_some(marked.trailing_zeros() as usize / 8), first);
        }
    }

    #[test]
    fn what_is_wrong_or_rare_is_not_vouched_for() {
        for body in [
            "",
            "null",
            "[]",
            "[true,1]",
            "{}",
            r#"{"success":true}"#,
            r#"{"success":true,"data":null}"#,
            r#"{"success":false,"data":1}"#,
            r#"{"success":1,"data":1}"#,
            r#"{"data":1,"data":2}"#,
            r#"{"success":true,"success":true,"data":1}"#,
            r#"{"data":1,"additional_data":null,"additional_data":null}"#,
            r#"{"data":1,"additional_data":3}"#,
            r#"{"data":1,"additional_data":{"pagination":1,"pagination":2}}"#,
            r#"{"data":1,"s\u0075ccess":false}"#,
            r#"{"data":1,"é":2}"#,
            r#"{"data":1} x"#,
            r#"{"data":1}}"#,
            r#"{"data":1,}"#,
            r#"{"data":[1,]}"#,
            r#"{"data":{"a":1,}}"#,
            r#"{"data":{"a"}}"#,
            r#"{"data":{1:1}}"#,
            r#"{"data":[1}"#,
            r#"{"data":[1}}"#,
            r#"{"data":{"a":1]}"#,
            r#"{"data":01}"#,
            r#"{"data":-}"#,
            r#"{"data":1.}"#,
            r#"{"data":1e}"#,
            r#"{"data":.5}"#,
            r#"{"data":+1}"#,
            r#"{"data":nul}"#,
            r#"{"data":tru }"#,
            r#"{"data":"\x"}"#,
            r#"{"data":"\u12g4"}"#,
            "{\"data\":\"a\tb\"}",
            "{\"data\":\u{c}1}",
        ] {
            assert!(!is_sound(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_left_to_the_careful_parser() {
        let nested = |depth| format!(r#"{{"data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(is_sound(nested(60).as_bytes()));
        for depth in [62, 100, 10_000] {
            assert!(!is_sound(nested(depth).as_bytes()), "{depth}");
            assert!(wrong(nested(depth).as_bytes()).is_none());
        }
    }
}
