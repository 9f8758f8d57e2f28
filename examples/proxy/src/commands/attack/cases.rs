//! The requests that are sent. What the members of the file mean is written in it.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::Error as _};
use serde_json::{Value, json};

use crate::{commands::input, names::shown};

/// The cases that the tests of the library send.
const OURS: &str = include_str!("cases.json");

/// The largest file of cases that is read.
const LARGEST: usize = 64 << 20;

/// The longest body that is sent.
pub(super) const LONGEST_BODY: usize = 64 << 20;

/// The protocol of requests without a handshake.
pub(super) const MODERN: &str = "2026-07-28";

/// A file of cases.
#[derive(Deserialize)]
pub(super) struct Cases {
    policies: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

/// One request, and what should come of it.
#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) title: String,
    pub(super) rows: Vec<String>,
    pub(super) era: Era,
    policy: Option<String>,
    pub(super) request: RawRequest,
    pub(super) executes: bool,
    #[serde(default)]
    runs: Vec<String>,
}

/// The protocol that a request speaks.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Era {
    /// Up to 2025-11-25, with a handshake.
    Legacy,
    /// From 2026-07-28, without.
    Modern,
}

/// A request as it is written in the file.
#[derive(Deserialize)]
pub(super) struct RawRequest {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    #[serde(default, deserialize_with = "body")]
    pub(super) body: Option<Vec<u8>>,
}

/// A body, or a part of one.
#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    text: String,
    #[serde(default)]
    base64: String,
    times: Option<usize>,
    #[serde(default)]
    parts: Vec<Piece>,
}

impl Cases {
    /// Reads a file, or takes the cases of the library's tests. The error says what is
    /// wrong, and repeats nothing.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Self::parse(OURS);
        };
        let text = input::read(path, LARGEST)?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("line {line}, column {column}: this is no file of cases")
        })
    }

    /// The policy with this name.
    pub(super) fn policy(&self, name: &str) -> Result<&Value, String> {
        self.policies.get(name).ok_or_else(|| {
            let known: Vec<_> = self.policies.keys().map(|name| shown(name)).collect();
            format!(
                "there is no policy with this name; there is {}",
                known.join(", ")
            )
        })
    }

    /// The cases that hold under the policy with this name.
    pub(super) fn of_policy(&self, name: &str) -> impl Iterator<Item = &Case> {
        let of = move |case: &&Case| case.policy.as_ref().is_none_or(|policy| policy == name);
        self.cases.iter().filter(of)
    }
}

impl Case {
    /// What has to be executed.
    pub(super) fn expected(&self) -> Vec<String> {
        match (self.executes, self.runs.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec!["safe".to_owned()],
            (true, false) => self.runs.clone(),
        }
    }
}

impl Era {
    /// What it is called in the file.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl Piece {
    /// Its bytes; `None` if they are too many, or no base64.
    fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            bytes.extend(part.bytes()?);
        }
        let times = self.times.unwrap_or(1);
        let length = self.text.len().checked_mul(times)?;
        if length.checked_add(bytes.len())? > LONGEST_BODY {
            return None;
        }
        bytes.extend(self.text.repeat(times).bytes());
        bytes.extend(STANDARD.decode(&self.base64).ok()?);
        Some(bytes)
    }
}

fn body<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let bytes = Piece::deserialize(deserializer)?.bytes();
    bytes.map(Some).ok_or_else(|| D::Error::custom("no body"))
}

/// The plainest call of the tool that every policy allows, with a number by which the
/// recorder knows it.
pub(super) fn allowed_call(number: u64, era: Era) -> RawRequest {
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        // Nothing comes behind it.
        ("connection", "close"),
    ];
    let mut params = json!({ "name": "safe", "arguments": { super::recorder::NUMBER: number } });
    match era {
        Era::Legacy => headers.push(("mcp-protocol-version", "2025-11-25")),
        Era::Modern => {
            headers.extend([
                ("mcp-protocol-version", MODERN),
                ("mcp-method", "tools/call"),
                ("mcp-name", "safe"),
            ]);
            if let Some(params) = params.as_object_mut() {
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": MODERN,
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                params.insert("_meta".to_owned(), meta);
            }
        }
    }
    message("tools/call", Some(number), &params, headers)
}

/// The two requests with which a session begins.
pub(super) fn handshake() -> [RawRequest; 2] {
    let headers = || {
        vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ]
    };
    let client = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "mcp-policy-proxy attack", "version": env!("CARGO_PKG_VERSION") },
    });
    let mut agreed = headers();
    agreed.push(("mcp-protocol-version", "2025-11-25"));
    [
        message("initialize", Some(0), &client, headers()),
        message("notifications/initialized", None, &json!({}), agreed),
    ]
}

fn message(
    method: &str,
    id: Option<u64>,
    params: &Value,
    headers: Vec<(&str, &str)>,
) -> RawRequest {
    let mut message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    if let (Some(id), Some(members)) = (id, message.as_object_mut()) {
        members.insert("id".to_owned(), id.into());
    }
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    RawRequest {
        method: "POST".to_owned(),
        target: "/mcp".to_owned(),
        headers: headers.into_iter().map(owned).collect(),
        body: Some(message.to_string().into_bytes()),
    }
}
