//! What a refusal looks like on the wire, for each protocol era.
//!
//! One function, [`reply`], decides this for the whole crate. The table in
//! `docs/refusals.md` is tested against it.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::display::shown;
use super::fault::Fault;
use super::headers::{HeaderFault, UnclearSession};
use super::message::Id;
use super::params::TASKS_EXTENSION;
use super::rounds;
use super::version::Era;

/// A policy refused the message.
pub(crate) const DENIED: i32 = -31403;
/// A limit of the policy is used up.
pub(crate) const LIMITED: i32 = -31429;
/// Somebody has to approve it first.
pub(crate) const WAITS: i32 = -31202;
/// A page has to be opened first (2025-11-25).
const OPEN_PAGE: i32 = -32042;
/// There is no room for the message at the moment.
pub(crate) const UNAVAILABLE: i32 = -31503;
/// The code for what only clients with a certain capability can ask for.
const MISSING_CAPABILITY: i32 = -32021;
/// The code with which MCP servers say that a session does not exist.
const SESSION_NOT_FOUND: i32 = -32001;
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
    /// A task, and a client that does not say that it can follow one.
    TasksUndeclared,
    /// A tool that may not be called in this way: the model is told.
    Tool { text: String, place: Place },
    /// Another method that may not be used in this way.
    Denied { text: String, place: Place },
    /// Another method, which may not be used so often or so much.
    Limited { text: String, place: Place },
    /// Another method, which somebody has to approve first.
    Waits { text: String, place: Place },
    /// It waits for an approval, and the client is to come back with this state
    /// (2026-07-28).
    MoreAsked(Box<MoreAsked>),
    /// It waits for an approval, which can be followed on this page (2025-11-25).
    OpenPage { url: String, place: Place },
    /// A notification that was for us and not for the server.
    Taken,
    /// What a client answers a server that does not hear it. Some clients end their session
    /// when they are told so, and none would send it again.
    Unheard,
    /// The session does not exist, or is another caller's.
    NoSession,
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
    /// Something of ours failed, so nothing could be decided.
    Failed,
    /// It could not be counted or recorded.
    Unavailable { place: Place },
    /// A batch that has no answer, or is not to have it: what is said to each
    /// message that has an id.
    Batch { replies: Vec<Reply> },
}

impl Refusal {
    /// The refusal of a message that is no valid request.
    pub(crate) fn malformed(text: &str) -> Self {
        Self::Malformed {
            code: -32600,
            text: text.to_owned(),
        }
    }

    /// After what time the same could be let through, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Tool { place, .. } | Self::Limited { place, .. } => place.retry_after,
            _ => None,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Malformed {
            code: fault.code(),
            text: fault.to_string(),
        }
    }
}

impl From<UnclearSession> for Refusal {
    fn from(_: UnclearSession) -> Self {
        Self::NoSession
    }
}

impl From<HeaderFault> for Refusal {
    fn from(fault: HeaderFault) -> Self {
        Self::Headers {
            code: fault.code(),
            text: fault.to_string(),
        }
    }
}

/// With what a client is to come back, and what it is told meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MoreAsked {
    /// What the user is asked, if anything.
    pub(crate) asks: Option<Ask>,
    pub(crate) state: String,
    pub(crate) place: Place,
}

