//! A JSON tree printed with its keys in order, whatever order the tree keeps them in.

use serde_json::{Map, Value};

use super::json;

/// Prints an object.
pub(crate) fn object(map: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut keys: Vec<_> = map.iter().collect();
    keys.sort_unstable_by_key(|(key, _)| key.as_str());
    out.push(b'{');
    for (nth, (key, value)) in keys.into_iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        json::string(out, key);
        out.push(b':');
        self::value(value, out);
    }
    out.push(b'}');
}

/// Prints any value.
pub(crate) fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => json::string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                self::value(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => object(map, out),
    }
}
