//! Values of a document, exactly.

use std::ops::Range;

use serde_json::{Map, Value};

use super::number::Number;
use crate::json::tree::{self, Node};

/// Why a node of a document is no value to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct ValueError {
    /// The bytes of the document that it is about.
    pub(in crate::policy) span: Range<usize>,
    pub(in crate::policy) message: String,
    pub(in crate::policy) help: String,
}

/// The value that a node of a document holds, numbers exactly: integers within
/// ±(2^53 - 1) as integers however they are spelt, others as the 64-bit float
/// that the token names.
///
/// Recursion is bounded by the depth that the reader of documents allows.
pub(in crate::policy) fn value_of(node: &Node) -> Result<Value, ValueError> {
    Ok(match &node.value {
        tree::Value::Null => Value::Null,
        tree::Value::Bool(bool) => Value::Bool(*bool),
        tree::Value::Number(token) => number_of(token).ok_or_else(|| unreadable(node))?,
        tree::Value::String(text) => Value::String(text.clone()),
        tree::Value::Array(items) => {
            Value::Array(items.iter().map(value_of).collect::<Result<_, _>>()?)
        }
        tree::Value::Object(members) => {
            let mut object = Map::new();
            for member in members {
                // A name that stands twice is reported wherever it stands.
                object.insert(member.key.clone(), value_of(&member.value)?);
            }
            Value::Object(object)
        }
    })
}

fn number_of(token: &str) -> Option<Value> {
    if let Some(integer) = Number::read(token)?.to_integer() {
        return Some(Value::from(integer));
    }
    // Not infinite, or the number would not be readable.
    let float = token.parse::<f64>().ok()?;
    Some(Value::Number(serde_json::Number::from_f64(float)?))
}

fn unreadable(node: &Node) -> ValueError {
    ValueError {
        span: node.span.clone(),
        message: UNREADABLE.to_owned(),
        help: HELP_UNREADABLE.to_owned(),
    }
}

pub(super) const UNREADABLE: &str = "not every JSON reader takes this number for the same value";
pub(super) const HELP_UNREADABLE: &str =
    "use an integer within ±9007199254740991, or fewer digits; a longer number can be a string";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Result<Value, ValueError> {
        value_of(&tree::parse(text.as_bytes()).unwrap())
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
            assert_eq!(value(text).unwrap(), expected, "{text}");
        }
        assert!(value("1.0").unwrap().is_i64());
    }

    #[test]
    fn what_is_not_exact_is_refused_where_it_stands() {
        for (text, span) in [
            ("9007199254740993", 0..16),
            (r#"{"a": [1, 500.00000000000000001]}"#, 10..31),
            ("[1e-400]", 1..7),
        ] {
            let error = value(text).unwrap_err();
            assert_eq!(error.span, span, "{text}");
            assert!(!error.message.is_empty() && !error.help.is_empty());
        }
    }
}
