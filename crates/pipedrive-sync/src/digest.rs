//! One hash per entity, so that a database can be compared with an account.
//!
//! For every row, ascending by identifier (numbers by value, then texts letter by letter), one line: the
//! identifier, a tab, the lower-hex SHA-256 of the row's JSON with sorted keys and without blanks, a line
//! feed. The digest is the lower-hex SHA-256 of all lines.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Rows of an entity and their common hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EntityDigest {
    /// Rows.
    pub rows: u64,
    /// Lower-hex SHA-256 of all lines.
    pub sha256: String,
}

/// Takes rows in order and gives their digest.
#[derive(Clone, Debug, Default)]
pub struct Digester {
    all: Sha256,
    rows: u64,
}

impl Digester {
    /// Adds the next row.
    ///
    /// # Errors
    ///
    /// If the row is not JSON.
    pub fn add(&mut self, id: &str, json: &str) -> Result<(), serde_json::Error> {
        let hash = row(json)?;
        self.all.update(id.as_bytes());
        self.all.update(b"\t");
        self.all.update(hash.as_bytes());
        self.all.update(b"\n");
        self.rows += 1;
        Ok(())
    }

    /// The digest of all rows added.
    #[must_use]
    pub fn finish(self) -> EntityDigest {
        EntityDigest { rows: self.rows, sha256: hex(&self.all.finalize()) }
    }
}

/// The hash of one row.
///
/// # Errors
///
/// If the row is not JSON.
pub fn row(json: &str) -> Result<String, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    let mut text = String::with_capacity(json.len());
    canonical(&value, &mut text);
    Ok(hex(&Sha256::digest(text.as_bytes())))
}

/// Sorted keys whatever map `serde_json` was built with.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_come_in_any_order() {
        assert_eq!(
            row(r#"{"b": [1, {"d":2,"c":"x"}], "a": null}"#).unwrap(),
            row(r#"{"a":null,"b":[1,{"c":"x","d":2}]}"#).unwrap()
        );
        assert_ne!(row(r#"{"a":1}"#).unwrap(), row(r#"{"a":2}"#).unwrap());
    }

    #[test]
    fn the_digest_of_nothing_is_the_hash_of_nothing() {
        let digest = Digester::default().finish();
        assert_eq!(digest.rows, 0);
        assert_eq!(
            digest.sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn a_digest_is_the_hash_of_its_lines() {
        let mut digester = Digester::default();
        digester.add("7", r#"{"id":7}"#).unwrap();
        let line = format!("7\t{}\n", hex(&Sha256::digest(br#"{"id":7}"#)));
        assert_eq!(digester.finish().sha256, hex(&Sha256::digest(line.as_bytes())));
    }
}
