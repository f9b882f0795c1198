//! The fields of a JSON text that stand outside of its lists; no tree is built.

/// Deeper than this nobody says where the next page is.
const DEEPEST: usize = 4;

/// So many fields are looked at.
const MOST: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Number(u64),
    Text(String),
    Other,
}

/// Path, joined by dots, and value of each field that is no object and in no list. What is no JSON
/// gives the fields before the fault.
pub(crate) fn fields(body: &[u8]) -> Vec<(String, Value)> {
    let mut reader = Reader { rest: body, found: Vec::new() };
    reader.blank();
    if reader.next_is(b'{') {
        let _ = reader.object(&mut String::new(), 1);
    }
    reader.found
}

struct Reader<'a> {
    rest: &'a [u8],
    found: Vec<(String, Value)>,
}

impl Reader<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn next_is(&mut self, byte: u8) -> bool {
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => self.rest = rest,
            None => return false,
        }
        self.blank();
        true
    }

    /// Behind `{`. `None` at a fault, or when enough was seen.
    fn object(&mut self, path: &mut String, depth: usize) -> Option<()> {
        if self.next_is(b'}') {
            return Some(());
        }
        loop {
            let whole = path.len();
            if self.rest.first() != Some(&b'"') || self.found.len() >= MOST {
                return None;
            }
            let key = self.text()?;
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key);
            if !self.next_is(b':') {
                return None;
            }
            match *self.rest.first()? {
                b'{' if depth < DEEPEST => {
                    self.next_is(b'{');
                    self.object(path, depth + 1)?;
                }
                b'{' | b'[' => self.skip()?,
                _ => {
                    let value = self.scalar()?;
                    self.found.push((path.clone(), value));
                }
            }
            path.truncate(whole);
            self.blank();
            if self.next_is(b'}') {
                return Some(());
            }
            if !self.next_is(b',') {
                return None;
            }
        }
    }

    /// Over a list or an object.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.rest.first()? {
                b'"' => {
                    self.raw_text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.rest = &self.rest[1..];
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn scalar(&mut self) -> Option<Value> {
        if self.rest.first() == Some(&b'"') {
            return self.text().map(Value::Text);
        }
        let ends = |byte: &u8| b",}]".contains(byte) || byte.is_ascii_whitespace();
        let end = self.rest.iter().position(ends)?;
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let word = std::str::from_utf8(word).ok()?;
        Some(match word.parse() {
            Ok(number) => Value::Number(number),
            Err(_) if word == "null" => Value::Null,
            Err(_) => Value::Other,
        })
    }

    fn raw_text(&mut self) -> Option<&str> {
        let inner = self.rest.strip_prefix(b"\"")?;
        let mut escaped = false;
        let end = inner.iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        self.rest = &inner[end + 1..];
        std::str::from_utf8(&inner[..end]).ok()
    }

    fn text(&mut self) -> Option<String> {
        let raw = self.raw_text()?;
        let mut text = String::with_capacity(raw.len());
        let mut chars = raw.chars();
        while let Some(char) = chars.next() {
            if char != '\\' {
                text.push(char);
                continue;
            }
            match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' | 'f' => {}
                'u' => {
                    let hex = chars.as_str().get(..4)?;
                    chars = chars.as_str()[4..].chars();
                    let code = u32::from_str_radix(hex, 16).ok()?;
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                other => text.push(other),
            }
        }
        self.blank();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_outside_of_lists_come_with_their_path() {
        let body = br#" { "data" : [ {"next":"no","s":"]}\""} , [1] ], "more": {"next_start": 500 ,
            "url":"https:\/\/h\/?a=1\u0026b=2", "none":null,"x":{"y":{"z":{"deep":1}}}},"ok":true} "#;
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            fields(body),
            [
                ("more.next_start".to_owned(), Value::Number(500)),
                ("more.url".to_owned(), text("https://h/?a=1&b=2")),
                ("more.none".to_owned(), Value::Null),
                ("ok".to_owned(), Value::Other),
            ]
        );
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let many: String = (0..1_000).map(|n| format!("\"k{n}\":{n},")).collect();
        assert_eq!(fields(format!("{{{many}\"last\":1}}").as_bytes()).len(), MOST);
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(fields(deep.as_bytes()), []);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[{}\\[\\]\",:\\\\u0-9an ]{0,60}") {
            let _ = fields(&bytes);
            let _ = fields(text.as_bytes());
        }
    }
}
