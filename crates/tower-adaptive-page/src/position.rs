use std::{fmt, str::FromStr};

/// Where in a list a page begins: what to ask for it.
///
/// It can be kept as text (`Display` and `FromStr` agree: `start`,
/// `offset:500`, `cursor:abc`, `url:https://..`), or through serde behind the
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
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Cursor(cursor) => write!(f, "cursor:{cursor}"),
            Self::Url(url) => write!(f, "url:{url}"),
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
            position => fmt::Display::fmt(position, f),
        }
    }
}

/// The text is no [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position reads start, offset:N, cursor:TEXT or url:ADDRESS")]
pub struct ParsePositionError(());

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "start" {
            return Ok(Self::Start);
        }
        match text.split_once(':') {
            Some(("offset", n)) => n.parse().map(Self::Offset).map_err(|_| ParsePositionError(())),
            Some(("cursor", cursor)) => Ok(Self::Cursor(cursor.to_owned())),
            Some(("url", url)) => Ok(Self::Url(url.to_owned())),
            _ => Err(ParsePositionError(())),
        }
    }
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
}

impl<T> Parsed<T> {
    /// A page of an unknown number of rows.
    #[must_use]
    pub fn new(items: T, next: Next) -> Self {
        Self { items, next, rows: None }
    }

    /// Says how many rows the page holds.
    #[must_use]
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = Some(u32::try_from(rows).unwrap_or(u32::MAX));
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
}
