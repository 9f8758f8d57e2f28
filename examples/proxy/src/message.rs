//! What has to be known of a JSON-RPC message to carry it: who is answered.
//!
//! Messages are looked at and never written anew. What is allowed was decided
//! elsewhere, by a stricter reader.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

/// The longest method name that is logged; no version of MCP has one like that.
const METHOD_SHOWN: usize = 64;

/// Something went wrong on the way, or on the other side.
pub(crate) const INTERNAL_ERROR: i32 = -32603;
/// The message cannot be right at this point.
pub(crate) const INVALID_REQUEST: i32 = -32600;

/// One message, of either side.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind<'a>,
    params: Option<&'a RawValue>,
}

/// What a message is.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// It waits for an answer.
    Request {
        id: Id,
        /// The id as it was written.
        raw_id: &'a str,
        method: Cow<'a, str>,
    },
    /// Nobody waits for an answer.
    Notification { method: Cow<'a, str> },
    /// It answers a request of the other side's; `None` if that one could not
    /// be read.
    Answer { id: Option<Id>, is_error: bool },
}

impl<'a> Message<'a> {
    /// Reads one message; `None` if it is not JSON-RPC 2.0, but a line of a
    /// log, say, or several messages at once.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            jsonrpc: Cow<'a, str>,
            #[serde(borrow, default)]
            id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            method: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
            #[serde(default, deserialize_with = "present")]
            result: bool,
            #[serde(default, deserialize_with = "present")]
            error: bool,
        }
        // Or serde would also take an array for a struct.
        if !text.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let members: Members<'a> = serde_json::from_slice(text).ok()?;
        let answers = members.result || members.error;
        let kind = match (members.method, members.id) {
            (Some(method), Some(raw)) if !answers => Kind::Request {
                id: Id::read(raw)?,
                raw_id: raw.get(),
                method,
            },
            (Some(method), None) if !answers => Kind::Notification { method },
            (None, id) if answers => Kind::Answer {
                id: id.and_then(Id::read),
                is_error: members.error,
            },
            _ => return None,
        };
        (members.jsonrpc == "2.0").then_some(Self {
            kind,
            params: members.params,
        })
    }

    /// The token by which the sender of a request wants to hear of its
    /// progress.
    pub(crate) fn wanted_progress(&self) -> Option<Id> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, rename = "_meta")]
            meta: Meta<'a>,
        }
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(borrow, rename = "progressToken")]
            token: &'a RawValue,
        }
        let Params { meta } = serde_json::from_str(self.params?.get()).ok()?;
        Id::read(meta.token)
    }

    /// The token of the request whose progress this notification is about.
    pub(crate) fn progress(&self) -> Option<Id> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, rename = "progressToken")]
            token: &'a RawValue,
        }
        let Params { token } = serde_json::from_str(self.params?.get()).ok()?;
        Id::read(token)
    }

    /// The request that this notification calls off.
    pub(crate) fn cancelled(&self) -> Option<Id> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, rename = "requestId")]
            id: &'a RawValue,
        }
        let Params { id } = serde_json::from_str(self.params?.get()).ok()?;
        Id::read(id)
    }
}

/// Whether a member is there, whatever it holds.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The id of a request, or a progress token: by its value, because the two
/// sides may write the same text in different ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Number(i64),
    Text(Box<str>),
}

impl Id {
    fn read(raw: &RawValue) -> Option<Self> {
        let raw = raw.get();
        if raw.starts_with('"') {
            return serde_json::from_str(raw).ok().map(Self::Text);
        }
        if let Ok(number) = raw.parse() {
            return Some(Self::Number(number));
        }
        // `1.0`, as some write an integer. The largest ones are not told apart.
        let number: f64 = raw.parse().ok()?;
        let is_exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
        is_exact
            .then(|| format!("{number:.0}").parse().ok())?
            .map(Self::Number)
    }

    /// The number for a text that reads like it, and the other way round:
    /// servers that keep every id as text answer `"1"` for `1`, and clients take
    /// that.
    pub(crate) fn in_other_words(&self) -> Option<Self> {
        match self {
            Self::Number(number) => Some(Self::Text(number.to_string().into())),
            Self::Text(text) => {
                let number: i64 = text.parse().ok()?;
                (number.to_string() == **text).then_some(Self::Number(number))
            }
        }
    }
}

