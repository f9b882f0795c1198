//! Every operation of the API: method, path template, cost in tokens.
//!
//! The costs are the `x-token-cost` figures of the official descriptions of versions 1 and 2.
//! Version 1 paths that were taken out of the description, but may still answer, are here too at
//! the price of their class (2 get, 20 list, 10 create and update, 6 delete, 40 search).

mod v1;
mod v2;

use std::borrow::Cow;

use http::Method;

/// The version of the API an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// `/v1` and `/api/v1`: offset paging, flat custom fields.
    V1,
    /// `/api/v2`: cursor paging, `custom_fields`.
    V2,
}

impl Version {
    /// `"v1"` or `"v2"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// One operation of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The version it belongs to.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The path below the version's prefix, parameters in braces: `/deals/{id}`.
    pub path: &'static str,
    /// The tokens that one call takes from the day's pool.
    pub tokens: u32,
    /// Whether the separate burst limit of the search endpoints holds for it.
    pub search: bool,
}

impl Operation {
    /// A short name for logs and counts, such as `GET v2 /deals/{id}`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {} {}", self.method, self.version.name(), self.path)
    }
}

const fn op(version: Version, method: Method, path: &'static str, tokens: u32) -> Operation {
    Operation { version, method, path, tokens, search: false }
}

const fn search(version: Version, method: Method, path: &'static str, tokens: u32) -> Operation {
    Operation { version, method, path, tokens, search: true }
}

/// An operation with the parameters of the path that led to it.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The operation.
    pub op: &'static Operation,
    /// Name and decoded value of each parameter in the path.
    pub params: Vec<(&'static str, String)>,
    /// The fields of a version 1 selector, `/deals:(id,title)`.
    pub fields: Option<Vec<String>>,
}

impl Matched {
    /// The value of the parameter `name`, if the path has it.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Every operation, version 1 first.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    v1::DOCUMENTED.iter().chain(v1::LEGACY).chain(v2::DOCUMENTED)
}

/// Whether the operation is one that the description of version 1 no longer lists.
#[must_use]
pub fn is_legacy(op: &Operation) -> bool {
    op.version == Version::V1 && v1::LEGACY.contains(op)
}

/// Finds the operation for a method and the path of a URL, without its query.
///
/// A literal segment wins over a parameter: `/deals/archived` is never the deal `archived`.
#[must_use]
pub fn find(method: &Method, path: &str) -> Option<Matched> {
    let asked = Asked::parse(path)?;
    asked.candidates().filter(|op| op.method == *method).min_by_key(|op| wildcards(op.path)).map(
        |op| Matched {
            op,
            params: template(op.path)
                .zip(&asked.segments)
                .filter_map(|(part, value)| Some((parameter(part)?, value.clone().into_owned())))
                .collect(),
            fields: asked.fields.clone(),
        },
    )
}

/// The methods that the path knows; empty when the path itself is unknown.
///
/// A path with some method but not the one asked for is a 405, without any a 404.
#[must_use]
pub fn methods(path: &str) -> Vec<Method> {
    let Some(asked) = Asked::parse(path) else { return Vec::new() };
    let Some(fewest) = asked.candidates().map(|op| wildcards(op.path)).min() else {
        return Vec::new();
    };
    asked
        .candidates()
        .filter(|op| wildcards(op.path) == fewest)
        .map(|op| op.method.clone())
        .collect()
}

struct Asked<'a> {
    version: Version,
    segments: Vec<Cow<'a, str>>,
    fields: Option<Vec<String>>,
}

impl<'a> Asked<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (version, rest) = if let Some(rest) = path.strip_prefix("/api/v2/") {
            (Version::V2, rest)
        } else {
            let rest = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/v1/"))?;
            (Version::V1, rest)
        };
        let mut segments: Vec<Cow<'a, str>> =
            rest.trim_end_matches('/').split('/').map(decode).collect();
        let mut fields = None;
        if version == Version::V1 {
            let last = segments.last_mut()?;
            if let Some((head, list)) = last.split_once(":(") {
                let names = list.strip_suffix(')')?;
                fields = Some(names.split(',').map(|name| name.trim().to_owned()).collect());
                *last = Cow::Owned(head.to_owned());
            }
        }
        Some(Self { version, segments, fields })
    }

    fn candidates(&self) -> impl Iterator<Item = &'static Operation> {
        let (documented, legacy) = match self.version {
            Version::V1 => (v1::DOCUMENTED, v1::LEGACY),
            Version::V2 => (v2::DOCUMENTED, &[][..]),
        };
        documented.iter().chain(legacy).filter(|op| self.fits(op.path))
    }

    fn fits(&self, path: &'static str) -> bool {
        let mut asked = self.segments.iter();
        for part in template(path) {
            match asked.next() {
                Some(segment) if segment == part => {}
                Some(segment) if parameter(part).is_some() && !segment.is_empty() => {}
                Some(_) | None => return false,
            }
        }
        asked.next().is_none()
    }
}

fn template(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').skip(1)
}

fn parameter(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

fn wildcards(path: &'static str) -> usize {
    template(path).filter(|part| parameter(part).is_some()).count()
}

/// Undoes percent-encoding; a malformed escape stays as it is.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| segment.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escaped {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_leads_to_its_version() {
        for (path, version, tokens) in [
            ("/v1/users/me", Version::V1, 2),
            ("/api/v1/users/me", Version::V1, 2),
            ("/api/v1/deals", Version::V1, 20),
            ("/api/v2/deals", Version::V2, 10),
            ("/api/v2/deals/archived", Version::V2, 20),
            ("/api/v2/deals/7", Version::V2, 1),
            ("/api/v2/stages/", Version::V2, 5),
        ] {
            let found = find(&Method::GET, path).expect(path);
            assert_eq!((found.op.version, found.op.tokens), (version, tokens), "{path}");
        }
        assert!(find(&Method::GET, "/v2/deals").is_none(), "version 2 lives under /api only");
    }

    #[test]
    fn a_literal_segment_wins_over_a_parameter() {
        let found = find(&Method::GET, "/api/v2/deals/archived").expect("known");
        assert!(found.params.is_empty());
        let found = find(&Method::GET, "/api/v2/deals/12/followers").expect("known");
        assert_eq!(found.param("id"), Some("12"));
        let found = find(&Method::GET, "/api/v2/deals/12/followers/3");
        assert!(found.is_none(), "followers are deleted, not read, one by one");
    }

    #[test]
    fn a_field_selector_is_read_in_version_1_only() {
        let found = find(&Method::GET, "/v1/deals:(id,title)").expect("known");
        assert_eq!(found.fields.as_deref(), Some(&["id".to_owned(), "title".to_owned()][..]));
        let found = find(&Method::GET, "/v1/deals/3:(id)").expect("known");
        assert_eq!(found.param("id"), Some("3"));
        let found = find(&Method::GET, "/v1/deals%3A(id%2Ctitle)").expect("known");
        assert_eq!(found.fields.map(|fields| fields.len()), Some(2));
        assert!(find(&Method::GET, "/api/v2/deals:(id)").is_none());
    }

    #[test]
    fn known_paths_tell_their_methods() {
        assert_eq!(methods("/api/v2/deals").len(), 2);
        assert!(methods("/api/v2/nothing").is_empty());
        assert!(find(&Method::PUT, "/api/v2/deals/1").is_none());
    }

    #[test]
    fn no_operation_is_listed_twice() {
        let mut labels: Vec<_> = all().map(Operation::label).collect();
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count);
        assert_eq!(all().filter(|op| !is_legacy(op)).count(), 277);
    }
}
