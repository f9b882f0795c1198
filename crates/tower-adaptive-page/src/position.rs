use std::{fmt, str::FromStr};

/// Where in a list a page begins: what to ask for it.
///
/// It can be kept as text (`Display` and `FromStr` agree: `start`,
/// `offset:500`, `page:3`, `cursor:abc`, `url:https://..`), or through serde behind the
/// feature `serde`. `Debug` hides the query of a URL, which may carry a secret;
/// `Display` must not.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Position {
    /// The beginning of the list.
    Start,
    /// So many rows after the beginning.
    Offset(u64),
    /// Where this cursor, which the server gave out, points to.
    Cursor(String),
    /// At this address, which the server gave out.
    Url(String),
    /// On the page with this number.
    Page(u64),
    /// So many rows after the beginning, where rows shift: the keys tell where the walk was. Made by
    /// walks that [overlap](crate::Walk::overlap).
    Anchored {
        /// So many rows after the beginning.
        offset: u64,
        /// The keys of the rows that were handed out last, at most 32; the newest is the last.
        keys: Vec<u64>,
    },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Cursor(cursor) => write!(f, "cursor:{cursor}"),
            Self::Url(url) => write!(f, "url:{url}"),
            Self::Page(number) => write!(f, "page:{number}"),
            Self::Anchored { offset, keys } => {
                write!(f, "anchored:{offset}:")?;
                for (n, key) in keys.iter().enumerate() {
                    write!(f, "{}{key:x}", if n > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("Start"),
            Self::Offset(offset) => f.debug_tuple("Offset").field(offset).finish(),
            Self::Cursor(cursor) => f.debug_tuple("Cursor").field(cursor).finish(),
            Self::Url(_) => write!(f, "Url({})", Shown(self)),
            Self::Page(number) => f.debug_tuple("Page").field(number).finish(),
            Self::Anchored { offset, keys } => {
                f.debug_struct("Anchored").field("offset", offset).field("keys", keys).finish()
            }
        }
    }
}

/// A position as messages show it: without the query of a URL.
pub(crate) struct Shown<'a>(pub(crate) &'a Position);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Position::Url(url) => {
                let end = url.find(['?', '#']).unwrap_or(url.len());
                write!(f, "url:{}", crate::origin::without_user(&url[..end]))
            }
            Position::Anchored { offset, .. } => write!(f, "offset:{offset}"),
            position => fmt::Display::fmt(position, f),
        }
    }
}

/// The text is no [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position reads start, offset:N, page:N, cursor:TEXT, url:ADDRESS or anchored:N:KEYS")]
pub struct ParsePositionError(());

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "start" {
            return Ok(Self::Start);
        }
        match text.split_once(':') {
            Some(("offset", n)) => n.parse().map(Self::Offset).map_err(|_| ParsePositionError(())),
            Some(("page", n)) => n.parse().map(Self::Page).map_err(|_| ParsePositionError(())),
            Some(("anchored", rest)) => anchored(rest).ok_or(ParsePositionError(())),
            Some(("cursor", cursor)) => Ok(Self::Cursor(cursor.to_owned())),
            Some(("url", url)) => Ok(Self::Url(url.to_owned())),
            _ => Err(ParsePositionError(())),
        }
    }
}

fn anchored(text: &str) -> Option<Position> {
    let (offset, keys) = text.split_once(':')?;
    let keys = keys.split(',').filter(|_| !keys.is_empty());
    let keys = keys.map(|key| u64::from_str_radix(key, 16).ok()).collect::<Option<_>>()?;
    Some(Position::Anchored { offset: offset.parse().ok()?, keys })
}

/// What an answer says about the page after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// It is at this cursor.
    Cursor(String),
    /// It is at this offset.
    Offset(u64),
    /// It is at this address: absolute, or a path that begins with `/`.
    Url(String),
    /// It has this number.
    Page(u64),
    /// There is none.
    End,
}

