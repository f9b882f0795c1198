use std::fmt;

use http::HeaderMap;

use crate::{
    Next, Style,
    fields::{Value, fields},
};

/// How a list seems to be walked; made by [`suggest_style`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suggestion {
    /// The style, with the usual names of its parameters, which may be others.
    pub style: Style,
    /// What this answer says of the next page.
    pub next: Next,
    /// Where it says so: a path of the body's fields joined by dots, or `Link` for the header.
    pub found: String,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, found, .. } = self;
        match style {
            Style::Offset { start, limit } => {
                write!(f, "walk by offset: `{found}` names it, ask with `{start}` and `{limit}`")
            }
            Style::Cursor { cursor, limit } => {
                write!(f, "walk by cursor: `{found}` holds it, ask with `{cursor}` and `{limit}`")
            }
            Style::Page { page, limit, .. } => {
                write!(
                    f,
                    "walk by page number: `{found}` names it, ask with `{page}` and `{limit}`"
                )
            }
            Style::Url { .. } => write!(f, "follow the address in `{found}`"),
        }
    }
}

/// What a field of this name holds, and which parameters go with it.
#[derive(Clone, Copy)]
enum Holds {
    Url,
    Cursor(&'static str, &'static str),
    Offset(&'static str),
    Page,
    /// Whichever its value looks like.
    Any,
}

/// The most telling first. A path ends with the name.
const NAMES: [(&str, Holds); 28] = [
    ("@odata.nextLink", Holds::Url),
    ("nextPageUrl", Holds::Url),
    ("next_page_url", Holds::Url),
    ("nextLink", Holds::Url),
    ("next_link", Holds::Url),
    ("next_url", Holds::Url),
    ("nextUrl", Holds::Url),
    ("_links.next.href", Holds::Url),
    ("links.next.href", Holds::Url),
    ("paging.next.after", Holds::Cursor("after", "limit")),
    ("paging.cursors.after", Holds::Cursor("after", "limit")),
    ("pageInfo.endCursor", Holds::Cursor("after", "first")),
    ("next_cursor", Holds::Cursor("cursor", "limit")),
    ("nextCursor", Holds::Cursor("cursor", "limit")),
    ("nextPageToken", Holds::Cursor("pageToken", "pageSize")),
    ("next_page_token", Holds::Cursor("page_token", "page_size")),
    ("nextToken", Holds::Cursor("nextToken", "maxResults")),
    ("next_token", Holds::Cursor("next_token", "max_results")),
    ("NextToken", Holds::Cursor("NextToken", "MaxResults")),
    ("cursor.next", Holds::Cursor("cursor", "limit")),
    ("next_start", Holds::Offset("start")),
    ("next_offset", Holds::Offset("offset")),
    ("nextOffset", Holds::Offset("offset")),
    ("nextRecordsUrl", Holds::Url),
    ("links.next", Holds::Any),
    ("next_page", Holds::Page),
    ("nextPage", Holds::Page),
    ("next", Holds::Any),
];

/// Suggests how a list is walked, from one answer of it: by its `Link` header, or by the fields of
/// its JSON body that stand outside of its rows. Best asked of a page that is not the last, as many
/// servers leave out then what they name otherwise. `None` if nothing is known.
///
/// It is for somebody who writes a walk, or for a tool that meets an API for the first time; it goes
/// by the names that many APIs use, so look at what it suggests.
///
/// ```
/// use http::HeaderMap;
/// use tower_adaptive_page::{Next, Style, suggest_style};
///
/// let body = br#"{"data":[{"id":1}],"additional_data":{"next_cursor":"abc"}}"#;
/// let suggestion = suggest_style(&HeaderMap::new(), body).unwrap();
/// assert_eq!(suggestion.style, Style::cursor("cursor", "limit"));
/// assert_eq!(suggestion.next, Next::Cursor("abc".to_owned()));
/// assert_eq!(suggestion.found, "additional_data.next_cursor");
/// ```
#[must_use]
pub fn suggest_style(headers: &HeaderMap, body: &[u8]) -> Option<Suggestion> {
    let next = Next::link(headers);
    if next != Next::End {
        return Some(Suggestion { style: Style::url("per_page"), next, found: "Link".to_owned() });
    }
    let fields = fields(body);
    // What says where the next page is comes before what says that there is none.
    let mut end = None;
    for (name, holds) in NAMES {
        for (path, value) in fields.iter().filter(|(path, _)| ends_with(path, name)) {
            let Some((style, next)) = read(holds, value) else { continue };
            let suggestion = Suggestion { style, next, found: path.clone() };
            if suggestion.next != Next::End {
                return Some(suggestion);
            }
            end.get_or_insert(suggestion);
        }
    }
    end.or_else(|| counted(&fields))
}

fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://") || text.starts_with('/')
}

fn read(holds: Holds, value: &Value) -> Option<(Style, Next)> {
    let page = || Style::page("page", 1, "per_page");
    let url = || Style::url("limit");
    Some(match (holds, value) {
        (Holds::Url | Holds::Page | Holds::Any, Value::Text(text)) if is_address(text) => {
            (url(), Next::Url(text.clone()))
        }
        (Holds::Url, Value::Null) => (url(), Next::End),
        (Holds::Cursor(cursor, limit), Value::Text(text)) => {
            (Style::cursor(cursor, limit), Next::cursor(Some(text.clone())))
        }
        (Holds::Cursor(cursor, limit), Value::Number(number)) => {
            (Style::cursor(cursor, limit), Next::Cursor(number.to_string()))
        }
        (Holds::Cursor(cursor, limit), Value::Null) => (Style::cursor(cursor, limit), Next::End),
        (Holds::Offset(start), Value::Number(number)) => {
            (Style::offset(start, "limit"), Next::Offset(*number))
        }
        (Holds::Offset(start), Value::Null) => (Style::offset(start, "limit"), Next::End),
        (Holds::Page, Value::Number(number)) => (page(), Next::Page(*number)),
        (Holds::Page, Value::Null) => (page(), Next::End),
        (Holds::Any, Value::Text(text)) if !text.is_empty() => {
            (Style::cursor("cursor", "limit"), Next::Cursor(text.clone()))
        }
        _ => return None,
    })
}

