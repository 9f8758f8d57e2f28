//! Values of a document, exactly.

use std::ops::Range;

use serde_json::{Map, Value};

use super::number::Number;
use crate::json::tree::{self, Node};

/// The value that a node of a document holds, numbers exactly: integers within
/// ±(2^53 - 1) as integers however they are spelt, others as the 64-bit float
/// that the token names. What is read differently elsewhere is handed to
/// `unreadable`, and the value is then good for nothing.
///
/// Recursion is bounded by the depth that the reader of documents allows.
pub(in crate::policy) fn value_of(node: &Node, unreadable: &mut impl FnMut(Range<usize>)) -> Value {
    match &node.value {
        tree::Value::Null => Value::Null,
        tree::Value::Bool(bool) => Value::Bool(*bool),
        tree::Value::Number(token) => number_of(token).unwrap_or_else(|| {
            unreadable(node.span.clone());
            Value::Null
        }),
        tree::Value::String(text) => Value::String(text.clone()),
        tree::Value::Array(items) => {
            let items = items.iter().map(|item| value_of(item, unreadable));
            Value::Array(items.collect())
        }
        tree::Value::Object(members) => {
            let mut object = Map::new();
            for member in members {
                // A name that stands twice is reported wherever it stands.
                object.insert(member.key.clone(), value_of(&member.value, unreadable));
            }
            Value::Object(object)
        }
    }
}

fn number_of(token: &str) -> Option<Value> {
    if let Some(integer) = Number::read(token)?.to_integer() {
        return Some(Value::from(integer));
    }
    // Not infinite, or the number would not be readable.
    let float = token.parse::<f64>().ok()?;
    Some(Value::Number(serde_json::Number::from_f64(float)?))
}

pub(in crate::policy) const UNREADABLE: &str =
    "not every JSON reader takes this number for the same value";
pub(in crate::policy) const HELP_UNREADABLE: &str =
    "use an integer within ±9007199254740991, or fewer digits; a longer number can be a string";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The value, and the text of every number that is unreadable.
    fn value(text: &str) -> (Value, Vec<&str>) {
        let mut unreadable = Vec::new();
        let node = tree::parse(text.as_bytes()).unwrap();
        let value = value_of(&node, &mut |span| unreadable.push(&text[span]));
        (value, unreadable)
    }

    #[test]
    fn values_are_taken_exactly() {
        for (text, expected) in [
            ("null", json!(null)),
            ("true", json!(true)),
            (r#""a\u0062""#, json!("ab")),
            ("1e2", json!(100)),
            ("-1.50e1", json!(-15)),
            ("-0.0", json!(0)),
            ("9007199254740991.0", json!(9_007_199_254_740_991_i64)),
            ("0.1", json!(0.1)),
            ("1e22", json!(1e22)),
            (r#"[1, {"a": [0.5]}]"#, json!([1, {"a": [0.5]}])),
        ] {
            assert_eq!(value(text), (expected, Vec::new()), "{text}");
        }
        assert!(value("1.0").0.is_i64());
    }

    #[test]
    fn what_is_not_exact_is_refused_where_it_stands() {
        for (text, expected) in [
            ("9007199254740993", vec!["9007199254740993"]),
            (
                r#"{"a": [1, 500.00000000000000001, 2e-400]}"#,
                vec!["500.00000000000000001", "2e-400"],
            ),
            ("[1e-400]", vec!["1e-400"]),
        ] {
            assert_eq!(value(text).1, expected, "{text}");
        }
    }
}
