use std::borrow::Cow;

use http::{Request, Uri};

use crate::{BoxError, Position, query};

/// Builds the request for a page.
///
/// Closures `FnMut(&Position, u32) -> Request<B>` implement it, and so does
/// [`GetPages`].
pub trait MakeRequest<B> {
    /// The request for the page at `position`, of `rows` rows.
    ///
    /// # Errors
    ///
    /// When there is no such request; the walk ends with it.
    fn make(&mut self, position: &Position, rows: u32) -> Result<Request<B>, BoxError>;
}

impl<B, F> MakeRequest<B> for F
where
    F: FnMut(&Position, u32) -> Request<B>,
{
    fn make(&mut self, position: &Position, rows: u32) -> Result<Request<B>, BoxError> {
        Ok(self(position, rows))
    }
}

/// The query parameters that name a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// So many rows after the beginning.
    Offset {
        /// The parameter that holds the offset.
        start: Cow<'static, str>,
        /// The parameter that holds the page size.
        limit: Cow<'static, str>,
    },
    /// Where a cursor points to; the first page has none.
    Cursor {
        /// The parameter that holds the cursor.
        cursor: Cow<'static, str>,
        /// The parameter that holds the page size.
        limit: Cow<'static, str>,
    },
    /// A number.
    Page {
        /// The parameter that holds the number.
        page: Cow<'static, str>,
        /// The number of the first page, 0 or 1 mostly.
        first: u64,
        /// The parameter that holds the page size.
        limit: Cow<'static, str>,
    },
    /// Every page but the first is named by the address that the server gives out, in the body or
    /// in a [`Link` header](crate::Next::link).
    Url {
        /// The parameter that holds the page size.
        limit: Cow<'static, str>,
    },
}

/// A page cannot be named in this style.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StyleError {
    /// The position is of another style.
    #[error("a list that is walked by {style} has no page at {position:?}")]
    Mixed {
        /// What the list is walked by.
        style: &'static str,
        /// Where the page was to be.
        position: Position,
    },
    /// The address would be no valid one, or longer than 64 KiB.
    #[error("the address of the page would be no valid one")]
    Address,
}

impl Style {
    /// Pages are named by an offset and a size.
    #[must_use]
    pub fn offset(
        start: impl Into<Cow<'static, str>>,
        limit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Offset { start: start.into(), limit: limit.into() }
    }

    /// Pages are named by a cursor and a size.
    #[must_use]
    pub fn cursor(
        cursor: impl Into<Cow<'static, str>>,
        limit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Cursor { cursor: cursor.into(), limit: limit.into() }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Offset { .. } => "offset",
            Self::Cursor { .. } => "cursor",
            Self::Page { .. } => "page number",
            Self::Url { .. } => "address",
        }
    }

    /// Pages are numbered from `first`.
    #[must_use]
    pub fn page(
        page: impl Into<Cow<'static, str>>,
        first: u64,
        limit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Page { page: page.into(), first, limit: limit.into() }
    }

    /// The server gives out the address of the next page.
    #[must_use]
    pub fn url(limit: impl Into<Cow<'static, str>>) -> Self {
        Self::Url { limit: limit.into() }
    }

    /// The address of the page at `position`, of `rows` rows: `base` with the
    /// parameters appended, or the address that the position itself is.
    ///
    /// # Errors
    ///
    /// [`StyleError`] if the position is of another style, or if the address
    /// would become too long.
    pub fn uri(&self, base: &Uri, position: &Position, rows: u32) -> Result<Uri, StyleError> {
        let (limit, key, value) = match (self, position) {
            (_, Position::Url(url)) => return url.parse().map_err(|_| StyleError::Address),
            (Self::Offset { start, limit }, Position::Start) => {
                (limit, start, Some("0".to_owned()))
            }
            (
                Self::Offset { start, limit },
                Position::Offset(offset) | Position::Anchored { offset, .. },
            ) => (limit, start, Some(offset.to_string())),
            (Self::Page { page, first, limit }, Position::Start) => {
                (limit, page, Some(first.to_string()))
            }
            (Self::Page { page, limit, .. }, Position::Page(number)) => {
                (limit, page, Some(number.to_string()))
            }
            (Self::Cursor { cursor, limit }, Position::Start) => (limit, cursor, None),
            (Self::Url { limit }, Position::Start) => (limit, limit, None),
            (Self::Cursor { cursor, limit }, Position::Cursor(at)) => {
                (limit, cursor, Some(at.clone()))
            }
            (style, position) => {
                let style = style.name();
                return Err(StyleError::Mixed { style, position: position.clone() });
            }
        };
        let mut query = base.query().unwrap_or("").to_owned();
        if let Some(value) = value {
            query::push_pair(&mut query, key, &value);
        }
        query::push_pair(&mut query, limit, &rows.to_string());
        let mut uri = base.clone();
        if query::replace_query(&mut uri, &query) { Ok(uri) } else { Err(StyleError::Address) }
    }
}

/// Asks for pages by GET; made by [`Walk::get`](crate::Walk::get).
#[derive(Clone, Debug)]
pub struct GetPages {
    pub(crate) base: Uri,
    pub(crate) style: Style,
}

impl<B: Default> MakeRequest<B> for GetPages {
    fn make(&mut self, position: &Position, rows: u32) -> Result<Request<B>, BoxError> {
        let mut request = Request::new(B::default());
        *request.uri_mut() = self.style.uri(&self.base, position, rows)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(style: &Style, base: &str, position: &Position) -> Result<String, StyleError> {
        style.uri(&base.parse().unwrap(), position, 100).map(|uri| uri.to_string())
    }

    #[test]
    fn an_offset_is_always_named() {
        let style = Style::offset("start", "limit");
        let named = uri(&style, "/notes", &Position::Start).unwrap();
        assert_eq!(named, "/notes?start=0&limit=100");
        let named = uri(&style, "/notes?sort=id%20ASC", &Position::Offset(500)).unwrap();
        assert_eq!(named, "/notes?sort=id%20ASC&start=500&limit=100");
    }

    #[test]
    fn a_cursor_is_encoded_and_the_first_page_has_none() {
        let style = Style::cursor("cursor", "limit");
        let named = uri(&style, "https://h/deals", &Position::Start).unwrap();
        assert_eq!(named, "https://h/deals?limit=100");
        let position = Position::Cursor("a+b/c=&é".to_owned());
        let named = uri(&style, "https://h/deals", &position).unwrap();
        assert_eq!(named, "https://h/deals?cursor=a%2Bb%2Fc%3D%26%C3%A9&limit=100");
    }

    #[test]
    fn a_position_of_another_style_is_refused() {
        let position = Position::Cursor("a".to_owned());
        let error = uri(&Style::offset("start", "limit"), "/x", &position).unwrap_err();
        assert_eq!(error, StyleError::Mixed { style: "offset", position });
        let position = Position::Offset(1);
        let error = uri(&Style::cursor("cursor", "limit"), "/x", &position).unwrap_err();
        assert_eq!(error, StyleError::Mixed { style: "cursor", position });
    }

    #[test]
    fn an_address_that_would_be_too_long_is_an_error() {
        let position = Position::Cursor("a".repeat(70_000));
        let error = uri(&Style::cursor("cursor", "limit"), "/x", &position).unwrap_err();
        assert_eq!(error, StyleError::Address);
    }
}
