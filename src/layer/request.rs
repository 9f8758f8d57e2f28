//! What becomes of a request: whether it may go on, and with which head.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, request};
use smallvec::SmallVec;

use super::answer::DIGESTS;
use super::collect::CollectError;
use super::config::Config;
use super::encoding::is_encoded;
use super::exchange::{Asked, Exchange, Role, SessionStep, Waiting};
use super::permit::Permit;
use crate::audit::DecisionRecord;
use crate::mcp::headers::Mirror;
use crate::mcp::reply::Refusal;
use crate::session::SessionOwner;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// How a request is treated, told by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Its path is not guarded.
    Around,
    /// Its body is a message that has to be judged.
    Judge,
    /// It opens a stream or ends a session, and has no body.
    Pass,
}

/// Decides by the head of a request alone. Nothing that the client chooses
/// here makes a message pass unread.
pub(super) fn route(config: &Config, head: &request::Parts) -> Result<Route, Refusal> {
    let path = head.uri.path();
    if config
        .unguarded_paths
        .iter()
        .any(|unguarded| unguarded == path)
    {
        return Ok(Route::Around);
    }
    if head
        .headers
        .get_all(UPGRADE)
        .iter()
        .any(|value| !is_http2(value))
    {
        return Err(Refusal::HttpMethod);
    }
    match head.method {
        Method::POST => Ok(Route::Judge),
        Method::GET | Method::DELETE => Ok(Route::Pass),
        _ => Err(Refusal::HttpMethod),
    }
}

/// Some HTTP clients offer to go on in HTTP/2 with every first request. A
/// server may ignore the offer, and this one does.
fn is_http2(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().trim_ascii().eq_ignore_ascii_case(b"h2c")
}

/// What is known of a request before its body is read.
pub(super) fn unread(head: &request::Parts, mirror: &Mirror<'_>) -> Asked {
    Asked {
        era: mirror.era(),
        waiting: Waiting::Nobody,
        version: head.version,
        for_list: false,
        opens_stream: head.method == Method::GET,
        calls: SmallVec::new(),
        session: match mirror.session() {
            Ok(Some(session)) if head.method == Method::DELETE => {
                SessionStep::End(session.to_owned())
            }
            _ => SessionStep::None,
        },
        role: Role::None,
    }
}

/// Whether the body is declared to be plain JSON in UTF-8.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_encoded(headers) {
        return Err(Refusal::MediaType {
            text: "The body is compressed. Send it without a content-encoding.",
        });
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(media_type), None) if is_json(media_type) => Ok(()),
        _ => Err(Refusal::MediaType {
            text: "Send one header content-type: application/json, in UTF-8 if it says a charset.",
        }),
    }
}

fn is_json(media_type: &HeaderValue) -> bool {
    media_type == "application/json" || is_json_otherwise(media_type)
}

/// The same of a header that is not written as nearly all clients write it.
fn is_json_otherwise(media_type: &HeaderValue) -> bool {
    let Ok(media_type) = media_type.to_str() else {
        return false;
    };
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
        && !media_type.contains(',')
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().trim_matches('"');
            match name.as_str() {
                "charset" => ["utf-8", "utf8"]
                    .iter()
                    .any(|utf| value.eq_ignore_ascii_case(utf)),
                // The extended spellings `charset*` and `charset*0` among them.
                _ => !name.starts_with("charset"),
            }
        })
}

/// The refusal of a body that could not be read whole.
pub(super) fn unreadable(config: &Config, error: CollectError) -> Refusal {
    match error {
        CollectError::TooLarge => Refusal::TooLarge {
            limit: config.max_body_size,
        },
        CollectError::Busy => Refusal::Busy,
        CollectError::Incomplete => Refusal::Incomplete,
    }
}

/// The session that an answer names, if it names one.
pub(super) fn session_begun(headers: &HeaderMap) -> Option<&str> {
    let mut ids = headers.get_all(SESSION_ID).iter();
    match (ids.next().map(HeaderValue::to_str), ids.next()) {
        (Some(Ok(id)), None) => Some(id),
        // Nobody knows which of several a client would take.
        _ => None,
    }
}

/// Remembers what an answer did to the session.
pub(super) fn follow_session<R>(exchange: &Exchange, answer: &Response<R>) {
    if !answer.status().is_success() {
        return;
    }
    let sessions = exchange.judge.sessions();
    match &exchange.asked.session {
        SessionStep::Begin(client, elicitation) => {
            if let Some(session) = session_begun(answer.headers()) {
                let owner = SessionOwner::new(exchange.judge.caller());
                let owner = owner.with_elicitation(*elicitation);
                sessions.begin(
                    session,
                    match client {
                        Some(client) => owner.with_client(Arc::clone(client)),
                        None => owner,
                    },
                );
            }
        }
        SessionStep::End(session) => sessions.end(session),
        SessionStep::None => {}
    }
}

/// Removes what a head says of a body that was changed.
pub(super) fn forget_digests(headers: &mut HeaderMap) {
    for digest in DIGESTS {
        headers.remove(digest);
    }
}

/// Makes the head of a request fit what goes on of it.
pub(super) fn prepare(
    head: &mut request::Parts,
    length: Option<usize>,
    exchange: &Exchange,
    decision: &DecisionRecord,
) {
    let headers = &mut head.headers;
    // A request has few headers, and nearly never one of these.
    if headers.keys().any(is_dropped) {
        drop_headers(headers);
    }
    match length {
        Some(length) => set_length(headers, length),
        None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    // What is compressed cannot be judged on its way back.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let caller = exchange.judge.caller().clone();
    let id = match &exchange.asked.waiting {
        Waiting::One(id) => Some(Arc::clone(id)),
        Waiting::Nobody | Waiting::Batch(_) => None,
    };
    let permit = Permit::new(id, caller, decision.clone());
    head.extensions.insert(permit);
}

#[cold]
fn drop_headers(headers: &mut HeaderMap) {
    let dropped = headers.keys().filter(|name| is_dropped(name));
    let dropped: SmallVec<[HeaderName; 4]> = dropped.cloned().collect();
    for header in dropped {
        headers.remove(header);
    }
}

/// Says how long a body is. Mostly it is said already.
pub(super) fn set_length(headers: &mut HeaderMap, length: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(length);
    let mut said = headers.get_all(CONTENT_LENGTH).iter();
    if said.next().is_some_and(|said| said == digits) && said.next().is_none() {
        return;
    }
    let value = HeaderValue::from_str(digits);
    let value = value.unwrap_or_else(|_| HeaderValue::from(length));
    headers.insert(CONTENT_LENGTH, value);
}

/// Whether a header does not go on.
fn is_dropped(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-encoding"
            | "transfer-encoding"
            | "trailer"
            | "te"
            | "expect"
            | "upgrade"
            | "http2-settings"
            // Half a list cannot be judged.
            | "range"
            | "if-range"
            | "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_length_goes_on_whatever_was_said() {
        for said in [&[][..], &["5"], &["6"], &["5", "5"], &["5", "6"], &["05"]] {
            let mut headers = HeaderMap::new();
            for length in said {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            set_length(&mut headers, 5);
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lengths, ["5"], "{said:?}");
        }
    }

    #[test]
    fn what_does_not_go_on_is_found_among_others() {
        let names = ["expect", "range", "te", "content-type", "x-http-method"];
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        drop_headers(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-type"]);
    }
}