/// The method of a message, for the log, if it can be told and looks like one.
pub(crate) fn method(message: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    let Named { method } = serde_json::from_slice(message).ok()?;
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    (method.len() <= METHOD_SHOWN && method.chars().all(usual)).then(|| method.into_owned())
}

/// A JSON-RPC error, with the id as it was written, if there is one.
pub(crate) fn error(id: Option<&str>, code: i32, message: &str) -> String {
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    let error = serde_json::json!({ "code": code, "message": message });
    format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{error}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_message(text: &str) -> bool {
        Message::read(text.as_bytes()).is_some()
    }

    fn id(text: &str) -> Option<Id> {
        Id::read(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn json_is_not_yet_a_message() {
        for message in [
            r#" {"id":1,"result":[{}],"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
            r#"{"jsonrpc":"2.0","method":"a","params":[]}"#,
        ] {
            assert!(is_message(message), "{message}");
        }
        for other in [
            r#"{"level":"info"}"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"a"}"#,
            r#"{"jsonrpc":2.0,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","method":"a","id":1,"result":1}"#,
            r#"{"jsonrpc":"2.0","method":"a","id":1,"id":2}"#,
            r#"{"jsonrpc":"2.0","method":"a","id":{}}"#,
            r#"{"a":{"jsonrpc":"2.0","method":"a"}}"#,
            r#"["2.0"]"#,
            r#"[{"jsonrpc":"2.0","method":"a"}]"#,
            "42",
            "",
        ] {
            assert!(!is_message(other), "{other}");
        }
    }

    #[test]
    fn an_id_is_the_same_however_it_is_written() {
        assert_eq!(id("1"), Some(Id::Number(1)));
        assert_eq!(id("1.0"), id("1"));
        assert_eq!(id("1e2"), id("100"));
        assert_eq!(id(r#""\u00e9""#), id("\"é\""));
        assert_ne!(id("1"), id("\"1\""));
        assert_eq!(id("1").unwrap().in_other_words(), id("\"1\""));
        assert_eq!(id("\"1\"").unwrap().in_other_words(), id("1"));
        for text in ["\"01\"", "\"+1\"", "\"a\"", "\"\""] {
            assert_eq!(id(text).unwrap().in_other_words(), None, "{text}");
        }
        for none in ["1.5", "1e300", "null", "true", "[]"] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    #[test]
    fn tokens_and_ids_are_found_where_they_stand() {
        let read = |text: &'static str| Message::read(text.as_bytes()).unwrap();
        let call = read(
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":"t"}}}"#,
        );
        assert_eq!(call.wanted_progress(), id("\"t\""));
        let progress = read(r#"{"jsonrpc":"2.0","method":"a","params":{"progressToken":7}}"#);
        assert_eq!(progress.progress(), id("7"));
        let cancelled = read(r#"{"jsonrpc":"2.0","method":"a","params":{"requestId":7}}"#);
        assert_eq!(cancelled.cancelled(), id("7"));
        let nothing = read(r#"{"jsonrpc":"2.0","method":"a"}"#);
        assert_eq!(nothing.wanted_progress(), None);
    }

    #[test]
    fn only_what_looks_like_a_method_is_shown() {
        let shown = |method_name: &str| {
            method(format!(r#"{{"method":"{method_name}","params":{{}}}}"#).as_bytes())
        };
        assert_eq!(shown("tools/call").as_deref(), Some("tools/call"));
        assert_eq!(shown("my password"), None);
        assert_eq!(shown("a\\nb"), None);
        assert_eq!(shown(&"x".repeat(65)), None);
        assert_eq!(method(b"plain text"), None);
    }

    #[test]
    fn an_error_echoes_the_id_as_it_was_written() {
        assert_eq!(
            error(Some("\"\\u0061\""), -1, "a \"b\""),
            r#"{"jsonrpc":"2.0","id":"\u0061","error":{"code":-1,"message":"a \"b\""}}"#
        );
        assert!(error(None, -1, "a").starts_with(r#"{"jsonrpc":"2.0","error""#));
    }
}