impl Next {
    /// A cursor that the server may leave out or leave empty on the last page.
    #[must_use]
    pub fn cursor(cursor: Option<String>) -> Self {
        cursor.filter(|cursor| !cursor.is_empty()).map_or(Self::End, Self::Cursor)
    }

    /// An offset that the server leaves out on the last page.
    #[must_use]
    pub fn offset(offset: Option<u64>) -> Self {
        offset.map_or(Self::End, Self::Offset)
    }

    /// A number that the server leaves out on the last page.
    #[must_use]
    pub fn page(number: Option<u64>) -> Self {
        number.map_or(Self::End, Self::Page)
    }

    /// An address that the server may leave out or leave empty on the last page.
    #[must_use]
    pub fn url(url: Option<String>) -> Self {
        url.filter(|url| !url.is_empty()).map_or(Self::End, Self::Url)
    }
}

/// An answer, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What the page holds.
    pub items: T,
    /// Where the walk goes on.
    pub next: Next,
    /// How many rows the page holds, if known.
    pub rows: Option<u32>,
    /// How many bytes the answer has, if known.
    pub bytes: Option<u64>,
    /// How many rows the whole list has, if the server says so.
    pub total: Option<u64>,
    /// What identifies each row, in the order of the page; for walks that
    /// [overlap](crate::Walk::overlap).
    pub keys: Vec<u64>,
}

impl<T> Parsed<T> {
    /// A page of an unknown number of rows.
    #[must_use]
    pub fn new(items: T, next: Next) -> Self {
        Self { items, next, rows: None, bytes: None, total: None, keys: Vec::new() }
    }

    /// Says how many rows the page holds.
    #[must_use]
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = Some(u32::try_from(rows).unwrap_or(u32::MAX));
        self
    }

    /// Says how many bytes the answer has. With them a controller learns what a row weighs.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes as u64);
        self
    }

    /// Says how many rows the whole list has. With it pages can be asked for
    /// [several at once](crate::Walk::at_once), and a list that shrinks is noticed.
    #[must_use]
    pub fn total(mut self, rows: Option<u64>) -> Self {
        self.total = rows;
        self
    }

    /// Says what identifies each row: a number, or [`row_key`] of a text.
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = u64>) -> Self {
        self.keys = keys.into_iter().collect();
        self
    }
}

/// A page of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// Where this page was asked.
    pub position: Position,
    /// Where to go on after it; `None` after the last page. Once the page is
    /// safe, this is all that must be kept to resume.
    pub next: Option<Position>,
    /// What the page holds.
    pub items: T,
    /// How many rows it holds, if the parser said so.
    pub rows: Option<u32>,
    /// How many rows the walk asked for. A layer below may have asked for less.
    pub asked: u32,
    /// So many items at the beginning were handed out before; 0 but for walks that
    /// [overlap](crate::Walk::overlap). See [`fresh`](Self::fresh).
    pub skip: usize,
    /// How many rows the whole list has, if the server says so.
    pub total: Option<u64>,
    /// By how many rows the whole list shrank since the page before. Without overlap an offset walk
    /// may have passed over so many.
    pub shrank: u64,
}

impl<T: IntoIterator> Page<T> {
    /// The items that were not handed out before. [`Items`](crate::Items) gives these only.
    pub fn fresh(self) -> std::iter::Skip<T::IntoIter> {
        self.items.into_iter().skip(self.skip)
    }
}

/// A key for a row that is identified by a text (FNV-1a, 64 bits). It is the same on every machine
/// and in every version, so it may be kept.
///
/// ```
/// assert_eq!(tower_adaptive_page::row_key("a"), 0xaf63_dc4c_8601_ec8c);
/// ```
#[must_use]
pub fn row_key(id: impl AsRef<[u8]>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    id.as_ref().iter().fold(0xcbf2_9ce4_8422_2325, step)
}
