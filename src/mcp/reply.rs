//! What a refusal looks like on the wire, for each protocol era.
//!
//! One function, [`reply`], decides this for the whole crate. The table in
//! `docs/refusals.md` is tested against it.

mod body;
mod refusal;
#[cfg(test)]
mod tests;

use http::StatusCode;

pub(crate) use self::body::{elicitation, in_seconds};
use self::body::{error, error_with, more_asked, open_page, tool_error};
pub(crate) use self::refusal::{Ask, MoreAsked, Place, Refusal, Thing};
use super::display::shown;
use super::message::Id;
use super::params::TASKS_EXTENSION;
use super::version::Era;

/// A policy refused the message.
pub(crate) const DENIED: i32 = -31403;
/// A limit of the policy is used up.
pub(crate) const LIMITED: i32 = -31429;
/// Somebody has to approve it first.
pub(crate) const WAITS: i32 = -31202;
/// There is no room for the message at the moment.
pub(crate) const UNAVAILABLE: i32 = -31503;
/// The code for what only clients with a certain capability can ask for.
const MISSING_CAPABILITY: i32 = -32021;
/// The code with which MCP servers say that a session does not exist.
const SESSION_NOT_FOUND: i32 = -32001;
/// The server's answer cannot be passed on.
pub(crate) const INTERNAL: i32 = -32603;

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
    let (status, body) = match refusal {
        Refusal::Tool { text, place } => match asked.id {
            Some(id) => (StatusCode::OK, tool_error(id, asked.era, text, place)),
            None => denied(asked, DENIED, text, place),
        },
        Refusal::Denied { text, place } => denied(asked, DENIED, text, place),
        Refusal::Limited { text, place } => denied(asked, LIMITED, text, place),
        Refusal::Waits { text, place } => denied(asked, WAITS, text, place),
        Refusal::MoreAsked(more) => match asked.id {
            Some(id) => (StatusCode::OK, more_asked(id, more)),
            None => denied(asked, WAITS, &more.place.reason, &more.place),
        },
        Refusal::OpenPage { url, place } => (
            asked.status_or(StatusCode::OK),
            open_page(asked, url, place),
        ),
        Refusal::Taken | Refusal::Unheard => (StatusCode::ACCEPTED, Vec::new()),
        Refusal::Batch { replies } => return in_array(replies),
        other => fault(other, asked),
    };
    Reply { status, body }
}

impl Asked<'_> {
    /// The status of what is said to this message, if it is `modern` to a request of the
    /// modern era.
    fn status_or(&self, modern: StatusCode) -> StatusCode {
        match (self.id, self.era) {
            (Some(_), Era::Legacy) => StatusCode::OK,
            (Some(_), Era::Modern) => modern,
            (None, _) => StatusCode::BAD_REQUEST,
        }
    }

    /// The status of a fault of ours or of the server's, not of the message.
    fn status_without_id(&self, status: StatusCode) -> StatusCode {
        match self.id {
            Some(_) => StatusCode::OK,
            None => status,
        }
    }
}

/// What a policy says to a message.
fn denied(asked: Asked<'_>, code: i32, text: &str, place: &Place) -> (StatusCode, Vec<u8>) {
    let status = asked.status_or(StatusCode::OK);
    (status, error(asked, code, text, Some(place)))
}

/// What is said where no policy refuses: a fault of the message, of ours, or of the server's.
fn fault(refusal: &Refusal, asked: Asked<'_>) -> (StatusCode, Vec<u8>) {
    match refusal {
        Refusal::Malformed { code, text } => (
            asked.status_or(StatusCode::BAD_REQUEST),
            error(asked, *code, text, None),
        ),
        Refusal::Headers { code, text } => {
            (StatusCode::BAD_REQUEST, error(asked, *code, text, None))
        }
        Refusal::Params { text } => (
            asked.status_or(StatusCode::OK),
            error(asked, -32602, text, None),
        ),
        Refusal::UnknownMethod { method } => (
            asked.status_or(StatusCode::NOT_FOUND),
            error(
                asked,
                -32601,
                &format!("Method not found: {}", shown(method)),
                None,
            ),
        ),
        Refusal::Unknown { what, name } => {
            let (code, text) = unknown(*what, name, asked.era);
            (
                asked.status_or(StatusCode::OK),
                error(asked, code, &text, None),
            )
        }
        Refusal::TasksUndeclared => (
            asked.status_or(StatusCode::BAD_REQUEST),
            error_with(
                asked,
                MISSING_CAPABILITY,
                "Only clients that declare the extension io.modelcontextprotocol/tasks have tasks.",
                Some(serde_json::json!({
                    "requiredCapabilities": { "extensions": { TASKS_EXTENSION: {} } },
                })),
            ),
        ),
        Refusal::Failed => (
            asked.status_without_id(StatusCode::INTERNAL_SERVER_ERROR),
            error(
                asked,
                INTERNAL,
                "The policy could not be asked, so nothing is let through. Tell the operator.",
                None,
            ),
        ),
        Refusal::Unavailable { place } => (
            asked.status_without_id(StatusCode::SERVICE_UNAVAILABLE),
            error(asked, UNAVAILABLE, &place.reason, Some(place)),
        ),
        Refusal::BadAnswer { text } => (
            asked.status_without_id(StatusCode::BAD_GATEWAY),
            error(asked, INTERNAL, text, None),
        ),
        other => {
            let (status, code, text) = http_fault(other);
            (status, error(asked, code, &text, None))
        }
    }
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
