//! How the admin API shows a request: the one place where arguments are to be seen.

use std::time::SystemTime;

use jiff::Timestamp;
use mcp_policy::{ApprovalRequest, Decider, ShownArguments};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::json_text;

/// The requests as a JSON text without anything in it that could fool a reader.
pub(super) fn all(requests: &[ApprovalRequest]) -> String {
    json(&requests.iter().map(View::of).collect::<Vec<_>>())
}

/// The same of one.
pub(super) fn one(request: &ApprovalRequest) -> String {
    json(&View::of(request))
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and JSON that has been read cannot fail to serialise.
    json_text::one_line(&serde_json::to_string(value).unwrap_or_default())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: String,
    state: &'static str,
    server: &'a str,
    caller: &'a str,
    method: &'a str,
    /// Also the name of a prompt, and the URI of a resource.
    tool: &'a str,
    /// As the caller sent them.
    arguments: Option<Box<RawValue>>,
    /// What else is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Box<RawValue>>,
    reason: Option<&'a str>,
    rules: Vec<&'a str>,
    created_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> View<'a> {
    fn of(request: &'a ApprovalRequest) -> Self {
        let arguments = request.arguments();
        Self {
            id: request.id().to_string(),
            state: request.state().as_str(),
            server: request.server(),
            caller: request.caller(),
            method: request.method(),
            tool: request.name(),
            arguments: arguments.and_then(raw),
            others: request
                .others()
                .and_then(|others| RawValue::from_string(others.to_owned()).ok()),
            reason: request.reason(),
            rules: request.rules().collect(),
            created_at: time(request.created_at()),
            expires_at: time(request.expires_at()),
            decided_by: decider(request),
            decided_at: request.decided_at().map(time),
            note: request.note(),
        }
    }
}

/// Who decided.
pub(super) fn decider(request: &ApprovalRequest) -> Option<&str> {
    request.decided_by().map(|decider| match decider {
        Decider::Operator(name) => &**name,
        Decider::Caller => request.caller(),
        _ => "(somebody else)",
    })
}

/// The text as it is, so that numbers stay what the server will get.
fn raw(arguments: &ShownArguments) -> Option<Box<RawValue>> {
    RawValue::from_string(arguments.text().to_owned()).ok()
}

fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
