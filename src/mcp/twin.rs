//! A slow, obvious reading of messages, against which the fast one is held.
//!
//! `serde_json` parses; every further rule is a line of its own.

#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use unicode_normalization::UnicodeNormalization as _;

use super::reading::{Reading, Reference, Said, Subscriptions};

/// A JSON value that keeps duplicate members.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Bool,
    Integer(i128),
    Float,
    String(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;

        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any JSON value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Bool)
            }
            fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                Ok(Tree::Integer(number.into()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Integer(number.into()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Float)
            }
            fn visit_str<E>(self, string: &str) -> Result<Tree, E> {
                Ok(Tree::String(string.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Tree::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Tree::Object(object))
            }
        }

        deserializer.deserialize_any(TreeVisitor)
    }
}

impl Tree {
    fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => 1 + members.iter().map(|m| m.1.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn has_duplicates(&self) -> bool {
        match self {
            Self::Array(items) => items.iter().any(Self::has_duplicates),
            Self::Object(members) => {
                let mut seen = BTreeSet::new();
                let mut members = members.iter();
                members.any(|(key, value)| !seen.insert(key) || value.has_duplicates())
            }
            _ => false,
        }
    }

    fn members(&self) -> Option<&[(String, Tree)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    fn get(&self, key: &str) -> Option<&Tree> {
        let members = self.members()?;
        members.iter().find(|(other, _)| other == key).map(|m| &m.1)
    }
}

const KNOWN: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "uri",
    "taskId",
    "cursor",
    "ref",
    "_meta",
    "inputResponses",
    "requestState",
    "task",
    "notifications",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
];

fn looks_like(key: &str, known: &str) -> bool {
    let plain = |text: &str| {
        let mut text = text.nfkc().collect::<String>().to_lowercase();
        text.retain(|c| c.is_alphanumeric() || c == '/');
        text
    };
    key != known && plain(key) == plain(known)
}

/// The same in `_meta`, where the names of applications may hold anything.
fn looks_like_in_meta(key: &str, known: &str) -> bool {
    let same_case = |text: &str| {
        text.replace('\u{17f}', "s")
            .replace('\u{212a}', "k")
            .to_ascii_lowercase()
    };
    let own = known.starts_with("io.modelcontextprotocol/");
    key != known && (same_case(key) == same_case(known) || (own && looks_like(key, known)))
}

/// Whether every key is either foreign or spelt right.
fn keys_are_plain(object: &Tree, more: &[&str], looks_like: fn(&str, &str) -> bool) -> bool {
    object.members().unwrap_or_default().iter().all(|(key, _)| {
        let known = KNOWN.iter().chain(more);
        let mut exact = KNOWN.iter().chain(more);
        exact.any(|name| name == key)
            || (key != "__proto__"
                && !key.chars().any(char::is_control)
                && !known.into_iter().any(|name| looks_like(key, name)))
    })
}

fn in_meta(member: &str) -> fn(&str, &str) -> bool {
    if member == "_meta" {
        looks_like_in_meta
    } else {
        looks_like
    }
}

/// A value as it is written. Only for texts without duplicate members.
#[derive(Clone, Copy)]
struct Raw<'b>(&'b RawValue);

impl<'b> Raw<'b> {
    fn of(body: &'b [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    fn get(self, key: &str) -> Option<Self> {
        let members: BTreeMap<String, &'b RawValue> = serde_json::from_str(self.0.get()).ok()?;
        members.get(key).copied().map(Self)
    }

    fn items(self) -> Option<Vec<Self>> {
        let items: Vec<&'b RawValue> = serde_json::from_str(self.0.get()).ok()?;
        Some(items.into_iter().map(Self).collect())
    }

    fn keys(self) -> Option<Vec<String>> {
        match serde_json::from_str(self.0.get()).ok()? {
            Tree::Object(members) => Some(members.into_iter().map(|member| member.0).collect()),
            _ => None,
        }
    }

    fn text(self) -> Option<String> {
        serde_json::from_str(self.0.get()).ok()
    }

    /// A string of at most so many bytes between its quotes.
    fn said(self, longest: usize) -> Said {
        match self.text() {
            Some(text) if self.0.get().len() <= longest + 2 => Said::Text(text),
            _ => Said::Unreadable,
        }
    }
}

fn said(object: Option<Raw<'_>>, key: &str, longest: usize) -> Said {
    object
        .and_then(|object| object.get(key))
        .map_or(Said::Absent, |value| value.said(longest))
}

