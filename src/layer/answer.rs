//! What becomes of the inner service's answer.

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    RETRY_AFTER, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, Version, response};

use super::collect::{CollectError, Collected};
use super::config::Config;
use super::endpoints::Endpoints;
use super::response_body::ResponseBody;
use crate::mcp::list::{self, Unreadable};
use crate::mcp::message::Id;
use crate::mcp::reply::{self, Refusal, reply};
use crate::mcp::sse;
use crate::mcp::version::Era;

/// What is remembered of a request while its answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) era: Era,
    /// The id as it was written.
    pub(super) id: Option<Bytes>,
    pub(super) version: Version,
    /// Whether the answer should hold a list.
    pub(super) for_list: bool,
    /// Whether it is a GET.
    pub(super) opens_stream: bool,
}

/// How the body of an answer has to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is an event stream: judged event by event.
    Events,
    /// It is held until it has been judged.
    Hold,
}

impl Asked {
    pub(super) fn id(&self) -> Option<Id<'_>> {
        Id::from_raw(self.id.as_deref()?)
    }

    pub(super) fn in_words(&self) -> reply::Asked<'_> {
        reply::Asked {
            era: self.era,
            id: self.id(),
        }
    }

    /// The response that refuses the request.
    pub(super) fn refuse<R>(&self, refusal: &Refusal) -> Response<ResponseBody<R>> {
        let reply = reply(refusal, self.in_words());
        let mut response = Response::new(ResponseBody::from(Bytes::from(reply.body)));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        match refusal {
            Refusal::HttpMethod => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            }
            Refusal::Busy => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // Part of the body is still to come, and is not wanted.
            Refusal::TooLarge { .. } if self.version < Version::HTTP_2 => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }

    /// The response that refuses a message. A client of 2024-11-05 hears the
    /// refusal on the stream that it has open, and here only that it was heard.
    pub(super) fn refuse_message<R>(
        &self,
        refusal: &Refusal,
        endpoints: &Endpoints,
        target: &Uri,
    ) -> Response<ResponseBody<R>> {
        let event = || sse::event(&reply(refusal, self.in_words()).body);
        if self.id.is_some() && self.era == Era::Legacy && endpoints.deliver(target, event) {
            let mut response = Response::new(ResponseBody::default());
            *response.status_mut() = StatusCode::ACCEPTED;
            return response;
        }
        let mut response = self.refuse(refusal);
        if Endpoints::is_elsewhere(target) {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        response
    }

    /// The response in the place of an answer that cannot be passed on. What
    /// its head said stays, so that a client still learns that its session has
    /// ended or that it has to authenticate.
    fn replace<R>(
        &self,
        refusal: &Refusal,
        mut head: response::Parts,
    ) -> Response<ResponseBody<R>> {
        let reply = reply(refusal, self.in_words());
        if !head.status.is_client_error() && !head.status.is_server_error() {
            head.status = reply.status;
        }
        forget_body(&mut head.headers);
        head.headers.insert(CONTENT_TYPE, JSON);
        Response::from_parts(head, ResponseBody::from(Bytes::from(reply.body)))
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Decides by the head of an answer alone. `Err` holds the refusal of an
/// answer that must not be passed on whatever it holds.
pub(super) fn treatment(head: &response::Parts) -> Result<Treatment, Refusal> {
    if head.status.is_informational() || head.status.is_redirection() {
        return Err(Refusal::BadAnswer {
            text: format!(
                "The server answered with the HTTP status {}, which is not passed on: \
                 it could lead around the policy.",
                head.status.as_u16()
            ),
        });
    }
    let encoded = head
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Refusal::BadAnswer {
            text: "The server compressed its answer although it was asked not to, \
                   so the answer cannot be checked."
                .to_owned(),
        });
    }
    Ok(
        if media_type(&head.headers).starts_with("text/event-stream") {
            Treatment::Events
        } else {
            Treatment::Hold
        },
    )
}

