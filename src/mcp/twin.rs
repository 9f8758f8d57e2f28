//! A slow, obvious reading of messages, against which the fast one is held.
//!
//! `serde_json` parses; every further rule is a line of its own.

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::message::Message;
use super::params::{Name, Param};

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
            Self::Object(members) => members.iter().enumerate().any(|(index, (key, value))| {
                members[..index].iter().any(|(other, _)| other == key) || value.has_duplicates()
            }),
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

/// What both readings must agree on.
#[derive(Debug, PartialEq)]
struct Reading {
    kind: &'static str,
    method: Option<String>,
    /// `name`, `uri`, `taskId`: `Some(None)` if it is there but no name.
    named: Vec<Option<Option<String>>>,
    arguments_readable: bool,
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
        let mut text = text
            .replace('\u{17f}', "s")
            .replace('\u{212a}', "k")
            .to_lowercase();
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

fn twin(body: &[u8]) -> Option<Reading> {
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
    if tree.get("jsonrpc") != Some(&Tree::String("2.0".into())) {
        return None;
    }
    let id = match tree.get("id") {
        None => false,
        Some(Tree::String(_)) => true,
        Some(Tree::Integer(n)) if n.abs() < 1 << 53 => true,
        Some(_) => return None,
    };
    let method = match tree.get("method") {
        None => None,
        Some(Tree::String(method)) => Some(method.clone()),
        Some(_) => return None,
    };
    if let Some(params) = tree.get("params") {
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
                Some(object @ Tree::Object(_))
                    if !keys_are_plain(object, more, in_meta(nested)) =>
                {
                    return None;
                }
                Some(Tree::Object(_)) | None => {}
                Some(_) if nested == "_meta" => return None,
                Some(_) => {}
            }
        }
    }
    let (result, error) = (tree.get("result").is_some(), tree.get("error").is_some());
    let kind = match (&method, id) {
        (Some(_), true) if !result && !error => "request",
        (Some(_), false) if !result && !error => "notification",
        (None, true) if result != error && tree.get("params").is_none() => "response",
        _ => return None,
    };
    let params = tree.get("params").filter(|_| method.is_some());
    let named = ["name", "uri", "taskId"].map(|key| match params?.get(key)? {
        Tree::String(name) => Some(Some(name.clone())),
        _ => Some(None),
    });
    Some(Reading {
        kind,
        method,
        named: named.to_vec(),
        arguments_readable: matches!(
            params.and_then(|params| params.get("arguments")),
            None | Some(Tree::Null | Tree::Object(_))
        ),
    })
}

fn fast(body: &[u8]) -> Option<Reading> {
    let message = Message::parse(body).ok()?;
    let (kind, call) = match message {
        Message::Request(_, call) => ("request", Some(call)),
        Message::Notification(call) => ("notification", Some(call)),
        Message::Response => ("response", None),
    };
    let params = call.as_ref().and_then(|call| call.params.as_ref());
    let named = [Param::Name, Param::Uri, Param::TaskId].map(|param| {
        Some(match params?.named(param)? {
            Name::Text(name) => Some(name.to_string()),
            Name::Unreadable => None,
        })
    });
    Some(Reading {
        kind,
        method: call.as_ref().map(|call| call.method.to_string()),
        named: named.to_vec(),
        arguments_readable: params.is_none_or(super::params::Params::has_readable_arguments),
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(KNOWN).prop_map(|key| format!("\"{key}\""));
    let odd = prop::sample::select(vec![
        r#""Method""#,
        r#""param\u017f""#,
        r#""na\u006de""#,
        r#""name\u0000""#,
        r#""x""#,
        r#""type""#,
        r#""Type""#,
        r#""taskIds""#,
        r#""resourceSubscriptions""#,
        r#""task_id""#,
        r#"" name""#,
        r#""__proto__""#,
        r#""""#,
        r#""a\"b""#,
    ])
    .prop_map(str::to_owned);
    prop_oneof![6 => known, 1 => odd]
}

fn scalar() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "1",
        "-1",
        "0",
        "-0",
        "1.0",
        "1e3",
        "1e400",
        "9007199254740991",
        "9007199254740992",
        "-9007199254740992",
        "null",
        "true",
        "false",
        "NaN",
        "01",
        r#""2.0""#,
        r#""tools/call""#,
        r#""safe""#,
        r#""\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\udc00\ud800""#,
        r#""a\u0000b""#,
        "\"\u{1}\"",
        r#""""#,
        r#""ref/prompt""#,
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key(), inner), 0..5).prop_map(object),
        ]
    })
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// Bodies that are nearly messages.
fn message() -> impl Strategy<Value = String> {
    let params = prop::collection::vec((key(), value()), 0..5).prop_map(object);
    (
        prop::option::weighted(0.95, Just(("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned()))),
        prop::option::weighted(0.8, scalar().prop_map(|value| ("\"id\"".to_owned(), value))),
        prop::option::weighted(
            0.8,
            Just(("\"method\"".to_owned(), "\"tools/call\"".to_owned())),
        ),
        prop::option::weighted(
            0.8,
            params.prop_map(|value| ("\"params\"".to_owned(), value)),
        ),
        prop::option::weighted(0.2, (key(), value())),
    )
        .prop_map(|(version, id, method, params, more)| {
            object(
                [version, id, method, params, more]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn fast_and_slow_reading_agree(body in message()) {
        prop_assert_eq!(fast(body.as_bytes()), twin(body.as_bytes()), "{}", body);
    }

    #[test]
    fn they_agree_on_damaged_bodies(body in message(), at in any::<prop::sample::Index>(), byte: u8, insert: bool) {
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        prop_assert_eq!(fast(&bytes), twin(&bytes), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(fast(&bytes), twin(&bytes));
        let _ = super::recover::request_id(&bytes);
    }
}

#[test]
fn the_bounds_are_where_they_should_be() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}{close}}}}}"#)
    };
    assert!(fast(nested(62).as_bytes()).is_some() && twin(nested(62).as_bytes()).is_some());
    assert!(fast(nested(63).as_bytes()).is_none() && twin(nested(63).as_bytes()).is_none());

    let wide = |keys: usize, last: &str| {
        let members: Vec<_> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
        let members = members.join(",");
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{members}{last}}}}}"#)
    };
    assert!(fast(wide(10_000, "").as_bytes()).is_some());
    assert!(fast(wide(10_001, "").as_bytes()).is_none());
    for keys in [2, 12, 13, 5_000] {
        assert!(fast(wide(keys, "").as_bytes()).is_some(), "{keys}");
        assert!(fast(wide(keys, ",\"k1\":0").as_bytes()).is_none(), "{keys}");
        assert!(
            fast(wide(keys, ",\"\\u006b1\":0").as_bytes()).is_none(),
            "{keys}"
        );
    }
}
