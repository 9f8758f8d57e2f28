//! What is written in the answers that refuse.

use std::time::Duration;

use serde::Serialize;

use super::{Ask, Asked, MoreAsked, Place};
use crate::mcp::message::Id;
use crate::mcp::rounds;
use crate::mcp::version::Era;

/// A page has to be opened first (2025-11-25).
const OPEN_PAGE: i32 = -32042;

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
pub(super) fn open_page(asked: Asked<'_>, url: &str, place: &Place) -> Vec<u8> {
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
pub(super) fn more_asked(id: Id<'_>, more: &MoreAsked) -> Vec<u8> {
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
pub(super) fn error(asked: Asked<'_>, code: i32, message: &str, place: Option<&Place>) -> Vec<u8> {
    error_with(asked, code, message, place.map(ErrorData::from))
}

pub(super) fn error_with(
    asked: Asked<'_>,
    code: i32,
    message: &str,
    data: Option<impl Serialize>,
) -> Vec<u8> {
    let error = ErrorObject {
        code,
        message,
        data,
    };
    envelope(asked.id, "error", &error)
}

/// A `tools/call` result that tells the model what went wrong.
pub(super) fn tool_error(id: Id<'_>, era: Era, text: &str, place: &Place) -> Vec<u8> {
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