/// The response for a head that must not be passed on.
pub(super) fn refuse_head<R>(asked: &Asked, refusal: &Refusal) -> Response<ResponseBody<R>> {
    let mut response = asked.refuse(refusal);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Judges an answer that was held whole.
pub(super) fn judge_held<R>(
    config: &Config,
    asked: &Asked,
    mut head: response::Parts,
    collected: Result<Collected, CollectError>,
) -> Response<ResponseBody<R>> {
    let collected = match collected {
        Ok(collected) => collected,
        Err(error) => return asked.replace(&unheld(error), head),
    };
    // A true length is set below; trailers are not passed on.
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.remove(TRAILER);
    let is_json = media_type(&head.headers).starts_with("application/json");
    // Without a brace there is no object, and so no list, in any reading.
    let may_hold_list = is_json || collected.bytes.contains(&b'{');
    if collected.bytes.is_empty() {
        return Response::from_parts(head, ResponseBody::default());
    }
    if !is_json && asked.for_list && head.status.is_success() {
        let refusal = Refusal::BadAnswer {
            text: "The server answered with something else than JSON or an event stream, \
                   so its list cannot be checked."
                .to_owned(),
        };
        return asked.replace(&refusal, head);
    }
    if !may_hold_list {
        return pass(head, collected);
    }
    match list::filter(&collected.bytes, &config.engine) {
        Ok(None) => pass(head, collected),
        Ok(Some(filtered)) => {
            let content_type = head.headers.get(CONTENT_TYPE).cloned();
            forget_body(&mut head.headers);
            head.headers
                .insert(CONTENT_TYPE, content_type.unwrap_or(JSON));
            let bytes = Bytes::from(filtered);
            pass(head, Collected { bytes, ..collected })
        }
        Err(unreadable) => {
            let text = unreadable_text(&unreadable);
            asked.replace(&Refusal::BadAnswer { text }, head)
        }
    }
}

fn pass<R>(mut head: response::Parts, collected: Collected) -> Response<ResponseBody<R>> {
    let length = HeaderValue::from(collected.bytes.len());
    head.headers.insert(CONTENT_LENGTH, length);
    Response::from_parts(head, ResponseBody::whole(collected.bytes, collected.hold))
}

/// The text for an answer that clients could read in different ways.
pub(super) fn unreadable_text(unreadable: &Unreadable) -> String {
    format!(
        "The server's answer cannot be passed on: {unreadable}. If this was a call, \
         it was made and may have had its effect; do not repeat it blindly."
    )
}

/// The refusal of an answer that could not be held whole.
fn unheld(error: CollectError) -> Refusal {
    let text = match error {
        CollectError::TooLarge => {
            "The answer is too large to be checked. If this was a call, it was made and may have \
             had its effect; do not repeat it blindly, but ask for less at a time."
        }
        CollectError::Busy => {
            "Too many large answers are being checked at the moment. If this was a call, it was \
             made and may have had its effect; do not repeat it blindly."
        }
        CollectError::Incomplete => {
            "The server's answer broke off. If this was a call, it may have had its effect; \
             do not repeat it blindly."
        }
    };
    Refusal::BadAnswer {
        text: text.to_owned(),
    }
}

/// Removes what a head says of the body that it had.
fn forget_body(headers: &mut HeaderMap) {
    const DIGESTS: [HeaderName; 4] = [
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("content-md5"),
    ];
    let framing = [
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        ETAG,
        TRAILER,
        TRANSFER_ENCODING,
    ];
    for header in framing.iter().chain(&DIGESTS) {
        headers.remove(header);
    }
}

/// Makes the head of an event stream fit what is passed on of it.
pub(super) fn prepare_events(headers: &mut HeaderMap) {
    let content_type = headers.get(CONTENT_TYPE).cloned();
    forget_body(headers);
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
}

/// The media type without parameters, in lower case; empty if there is none or
/// more than one.
fn media_type(headers: &HeaderMap) -> String {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
        _ => String::new(),
    }
}
