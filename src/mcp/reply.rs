//! What a refusal looks like on the wire, for each protocol era.
//!
//! One function, [`reply`], decides this for the whole crate. The table in
//! `docs/refusals.md` is tested against it.

use http::StatusCode;
use serde::Serialize;

use super::display::shown;
use super::message::Id;
use super::version::Era;

/// A policy refused the message.
pub(crate) const DENIED: i32 = -31403;
/// There is no room for the message at the moment.
pub(crate) const UNAVAILABLE: i32 = -31503;
/// The server's answer cannot be passed on.
pub(crate) const INTERNAL: i32 = -32603;

/// Why a message is not let through, in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body is not a message that every reader understands alike.
    Malformed { code: i32, text: String },
    /// The headers do not fit the body.
    Headers { code: i32, text: String },
    /// The parameters do not have the types that the method needs.
    Params { text: String },
    /// A method that this server does not have.
    UnknownMethod { method: String },
    /// A tool, prompt, resource or task that this server does not have.
    Unknown { what: Thing, name: String },
    /// A tool that may not be called in this way: the model is told.
    Tool { text: String, place: Place },
    /// Another method that may not be used in this way.
    Denied { text: String, place: Place },
    /// The HTTP method is not one of the transport.
    HttpMethod,
    /// The body is compressed or not declared to be JSON in UTF-8.
    MediaType { text: &'static str },
    /// The body is larger than the limit, in bytes.
    TooLarge { limit: usize },
    /// The body did not arrive whole.
    Incomplete,
    /// Too many bytes of other requests or answers are being held.
    Busy,
    /// The server answered something that cannot be passed on.
    BadAnswer { text: String },
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Tool,
    Prompt,
    Resource,
    Task,
}

/// Where in the policy a refusal comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) rule: String,
    pub(crate) reason: String,
}

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// What a refusal refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) era: Era,
    /// `None` for notifications, and where no id can be trusted.
    pub(crate) id: Option<Id<'a>>,
}

/// The answer to a message that is not let through.
///
/// In the legacy era a request that can be told by its id is always answered
/// with 200, because some clients end their session on anything else.
pub(crate) fn reply(refusal: &Refusal, asked: Asked<'_>) -> Reply {
    let legacy_request = asked.era == Era::Legacy && asked.id.is_some();
    let per_call = |modern| match asked {
        _ if legacy_request => StatusCode::OK,
        Asked { id: Some(_), .. } => modern,
        Asked { id: None, .. } => StatusCode::BAD_REQUEST,
    };
    let (status, body) = match refusal {
        Refusal::Malformed { code, text } => (
            per_call(StatusCode::BAD_REQUEST),
            error(asked, *code, text, None),
        ),
        Refusal::Headers { code, text } => {
            (StatusCode::BAD_REQUEST, error(asked, *code, text, None))
        }
        Refusal::Params { text } => (per_call(StatusCode::OK), error(asked, -32602, text, None)),
        Refusal::UnknownMethod { method } => (
            per_call(StatusCode::NOT_FOUND),
            error(
                asked,
                -32601,
                &format!("Method not found: {}", shown(method)),
                None,
            ),
        ),
        Refusal::Unknown { what, name } => {
            let (code, text) = unknown(*what, name, asked.era);
            (per_call(StatusCode::OK), error(asked, code, &text, None))
        }
        Refusal::Tool { text, place } => match asked.id {
            Some(id) => (StatusCode::OK, tool_error(id, asked.era, text, place)),
            None => (
                per_call(StatusCode::OK),
                error(asked, DENIED, text, Some(place)),
            ),
        },
        Refusal::Denied { text, place } => (
            per_call(StatusCode::OK),
            error(asked, DENIED, text, Some(place)),
        ),
        Refusal::BadAnswer { text } => (
            if asked.id.is_some() {
                StatusCode::OK
            } else {
                StatusCode::BAD_GATEWAY
            },
            error(asked, INTERNAL, text, None),
        ),
        other => {
            let (status, code, text) = http_fault(other);
            (status, error(asked, code, &text, None))
        }
    };
    Reply { status, body }
}

