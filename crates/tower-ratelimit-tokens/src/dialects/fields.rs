//! Pure: structured fields (RFC 9651), as far as rate limits need them: lists of
//! items with parameters, and flat dictionaries. Strict, and without allocating:
//! what is read stays in place, and a field is checked to its end before use.
//!
//! Inner lists are refused; the fields that are read here have none.

/// A bare item. Texts are left as they were sent, with their escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare<'a> {
    Integer(i64),
    String(&'a [u8]),
    Token(&'a [u8]),
    /// Base64.
    Bytes(&'a [u8]),
    /// A decimal, boolean, date or display string, which nobody asks for.
    Other,
}

impl Bare<'_> {
    /// An integer that is not negative.
    pub(crate) fn count(self) -> Option<u64> {
        if let Self::Integer(n) = self { u64::try_from(n).ok() } else { None }
    }

    /// Whether it is this text, as a string or as a token.
    pub(crate) fn is(self, text: &str) -> bool {
        match self {
            Self::Token(token) => token == text.as_bytes(),
            Self::String(raw) => {
                let mut escaped = false;
                let plain = raw.iter().filter(|&&b| {
                    escaped = b == b'\\' && !escaped;
                    !escaped
                });
                plain.eq(text.as_bytes())
            }
            _ => false,
        }
    }
}

/// An item with its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) bare: Bare<'a>,
    parameters: &'a [u8],
}

impl<'a> Item<'a> {
    /// The value of a parameter. Of two that have the same name the last counts.
    pub(crate) fn get(&self, name: &str) -> Option<Bare<'a>> {
        let mut reader = Reader(self.parameters);
        let mut found = None;
        while let Some(Some((key, value))) = reader.parameter() {
            if key == name.as_bytes() {
                found = Some(value);
            }
        }
        found
    }
}

/// The items of a list, one field line of it.
#[derive(Clone, Debug)]
pub(crate) struct List<'a>(Reader<'a>);

impl<'a> List<'a> {
    /// `None` if it is malformed anywhere.
    pub(crate) fn new(text: &'a [u8]) -> Option<Self> {
        let list = Self(Reader(spaces(text)));
        let mut check = list.0.clone();
        while !check.0.is_empty() {
            check.item()?;
            check.comma()?;
        }
        Some(list)
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let item = self.0.item()?;
        self.0.comma()?;
        Some(item)
    }
}

/// The value of a key of a dictionary; of two the last counts. `None` if it is
/// not there, or if the field is malformed anywhere.
pub(crate) fn key<'a>(text: &'a [u8], name: &str) -> Option<Bare<'a>> {
    let mut reader = Reader(spaces(text));
    let mut found = None;
    while !reader.0.is_empty() {
        let key = reader.key()?;
        let value = if reader.eat(b'=') { reader.bare()? } else { Bare::Other };
        while reader.parameter()?.is_some() {}
        reader.comma()?;
        if key == name.as_bytes() {
            found = Some(value);
        }
    }
    found
}

fn spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| b != b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|&b| b != b' ').map_or(start, |end| end + 1);
    &text[start..end]
}

/// Takes from the front. After a `None` it is of no use.
#[derive(Clone, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn take_while(&mut self, test: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&b| !test(b)).unwrap_or(self.0.len());
        self.take(end).unwrap_or_default()
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let bare = self.bare()?;
        let from = self.0;
        while self.parameter()?.is_some() {}
        Some(Item { bare, parameters: &from[..from.len() - self.0.len()] })
    }

    /// `Some(None)` if there is no more.
    fn parameter(&mut self) -> Option<Option<(&'a [u8], Bare<'a>)>> {
        if !self.eat(b';') {
            return Some(None);
        }
        self.take_while(|b| b == b' ');
        let key = self.key()?;
        let value = if self.eat(b'=') { self.bare()? } else { Bare::Other };
        Some(Some((key, value)))
    }

    /// What stands between two members. A comma at the end is malformed.
    fn comma(&mut self) -> Option<()> {
        let blank = |b| b == b' ' || b == b'\t';
        self.take_while(blank);
        if self.0.is_empty() {
            return Some(());
        }
        let more = self.eat(b',');
        self.take_while(blank);
        (more && !self.0.is_empty()).then_some(())
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.0.first()?;
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        (first.is_ascii_lowercase() || first == b'*').then(|| self.take_while(rest))
    }

    fn bare(&mut self) -> Option<Bare<'a>> {
        match *self.0.first()? {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b':' => {
                self.eat(b':');
                let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
                let bytes = self.take_while(base64);
                self.eat(b':').then_some(Bare::Bytes(bytes))
            }
            b'?' => {
                self.eat(b'?');
                matches!(self.take(1)?, b"0" | b"1").then_some(Bare::Other)
            }
            b'@' => {
                self.eat(b'@');
                matches!(self.number()?, Bare::Integer(_)).then_some(Bare::Other)
            }
            b'%' => {
                self.eat(b'%');
                self.eat(b'"').then(|| self.display())?
            }
            b if b.is_ascii_alphabetic() || b == b'*' => {
                let part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
                Some(Bare::Token(self.take_while(part)))
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Bare<'a>> {
        self.eat(b'"');
        let from = self.0;
        loop {
            match self.take(1)? {
                b"\"" => return Some(Bare::String(&from[..from.len() - self.0.len() - 1])),
                b"\\" => matches!(self.take(1)?, b"\"" | b"\\").then_some(())?,
                [b' '..=b'~'] => {}
                _ => return None,
            }
        }
    }

    fn display(&mut self) -> Option<Bare<'a>> {
        let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        loop {
            match self.take(1)? {
                b"\"" => return Some(Bare::Other),
                b"%" => self.take(2)?.iter().all(hex).then_some(())?,
                [b' '..=b'~'] => {}
                _ => return None,
            }
        }
    }

    /// An integer of up to 15 digits, or a decimal of up to 12 and 3.
    fn number(&mut self) -> Option<Bare<'a>> {
        let negative = self.eat(b'-');
        let whole = self.take_while(|b| b.is_ascii_digit());
        if self.eat(b'.') {
            let part = self.take_while(|b| b.is_ascii_digit());
            let good = (1..=12).contains(&whole.len()) && (1..=3).contains(&part.len());
            return good.then_some(Bare::Other);
        }
        let good = (1..=15).contains(&whole.len());
        let sum = good.then(|| whole.iter().fold(0, |sum, &b| sum * 10 + i64::from(b - b'0')))?;
        Some(Bare::Integer(if negative { -sum } else { sum }))
    }
}

#[cfg(test)]
mod tests;
