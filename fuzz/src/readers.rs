//! The readers of JSON that stand behind servers and clients in Rust and,
//! through jiter, in Python.

use jiter::JsonValue;
use simd_json::OwnedValue;

use crate::tree::Tree;

/// What a reader makes of some bytes; `None` if it refuses them.
type Read = fn(&[u8]) -> Option<Tree>;

/// Readers that keep every member, and those that keep one of each name.
pub const READERS: [(&str, Read); 7] = [
    ("serde_json", |bytes| serde_json::from_slice(bytes).ok()),
    ("serde_json::Value", |bytes| {
        Some(of_serde_json(serde_json::from_slice(bytes).ok()?))
    }),
    ("sonic-rs", |bytes| sonic_rs::from_slice(bytes).ok()),
    ("sonic-rs::Value", |bytes| {
        Some(of_sonic(&sonic_rs::from_slice(bytes).ok()?))
    }),
    ("simd-json", |bytes| {
        simd_json::from_slice(&mut bytes.to_vec()).ok()
    }),
    ("simd-json::Value", |bytes| {
        Some(of_simd_json(
            simd_json::to_owned_value(&mut bytes.to_vec()).ok()?,
        ))
    }),
    ("jiter", |bytes| {
        // As pydantic does, and with it the server SDK for Python.
        Some(of_jiter(&JsonValue::parse(bytes, true).ok()?))
    }),
];

/// What every reader makes of some bytes, for those that do not refuse them.
pub fn read(bytes: &[u8]) -> impl Iterator<Item = (&'static str, Tree)> {
    READERS
        .iter()
        .filter_map(move |(name, read)| Some((*name, read(bytes)?)))
}

fn of_serde_json(value: serde_json::Value) -> Tree {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Tree::Scalar,
        Value::String(text) => Tree::String(text),
        Value::Array(items) => Tree::Array(items.into_iter().map(of_serde_json).collect()),
        Value::Object(members) => Tree::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, of_serde_json(value)))
                .collect(),
        ),
    }
}

fn of_sonic(value: &sonic_rs::Value) -> Tree {
    use sonic_rs::{JsonContainerTrait as _, JsonValueTrait as _};
    if let Some(text) = value.as_str() {
        Tree::String(text.to_owned())
    } else if let Some(items) = value.as_array() {
        Tree::Array(items.iter().map(of_sonic).collect())
    } else if let Some(members) = value.as_object() {
        Tree::Object(
            members
                .iter()
                .map(|(key, value)| (key.to_owned(), of_sonic(value)))
                .collect(),
        )
    } else {
        Tree::Scalar
    }
}

fn of_simd_json(value: OwnedValue) -> Tree {
    match value {
        OwnedValue::Static(_) => Tree::Scalar,
        OwnedValue::String(text) => Tree::String(text),
        OwnedValue::Array(items) => Tree::Array(items.into_iter().map(of_simd_json).collect()),
        OwnedValue::Object(members) => Tree::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, of_simd_json(value)))
                .collect(),
        ),
    }
}

fn of_jiter(value: &JsonValue<'_>) -> Tree {
    match value {
        JsonValue::Str(text) => Tree::String(text.clone().into_owned()),
        JsonValue::Array(items) => Tree::Array(items.iter().map(of_jiter).collect()),
        JsonValue::Object(members) => Tree::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone().into_owned(), of_jiter(value)))
                .collect(),
        ),
        _ => Tree::Scalar,
    }
}