/// What the user of a client is asked, in words that hold no value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To open a page.
    Page { url: String, message: String },
    /// To let the call go on.
    Form { message: String },
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
    /// By which the operator finds it in the records.
    pub(crate) decision: Option<Box<str>>,
    /// When the same could be let through, if it could and that is known.
    pub(crate) retry_after: Option<Duration>,
    /// The request for an approval that it waits for, or that was denied.
    pub(crate) approval: Option<Box<str>>,
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
    // Faults of ours or of the server's, not of the request.
    let or_without_id = |status| match asked.id {
        Some(_) => StatusCode::OK,
        None => status,
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
        Refusal::TasksUndeclared => (
            per_call(StatusCode::BAD_REQUEST),
            error_with(
                asked,
                MISSING_CAPABILITY,
                "Only clients that declare the extension io.modelcontextprotocol/tasks have tasks.",
                Some(serde_json::json!({
                    "requiredCapabilities": { "extensions": { TASKS_EXTENSION: {} } },
                })),
            ),
        ),
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
        Refusal::Limited { text, place } => (
            per_call(StatusCode::OK),
            error(asked, LIMITED, text, Some(place)),
        ),
        Refusal::Waits { text, place } => (
            per_call(StatusCode::OK),
            error(asked, WAITS, text, Some(place)),
        ),
        Refusal::MoreAsked(more) => match asked.id {
            Some(id) => (StatusCode::OK, more_asked(id, more)),
            None => (
                StatusCode::BAD_REQUEST,
                error(asked, WAITS, &more.place.reason, Some(&more.place)),
            ),
        },
        Refusal::OpenPage { url, place } => {
            (per_call(StatusCode::OK), open_page(asked, url, place))
        }
        Refusal::Taken | Refusal::Unheard => (StatusCode::ACCEPTED, Vec::new()),
        Refusal::Failed => (
            or_without_id(StatusCode::INTERNAL_SERVER_ERROR),
            error(
                asked,
                INTERNAL,
                "The policy could not be asked, so nothing is let through. Tell the operator.",
                None,
            ),
        ),
        Refusal::Unavailable { place } => (
            or_without_id(StatusCode::SERVICE_UNAVAILABLE),
            error(asked, UNAVAILABLE, &place.reason, Some(place)),
        ),
        Refusal::Batch { replies } => return in_array(replies),
        Refusal::BadAnswer { text } => (
            or_without_id(StatusCode::BAD_GATEWAY),
            error(asked, INTERNAL, text, None),
        ),
        other => {
            let (status, code, text) = http_fault(other);
            (status, error(asked, code, &text, None))
        }
    };
    Reply { status, body }
}

/// The refusal of a batch of whose messages each is told something of its own;
/// `None` if nobody in it waits for an answer.
pub(crate) fn batch<'r>(
    refusals: impl IntoIterator<Item = (Option<Id<'r>>, &'r Refusal)>,
    era: Era,
) -> Option<Refusal> {
    let replies: Vec<Reply> = refusals
        .into_iter()
        .filter(|(id, _)| id.is_some())
        .map(|(id, refusal)| reply(refusal, Asked { era, id }))
        .collect();
    (!replies.is_empty()).then_some(Refusal::Batch { replies })
}

/// What is said to each message of a batch that has one of these ids.
pub(crate) fn to_each<'i>(
    refusal: &Refusal,
    era: Era,
    ids: impl Iterator<Item = Id<'i>>,
) -> Vec<Reply> {
    match refusal {
        Refusal::Batch { replies } => replies.clone(),
        other => ids
            .map(|id| reply(other, Asked { era, id: Some(id) }))
            .collect(),
    }
}

/// All of these as the answer to one batch.
pub(crate) fn in_array(replies: &[Reply]) -> Reply {
    let bodies: Vec<&[u8]> = replies.iter().map(|reply| &*reply.body).collect();
    let mut body = b"[".to_vec();
    body.extend(bodies.join(&b','));
    body.push(b']');
    Reply {
        status: replies
            .first()
            .map_or(StatusCode::BAD_REQUEST, |reply| reply.status),
        body,
    }
}