/// From a number and how many there are.
fn counted(fields: &[(String, Value)]) -> Option<Suggestion> {
    let number = |names: &[&str]| {
        names.iter().find_map(|name| {
            fields.iter().find_map(|(path, value)| match value {
                Value::Number(number) if ends_with(path, name) => Some((path, *number)),
                _ => None,
            })
        })
    };
    let of_pages =
        ["total_pages", "totalPages", "last_page", "lastPage", "page_count", "pageCount"];
    if let (Some((path, page)), Some((_, pages))) =
        (number(&["page", "current_page", "currentPage"]), number(&of_pages))
    {
        let next = Next::page((page < pages).then_some(page.saturating_add(1)));
        let style = Style::page("page", 1, "per_page");
        return Some(Suggestion { style, next, found: path.clone() });
    }
    let (path, offset) = number(&["offset", "start", "skip"])?;
    let (_, limit) = number(&["limit", "per_page", "count", "page_size", "top"])?;
    let (_, total) = number(&["total", "total_count", "totalCount", "total_items"])?;
    let name = path.rsplit('.').next().unwrap_or(path).to_owned();
    let next = offset.saturating_add(limit);
    let next = Next::offset((next < total && limit > 0).then_some(next));
    Some(Suggestion { style: Style::offset(name, "limit"), next, found: path.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(body: &str) -> Option<(String, Next)> {
        let suggestion = suggest_style(&HeaderMap::new(), body.as_bytes())?;
        Some((suggestion.to_string(), suggestion.next))
    }

    fn is(body: &str, starts: &str, next: &Next) {
        let (text, found) = suggested(body).unwrap_or_else(|| panic!("nothing: {body}"));
        assert!(text.starts_with(starts), "{body}: {text}");
        assert_eq!(found, *next, "{body}");
    }

    fn url(text: &str) -> Next {
        Next::Url(text.to_owned())
    }

    fn cursor(text: &str) -> Next {
        Next::Cursor(text.to_owned())
    }

    #[test]
    fn the_styles_of_well_known_services_are_told_apart() {
        // Pipedrive v2 and v1, HubSpot, Autotask, Google, OData, HAL, GraphQL, Zendesk, Laravel, Salesforce.
        is(r#"{"data":[],"additional_data":{"next_cursor":"a"}}"#, "walk by cursor", &cursor("a"));
        let v1 =
            r#"{"data":[],"additional_data":{"pagination":{"start":0,"limit":5,"next_start":5}}}"#;
        is(v1, "walk by offset", &Next::Offset(5));
        let hubspot = r#"{"results":[],"paging":{"next":{"after":"10","link":"?after=10"}}}"#;
        is(hubspot, "walk by cursor", &cursor("10"));
        let autotask = r#"{"items":[],"pageDetails":{"count":5,"nextPageUrl":"https://h/x"}}"#;
        is(autotask, "follow the address", &url("https://h/x"));
        is(r#"{"nextPageToken":"t","items":[]}"#, "walk by cursor", &cursor("t"));
        is(r#"{"@odata.nextLink":"https://h/?$skip=2"}"#, "follow", &url("https://h/?$skip=2"));
        is(r#"{"_links":{"next":{"href":"/a?page=2"}}}"#, "follow", &url("/a?page=2"));
        let graph = r#"{"data":{"deals":{"pageInfo":{"endCursor":"Y3"}}}}"#;
        is(graph, "walk by cursor", &cursor("Y3"));
        is(r#"{"next_page":"https://h/2","count":9}"#, "follow", &url("https://h/2"));
        is(r#"{"next_page":2}"#, "walk by page number", &Next::Page(2));
        let laravel = r#"{"current_page":1,"last_page":3,"data":[]}"#;
        is(laravel, "walk by page number", &Next::Page(2));
        is(r#"{"nextRecordsUrl":"/q/01-2000"}"#, "follow", &url("/q/01-2000"));
        is(r#"{"offset":20,"limit":10,"total":100}"#, "walk by offset", &Next::Offset(30));
    }

    #[test]
    fn the_last_page_still_tells_the_style() {
        is(r#"{"additional_data":{"next_cursor":null}}"#, "walk by cursor", &Next::End);
        is(r#"{"current_page":3,"last_page":3}"#, "walk by page number", &Next::End);
        is(r#"{"offset":90,"limit":10,"total":100}"#, "walk by offset", &Next::End);
        is(r#"{"next_page_url":null,"next_cursor":"a"}"#, "walk by cursor", &cursor("a"));
    }

    #[test]
    fn the_link_header_comes_first_and_rows_tell_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert("link", "</2>; rel=next".parse().unwrap());
        let suggestion = suggest_style(&headers, br#"{"next_cursor":"a"}"#).unwrap();
        assert_eq!((suggestion.next, &*suggestion.found), (url("/2"), "Link"));
        assert_eq!(suggested(r#"{"data":[{"next_cursor":"a","next":"/x"}]}"#), None);
        assert_eq!(suggested(r#"[{"next":"/x"}]"#), None);
        assert_eq!(suggested(r#"{"annext_cursor":"a"}"#), None);
        assert_eq!(suggested("no json"), None);
    }
}