/// Refusals that are about HTTP rather than about one call.
fn http_fault(refusal: &Refusal) -> (StatusCode, i32, String) {
    match refusal {
        Refusal::HttpMethod => (
            StatusCode::METHOD_NOT_ALLOWED,
            -32600,
            "Send MCP messages with POST. GET opens a stream and DELETE ends a session; \
             other methods and protocol upgrades are not part of the transport."
                .to_owned(),
        ),
        Refusal::MediaType { text } => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            -32600,
            (*text).to_owned(),
        ),
        Refusal::TooLarge { limit } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            -32600,
            format!("The body is larger than the {limit} bytes that are accepted."),
        ),
        Refusal::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            UNAVAILABLE,
            "Too many large messages are being handled at the moment. Try again in a second."
                .to_owned(),
        ),
        _ => (
            StatusCode::BAD_REQUEST,
            -32700,
            "The body did not arrive whole. Send the message again.".to_owned(),
        ),
    }
}

/// Something hidden is answered in the same words as something unknown.
fn unknown(what: Thing, name: &str, era: Era) -> (i32, String) {
    let name = shown(name);
    match (what, era) {
        (Thing::Tool, _) => (-32602, format!("Unknown tool: {name}")),
        (Thing::Prompt, _) => (-32602, format!("Unknown prompt: {name}")),
        (Thing::Task, _) => (-32602, format!("Unknown task: {name}")),
        (Thing::Resource, Era::Legacy) => (-32002, format!("Resource not found: {name}")),
        (Thing::Resource, Era::Modern) => (-32602, format!("Resource not found: {name}")),
    }
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ErrorData<'a>>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    rule: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct ToolResult<'a> {
    #[serde(rename = "resultType", skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: [TextContent<'a>; 1],
    #[serde(rename = "isError")]
    is_error: bool,
    #[serde(rename = "_meta")]
    meta: ResultMeta<'a>,
}

#[derive(Serialize)]
struct TextContent<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct ResultMeta<'a> {
    #[serde(rename = "io.github.mcp-policy/rule")]
    rule: &'a str,
    #[serde(rename = "io.github.mcp-policy/reason")]
    reason: &'a str,
}

/// A JSON-RPC error; without an id, where there is none to echo.
fn error(asked: Asked<'_>, code: i32, message: &str, place: Option<&Place>) -> Vec<u8> {
    let error = ErrorObject {
        code,
        message,
        data: place.map(|place| ErrorData {
            rule: &place.rule,
            reason: &place.reason,
        }),
    };
    envelope(asked.id, "error", &error)
}

/// A `tools/call` result that tells the model what went wrong.
fn tool_error(id: Id<'_>, era: Era, text: &str, place: &Place) -> Vec<u8> {
    let result = ToolResult {
        result_type: (era == Era::Modern).then_some("complete"),
        content: [TextContent {
            r#type: "text",
            text,
        }],
        is_error: true,
        meta: ResultMeta {
            rule: &place.rule,
            reason: &place.reason,
        },
    };
    envelope(Some(id), "result", &result)
}

fn envelope(id: Option<Id<'_>>, member: &str, value: &impl Serialize) -> Vec<u8> {
    let mut body = br#"{"jsonrpc":"2.0","#.to_vec();
    if let Some(id) = id {
        body.extend_from_slice(br#""id":"#);
        body.extend_from_slice(id.raw());
        body.push(b',');
    }
    body.extend_from_slice(format!("\"{member}\":").as_bytes());
    // Structs of strings and numbers always serialise; `null` would be wrong,
    // but never a way past a policy.
    body.extend_from_slice(&serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()));
    body.push(b'}');
    body
}