/// Refusals that are about HTTP rather than about one call.
fn http_fault(refusal: &Refusal) -> (StatusCode, i32, String) {
    match refusal {
        // The status is what tells a client to begin a new session.
        Refusal::NoSession => (
            StatusCode::NOT_FOUND,
            SESSION_NOT_FOUND,
            "Session not found".to_owned(),
        ),
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
struct ErrorObject<'a, D> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    rule: &'a str,
    reason: &'a str,
    #[serde(rename = "decisionId", skip_serializing_if = "Option::is_none")]
    decision: Option<&'a str>,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(rename = "approvalId", skip_serializing_if = "Option::is_none")]
    approval: Option<&'a str>,
}

/// The answer `-32042` of 2025-11-25: what is to be opened stands with what every
/// refusal says.
fn open_page(asked: Asked<'_>, url: &str, place: &Place) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        elicitations: [serde_json::Value; 1],
        #[serde(flatten)]
        place: ErrorData<'a>,
    }
    let data = Data {
        elicitations: [serde_json::json!({
            "mode": "url",
            "elicitationId": place.approval.as_deref().unwrap_or_default(),
            "url": url,
            "message": place.reason,
        })],
        place: ErrorData::from(place),
    };
    error_with(asked, OPEN_PAGE, &place.reason, Some(data))
}

/// The `InputRequiredResult` of 2026-07-28.
fn more_asked(id: Id<'_>, more: &MoreAsked) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct InputRequired<'a> {
        result_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        input_requests: Option<serde_json::Value>,
        request_state: &'a str,
        #[serde(rename = "_meta")]
        meta: ResultMeta<'a>,
    }
    let params = more.asks.as_ref().map(|asks| match asks {
        Ask::Page { url, message } => serde_json::json!({
            "mode": "url",
            "url": url,
            "message": message,
        }),
        Ask::Form { message } => serde_json::json!({
            "mode": "form",
            "message": message,
            "requestedSchema": decision_schema(),
        }),
    });
    let request = |params| serde_json::json!({ "method": "elicitation/create", "params": params });
    let result = InputRequired {
        result_type: "input_required",
        input_requests: params.map(|params| serde_json::json!({ rounds::INPUT: request(params) })),
        request_state: &more.state,
        meta: ResultMeta::from(&more.place),
    };
    envelope(Some(id), "result", &result)
}

/// What a user decides. Some clients fill in what a form says by default.
fn decision_schema() -> serde_json::Value {
    serde_json::json!({
        "type": "object",
        "properties": {
            "decision": {
                "type": "string",
                "enum": [rounds::ALLOW_ONCE, rounds::DENY],
                "default": rounds::DENY,
            },
        },
        "required": ["decision"],
    })
}

/// A request of ours to a client, of the versions that have no modes or one: to ask its
/// user whether a call may go on.
pub(crate) fn elicitation(id: &str, message: &str) -> Vec<u8> {
    let request = serde_json::json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "elicitation/create",
        "params": { "message": message, "requestedSchema": decision_schema() },
    });
    request.to_string().into_bytes()
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
    #[serde(
        rename = "io.github.mcp-policy/decisionId",
        skip_serializing_if = "Option::is_none"
    )]
    decision: Option<&'a str>,
    #[serde(
        rename = "io.github.mcp-policy/retryAfterMs",
        skip_serializing_if = "Option::is_none"
    )]
    retry_after: Option<u64>,
    #[serde(
        rename = "io.github.mcp-policy/approvalId",
        skip_serializing_if = "Option::is_none"
    )]
    approval: Option<&'a str>,
}

impl<'a> From<&'a Place> for ErrorData<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            rule: &place.rule,
            reason: &place.reason,
            decision: place.decision.as_deref(),
            retry_after: place.retry_after.map(in_milliseconds),
            approval: place.approval.as_deref(),
        }
    }
}

impl<'a> From<&'a Place> for ResultMeta<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            rule: &place.rule,
            reason: &place.reason,
            decision: place.decision.as_deref(),
            retry_after: place.retry_after.map(in_milliseconds),
            approval: place.approval.as_deref(),
        }
    }
}

/// A JSON-RPC error; without an id, where there is none to echo.
fn error(asked: Asked<'_>, code: i32, message: &str, place: Option<&Place>) -> Vec<u8> {
    error_with(asked, code, message, place.map(ErrorData::from))
}

fn error_with(asked: Asked<'_>, code: i32, message: &str, data: Option<impl Serialize>) -> Vec<u8> {
    let error = ErrorObject {
        code,
        message,
        data,
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
        meta: ResultMeta::from(place),
    };
    envelope(Some(id), "result", &result)
}

