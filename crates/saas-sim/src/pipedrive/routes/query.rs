//! The parameters after the `?`.

use super::super::data::Key;
use super::reply::Fail;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Fail> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Fail::bad(format!("Parameter '{name}' must be an integer")))
            })
            .transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Fail> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Fail::bad(format!("Parameter '{name}' must be a boolean"))),
        }
    }

    /// A time as RFC 3339 writes it, with an offset and without fractions of a second.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Fail> {
        self.text(name)
            .map(|text| {
                let at =
                    text.parse::<jiff::Timestamp>().ok().filter(|_| !text.contains(['.', ',']));
                at.map(jiff::Timestamp::as_second).ok_or_else(|| {
                    Fail::bad(format!(
                        "Parameter '{name}' must be an RFC3339 time without fractional seconds"
                    ))
                })
            })
            .transpose()
    }

    /// The page size; outside of `1..=max` it is refused, or cut down when `clamp`.
    pub(super) fn limit(&self, max: u64, clamp: bool) -> Result<u64, Fail> {
        match self.number("limit")? {
            None => Ok(100),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(limit) if clamp && limit > max => Ok(max),
            Some(_) => Err(Fail::bad(format!("Parameter 'limit' must be between 1 and {max}"))),
        }
    }
}

/// Where the next page of version 2 begins. Opaque to callers: base64 of a small JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The field sorted by.
    pub(super) field: String,
    pub(super) down: bool,
    /// The place of the last row shown; for fields without an order of their own, the number of
    /// rows shown.
    pub(super) key: Key,
    /// The second at which it was given out, if it is to lapse; else the same page has the same cursor.
    pub(super) at: Option<i64>,
}

impl Cursor {
    pub(super) fn encode(&self) -> String {
        let direction = if self.down { "desc" } else { "asc" };
        let mut json = json!({
            "field": self.field,
            "fieldValue": self.key.0,
            "sortDirection": direction,
            "id": self.key.1,
        });
        if let Some(at) = self.at {
            json["at"] = at.into();
        }
        STANDARD.encode(json.to_string())
    }

    pub(super) fn decode(text: &str) -> Result<Self, Fail> {
        let wrong = || Fail::bad("Parameter 'cursor' is not a valid cursor");
        let bytes = STANDARD
            .decode(text)
            .or_else(|_| STANDARD_NO_PAD.decode(text))
            .or_else(|_| URL_SAFE_NO_PAD.decode(text))
            .map_err(|_| wrong())?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        let read = || {
            Some(Self {
                field: json.get("field")?.as_str()?.to_owned(),
                down: match json.get("sortDirection")?.as_str()? {
                    "asc" => false,
                    "desc" => true,
                    _ => return None,
                },
                key: (json.get("fieldValue")?.as_i64()?, json.get("id")?.as_u64()?),
                at: json.get("at").and_then(Value::as_i64),
            })
        };
        read().ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = Cursor { field: "update_time".into(), down: true, key: (-5, 77), at: Some(9) };
        assert_eq!(Cursor::decode(&cursor.encode()).expect("its own"), cursor);
        for wrong in ["", "xyz", "e30=", "bm90IGpzb24="] {
            assert!(Cursor::decode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_need_an_offset_and_no_fraction() {
        for (text, good) in [
            ("t=2026-02-10T11:00:42Z", true),
            ("t=2026-02-10T11:00:42%2B02:00", true),
            ("t=2026-02-10T11:00:42.000Z", false),
            ("t=2026-02-10%2011:00:42", false),
            ("t=yesterday", false),
        ] {
            assert_eq!(Query::parse(text).time("t").is_ok(), good, "{text}");
        }
    }
}