fn reference(params: Raw<'_>) -> Option<Option<Reference>> {
    let reference = params.get("ref")?;
    let text = |key, longest| said(Some(reference), key, longest);
    Some(
        match (text("type", 1024), text("name", 1024), text("uri", 8192)) {
            (Said::Text(kind), Said::Text(name), Said::Absent) if kind == "ref/prompt" => {
                Some(Reference::Prompt(name))
            }
            (Said::Text(kind), Said::Absent, Said::Text(uri)) if kind == "ref/resource" => {
                Some(Reference::Resource(uri))
            }
            _ => None,
        },
    )
}

fn subscriptions(params: Raw<'_>) -> Option<Option<Subscriptions>> {
    let notifications = params.get("notifications")?;
    let names = |key| {
        let Some(names) = notifications.get(key) else {
            return Some(Vec::new());
        };
        let names = names.items()?.into_iter().map(|name| name.said(8192));
        names
            .map(|name| match name {
                Said::Text(name) => Some(name),
                _ => None,
            })
            .collect()
    };
    Some(
        match (
            notifications.keys(),
            names("resourceSubscriptions"),
            names("taskIds"),
        ) {
            (Some(_), Some(resources), Some(tasks)) => Some(Subscriptions { resources, tasks }),
            _ => None,
        },
    )
}

/// Reads one message.
pub(crate) fn read(body: &[u8]) -> Option<Reading> {
    let tree: Tree = serde_json::from_slice(body).ok()?;
    if tree.depth() > 64 || tree.has_duplicates() {
        return None;
    }
    let members = tree.members()?;
    let envelope = ["jsonrpc", "id", "method", "params", "result", "error"];
    if members
        .iter()
        .any(|(key, _)| !envelope.contains(&key.as_str()))
    {
        return None;
    }
    let raw = Raw::of(body)?;
    if *tree.get("jsonrpc")? != Tree::String("2.0".to_owned()) {
        return None;
    }
    let id = match (tree.get("id"), raw.get("id")) {
        (None, _) => false,
        (Some(Tree::String(_)), Some(id)) if id.0.get().len() <= 1024 => true,
        (Some(Tree::Integer(n)), _) if n.abs() < 1 << 53 => true,
        (Some(_), _) => return None,
    };
    let method = match said(Some(raw), "method", 256) {
        Said::Absent => None,
        Said::Text(method) => Some(method),
        Said::Unreadable => return None,
    };
    if let Some(params) = tree.get("params") {
        check_keys(params)?;
    }
    let (result, error) = (tree.get("result").is_some(), tree.get("error").is_some());
    let kind = match (&method, id) {
        (Some(_), true) if !result && !error => "request",
        (Some(_), false) if !result && !error => "notification",
        (None, true) if result != error && tree.get("params").is_none() => "response",
        _ => return None,
    };
    let params = raw.get("params");
    let arguments = params.and_then(|params| params.get("arguments"));
    let mut argument_keys = arguments.and_then(Raw::keys).unwrap_or_default();
    argument_keys.truncate(64);
    let meta = params.and_then(|params| params.get("_meta"));
    Some(Reading {
        kind,
        method,
        name: said(params, "name", 1024),
        uri: said(params, "uri", 8192),
        task_id: said(params, "taskId", 8192),
        arguments_readable: matches!(
            arguments.map(|arguments| arguments.0.get().as_bytes()),
            None | Some(b"null" | [b'{', ..])
        ),
        argument_keys,
        protocol_version: said(meta, "io.modelcontextprotocol/protocolVersion", 1024),
        has_capabilities: meta
            .and_then(|meta| meta.get("io.modelcontextprotocol/clientCapabilities"))
            .is_some_and(|capabilities| capabilities.keys().is_some()),
        reference: params.and_then(reference),
        subscriptions: params.and_then(subscriptions),
    })
}

/// No member of the parameters looks like one of the protocol's.
fn check_keys(params: &Tree) -> Option<()> {
    params.members()?;
    if !keys_are_plain(params, &[], looks_like) {
        return None;
    }
    for (nested, more) in [
        ("_meta", &[][..]),
        ("ref", &["type"][..]),
        ("notifications", &["resourceSubscriptions", "taskIds"][..]),
    ] {
        match params.get(nested) {
            Some(object @ Tree::Object(_)) if !keys_are_plain(object, more, in_meta(nested)) => {
                return None;
            }
            Some(Tree::Object(_)) | None => {}
            Some(_) if nested == "_meta" => return None,
            Some(_) => {}
        }
    }
    Some(())
}