/// The time to wait, in whole seconds; rounded up, so that it is never too early.
pub(crate) fn in_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// Rounded up: it is never too early then.
fn in_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;

    const NOBODY: Asked<'_> = Asked {
        era: Era::Modern,
        id: None,
    };

    fn place() -> Place {
        Place {
            rule: "/tools/x/action".to_owned(),
            reason: "No.".to_owned(),
            decision: Some("d".into()),
            retry_after: None,
            approval: None,
        }
    }

    fn malformed(code: i32) -> Refusal {
        Refusal::Malformed {
            code,
            text: String::new(),
        }
    }

    fn unknown_thing(what: Thing) -> Refusal {
        Refusal::Unknown {
            what,
            name: "x".to_owned(),
        }
    }

    /// Every row of the table in the documentation, and what it speaks of.
    fn rows() -> Vec<(&'static str, Refusal)> {
        let text = String::new;
        let not_json = Fault::from(Reader::new(b"", crate::json::Profile::MESSAGE).unwrap_err());
        vec![
            ("body is not JSON in UTF-8", malformed(not_json.code())),
            (
                "body that JSON readers understand differently, batch, not a message, method in the wrong kind",
                malformed(Fault::Batch.code()),
            ),
            (
                "`params`, or `_meta` in it, that is no object",
                malformed(Fault::ParamsNotAnObject.code()),
            ),
            (
                "`params`, or `_meta` in it, that is no object",
                malformed(Fault::MetaNotAnObject.code()),
            ),
            (
                "response of a modern client, whose version has none",
                HeaderFault::Response.into(),
            ),
            (
                "header missing, repeated, or at odds with the body",
                HeaderFault::Missing("x").into(),
            ),
            (
                "header missing, repeated, or at odds with the body",
                HeaderFault::Unreadable("x").into(),
            ),
            (
                "header missing, repeated, or at odds with the body",
                HeaderFault::Mismatch("x").into(),
            ),
            (
                "request without the `_meta` of its version",
                HeaderFault::MissingMeta.into(),
            ),
            (
                "parameters of the wrong type",
                Refusal::Params { text: text() },
            ),
            (
                "method not known and not allowed by `methods`",
                Refusal::UnknownMethod { method: text() },
            ),
            (
                "tool, prompt or task hidden or unknown",
                unknown_thing(Thing::Tool),
            ),
            (
                "tool, prompt or task hidden or unknown",
                unknown_thing(Thing::Prompt),
            ),
            (
                "tool, prompt or task hidden or unknown",
                unknown_thing(Thing::Task),
            ),
            ("resource hidden or unknown", unknown_thing(Thing::Resource)),
            (
                "task hidden or unknown, and the client does not declare the extension for tasks",
                Refusal::TasksUndeclared,
            ),
            (
                "tool denied, or waiting for an approval",
                Refusal::Tool {
                    text: text(),
                    place: place(),
                },
            ),
            (
                "prompt, resource or own task denied, by a rule or by whoever was asked",
                Refusal::Denied {
                    text: text(),
                    place: place(),
                },
            ),
            (
                "prompt or resource waiting for an approval",
                Refusal::Waits {
                    text: text(),
                    place: place(),
                },
            ),
            (
                "tool, prompt or resource waiting for an approval, and the client can come back (2026-07-28)",
                Refusal::MoreAsked(Box::new(MoreAsked {
                    asks: None,
                    state: text(),
                    place: place(),
                })),
            ),
            (
                "tool, prompt or resource waiting for an approval, and the client can open pages (2025-11-25)",
                Refusal::OpenPage {
                    url: text(),
                    place: place(),
                },
            ),
            (
                "tool used up by a limit",
                Refusal::Tool {
                    text: text(),
                    place: place(),
                },
            ),
            (
                "prompt or resource used up by a limit, or too many sessions begun",
                Refusal::Limited {
                    text: text(),
                    place: place(),
                },
            ),
            ("session of another caller", Refusal::NoSession),
            ("other HTTP method, or upgrade", Refusal::HttpMethod),
            (
                "body compressed, or not declared as JSON in UTF-8",
                Refusal::MediaType { text: "" },
            ),
            ("body too large", Refusal::TooLarge { limit: 1 }),
            ("body broken off", Refusal::Incomplete),
            ("too much held at once", Refusal::Busy),
            (
                "answer of the server that cannot be checked",
                Refusal::BadAnswer { text: text() },
            ),
            ("policy could not be asked", Refusal::Failed),
            (
                "decision could not be counted or recorded",
                Refusal::Unavailable { place: place() },
            ),
        ]
    }

    fn replied(refusal: &Refusal, era: Era) -> (u16, String) {
        let id = Id::from_raw(b"1");
        let reply = reply(refusal, Asked { era, id });
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["id"], 1);
        let code = match &body["error"]["code"] {
            serde_json::Value::Null if body["result"]["isError"] == true => {
                "none: a result with `isError`".to_owned()
            }
            serde_json::Value::Null => "none: a result that asks for more".to_owned(),
            code => code.to_string(),
        };
        (reply.status.as_u16(), code)
    }

    #[test]
    fn the_table_in_the_documentation_says_what_the_code_does() {
        let page = include_str!("../docs/refusals.md");
        for (title, refusal) in rows() {
            let (legacy_status, legacy_code) = replied(&refusal, Era::Legacy);
            let (modern_status, modern_code) = replied(&refusal, Era::Modern);
            let code = if legacy_code == modern_code {
                legacy_code
            } else {
                format!("{legacy_code} legacy, {modern_code} modern")
            };
            let without_id = reply(&refusal, NOBODY).status.as_u16();
            let row = format!(
                "| {title} | {legacy_status} | {modern_status} | {code} | {without_id} |\n"
            );
            assert!(page.contains(&row), "the table lacks {row}");
        }
        let redirect = "| redirect or protocol switch by the server | 502 | 502 | -32603 | 502 |";
        let tested_elsewhere = usize::from(page.contains(redirect));
        let rest = page.find("| refusal |").unwrap();
        let table = page[rest..].split("\n\n").next().unwrap();
        let titles = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
        let mut known: Vec<_> = rows().into_iter().map(|row| row.0).collect();
        known.dedup();
        assert_eq!(titles, known.len() + tested_elsewhere);
    }

    #[test]
    fn every_kind_of_refusal_is_in_the_table_or_told_of_below_it() {
        let code = include_str!("reply.rs");
        let begins = code.find("enum Refusal {").unwrap();
        let kinds = code[begins..].split("\n}\n").next().unwrap().lines();
        let kinds = kinds.filter_map(|line| line.strip_prefix("    "));
        let name = |text: &str| {
            text.split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap()
                .to_owned()
        };
        let kinds: Vec<_> = kinds
            .filter(|line| line.starts_with(|c: char| c.is_uppercase()))
            .map(name)
            .collect();
        let known: Vec<_> = rows()
            .iter()
            .map(|row| name(&format!("{:?}", row.1)))
            .collect();
        // Those have no body, or one that is made of others.
        let told_below = ["Taken", "Unheard", "Batch"];
        assert!(kinds.len() > 20, "{kinds:?}");
        for kind in kinds {
            assert!(
                known.contains(&kind) || told_below.contains(&&*kind),
                "{kind}"
            );
        }
    }

    #[test]
    fn without_an_id_the_answer_has_none_and_is_no_success() {
        for (title, refusal) in rows() {
            for era in [Era::Legacy, Era::Modern] {
                let reply = reply(&refusal, Asked { era, id: None });
                assert!(!reply.status.is_success(), "{title}");
                let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                assert!(
                    body.get("id").is_none() && body["error"].is_object(),
                    "{title}"
                );
            }
        }
    }
}
