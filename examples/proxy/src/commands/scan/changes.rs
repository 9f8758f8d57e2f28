//! What is different between two definitions.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::{names::shown, pointer::escape};

/// The most changes of one definition that are told.
const MOST_CHANGES: usize = 64;
/// Characters of a text that are shown, and how many of those are before the first
/// that is another one.
const QUOTED: usize = 60;
const BEFORE: usize = 20;

/// One place at which two definitions differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// A JSON Pointer (RFC 6901).
    pub(super) pointer: String,
    pub(super) kind: Kind,
    /// What stood there, and what does now, around the first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Added,
    Removed,
    Changed,
}

/// Where the second differs from the first, in the order of the pointers. Elements of
/// lists are compared at their places.
pub(super) fn between(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), old, new, &mut found);
    found
}

/// Recursion is bounded by the depth that `serde_json` reads.
fn compare(pointer: String, old: &Value, new: &Value, found: &mut Vec<Change>) {
    if old == new || found.len() >= MOST_CHANGES {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let at = format!("{pointer}/{}", escape(name));
                member(at, old.get(name), new.get(name), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for index in 0..old.len().max(new.len()) {
                let at = format!("{pointer}/{index}");
                member(at, old.get(index), new.get(index), found);
            }
        }
        _ => push(found, &pointer, Kind::Changed, Some(old), Some(new)),
    }
}

fn member(pointer: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(pointer, old, new, found),
        (None, Some(_)) => push(found, &pointer, Kind::Added, None, new),
        (Some(_), None) => push(found, &pointer, Kind::Removed, old, None),
        (None, None) => {}
    }
}

fn push(
    found: &mut Vec<Change>,
    pointer: &str,
    kind: Kind,
    old: Option<&Value>,
    new: Option<&Value>,
) {
    if found.len() < MOST_CHANGES {
        let (from, to) = (old.map(text), new.map(text));
        let from_where = match (&from, &to) {
            (Some(from), Some(to)) => same(from, to).saturating_sub(BEFORE),
            _ => 0,
        };
        let quote = |text: String| quote(&text, from_where);
        found.push(Change {
            pointer: shown(pointer),
            kind,
            from: from.map(quote),
            to: to.map(quote),
        });
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How many characters both begin with.
fn same(one: &str, other: &str) -> usize {
    let both = one.chars().zip(other.chars());
    both.take_while(|(one, other)| one == other).count()
}

fn quote(text: &str, from: usize) -> String {
    let mut rest = text.chars().skip(from);
    let quoted: String = rest.by_ref().take(QUOTED).collect();
    let before = if from > 0 { "…" } else { "" };
    let behind = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{}{behind}", shown(&quoted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_is_told_with_what_is_there() {
        let old = json!({
            "name": "a", "description": "Adds.", "annotations": { "readOnlyHint": true },
            "inputSchema": { "required": ["x"], "properties": { "x": { "type": "number" } } },
        });
        let new = json!({
            "name": "a", "description": "Adds. And more.",
            "inputSchema": { "required": ["x", "y"], "properties": {
                "x": { "type": "string" }, "a/b~c": {},
            } },
        });
        let told: Vec<_> = between(&old, &new)
            .into_iter()
            .map(|change| (change.pointer, change.kind, change.from, change.to))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            (
                "/annotations",
                Kind::Removed,
                text(r#"{"readOnlyHint":true}"#),
                None,
            ),
            (
                "/description",
                Kind::Changed,
                text("Adds."),
                text("Adds. And more."),
            ),
            (
                "/inputSchema/properties/a~1b~0c",
                Kind::Added,
                None,
                text("{}"),
            ),
            (
                "/inputSchema/properties/x/type",
                Kind::Changed,
                text("number"),
                text("string"),
            ),
            ("/inputSchema/required/1", Kind::Added, None, text("y")),
        ];
        let expected =
            expected.map(|(pointer, kind, from, to)| (pointer.to_owned(), kind, from, to));
        assert_eq!(told, expected);
        assert_eq!(between(&new, &new), []);
    }

    #[test]
    fn of_a_long_text_the_place_is_shown_at_which_it_changed() {
        let old = format!("{}b", "a".repeat(1_000));
        let new = format!("{}c\u{202e}{}", "a".repeat(1_000), "d".repeat(1_000));
        let change = between(&json!(old), &json!(new)).remove(0);
        let before = "a".repeat(20);
        assert_eq!(change.from.unwrap(), format!("…{before}b"));
        let shown = change.to.unwrap();
        assert!(
            shown.starts_with(&format!("…{before}c\\u{{202e}}d")),
            "{shown}"
        );
        assert!(shown.ends_with("d…") && shown.len() < 100, "{shown}");
    }

    #[test]
    fn so_many_are_told_and_no_more() {
        let new: Vec<_> = (0..1_000).collect();
        assert_eq!(between(&json!([]), &json!(new)).len(), MOST_CHANGES);
    }
}
