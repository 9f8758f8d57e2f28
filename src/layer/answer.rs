//! What becomes of the inner service's answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    RETRY_AFTER, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, Version, response};

use super::collect::{CollectError, Collected};
use super::encoding::is_identity;
use super::endpoints::Endpoints;
use super::exchange::{Asked, Exchange};
use super::judged::Refused;
use super::not_sent::NotSent;
use super::request;
use super::response_body::ResponseBody;
use super::tell;
use crate::audit::Ending;
use crate::mcp::list::Unreadable;
use crate::mcp::reply::{Refusal, in_seconds};
use crate::mcp::version::Era;

/// How the body of an answer has to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It must not be passed on: it would lead the client elsewhere.
    Redirect,
    /// It is compressed, and cannot be judged if it has a body.
    Encoded,
    /// It is an event stream: judged event by event.
    Events,
    /// It is held until it has been judged.
    Hold,
}

impl Asked {
    /// The response that refuses the request.
    pub(super) fn refuse<R>(&self, refusal: &Refusal) -> Response<ResponseBody<R>> {
        let reply = self.reply(refusal);
        let mut response = Response::new(ResponseBody::from(Bytes::from(reply.body)));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(time) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(in_seconds(time)));
        }
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

    /// The response in the place of an answer that cannot be passed on. What
    /// its head said stays, so that a client still learns that its session has
    /// ended or that it has to authenticate.
    fn replace<R>(
        &self,
        refusal: &Refusal,
        mut head: response::Parts,
    ) -> Response<ResponseBody<R>> {
        let reply = self.reply(refusal);
        if !head.status.is_client_error() && !head.status.is_server_error() {
            head.status = reply.status;
        }
        forget_body(&mut head.headers);
        head.headers.insert(CONTENT_TYPE, JSON);
        Response::from_parts(head, ResponseBody::from(Bytes::from(reply.body)))
    }
}

/// The response that refuses a request. A client of 2024-11-05 hears the refusal
/// of a message on the stream that it has open, and here only that it was heard.
pub(super) fn refuse<R>(refused: &Refused, target: &Uri) -> Response<ResponseBody<R>> {
    let mut response = refusal_of(refused, target);
    // Another layer around this one gives back what it charged.
    response.extensions_mut().insert(NotSent);
    response
}

fn refusal_of<R>(refused: &Refused, target: &Uri) -> Response<ResponseBody<R>> {
    let (refusal, asked) = (&refused.refusal, &refused.asked);
    if matches!(refusal, Refusal::Taken | Refusal::Unheard) {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::ACCEPTED;
        return response;
    }
    if !refused.is_message {
        return asked.refuse(refusal);
    }
    let event = || asked.events(refusal);
    let is_legacy_request = asked.is_awaited() && asked.era == Era::Legacy;
    let caller = refused.caller.as_ref().filter(|_| is_legacy_request);
    let endpoints = &refused.config.endpoints;
    if caller.is_some_and(|caller| endpoints.deliver(target, caller, event)) {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::ACCEPTED;
        return response;
    }
    let mut response = asked.refuse(refusal);
    if Endpoints::is_elsewhere(target) {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// What a head says of its body. It has few headers, so that to look at each of them once
/// is less work than to search for each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heading {
    /// Whether the media type is what nearly all servers write, letter by letter.
    is_plainly_json: bool,
    is_encoded: bool,
    /// Whether it says how the body comes.
    is_framed: bool,
}

impl Heading {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut heading = Self::default();
        let mut has_type = false;
        for (name, value) in headers {
            match *name {
                CONTENT_TYPE => {
                    heading.is_plainly_json = !has_type && value == JSON;
                    has_type = true;
                }
                CONTENT_ENCODING => heading.is_encoded |= !is_identity(value),
                TRANSFER_ENCODING | TRAILER => heading.is_framed = true,
                _ => {}
            }
        }
        heading
    }
}

/// Decides by the head of an answer alone.
pub(super) fn treatment(head: &response::Parts, heading: Heading) -> Treatment {
    if head.status.is_informational() || head.status.is_redirection() {
        return Treatment::Redirect;
    }
    if heading.is_encoded {
        return Treatment::Encoded;
    }
    // Some clients look for it anywhere in the header.
    if !heading.is_plainly_json && media_type(&head.headers).contains("text/event-stream") {
        return Treatment::Events;
    }
    Treatment::Hold
}

/// The response in the place of a redirect or a switch of protocols.
pub(super) fn refuse_redirect<R>(
    asked: &Asked,
    head: &response::Parts,
) -> Response<ResponseBody<R>> {
    let text = format!(
        "The server answered with the HTTP status {}, which is not passed on: \
         it could lead around the policy.",
        head.status.as_u16()
    );
    let mut response = asked.refuse(&Refusal::BadAnswer { text });
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// The response in the place of a compressed answer.
pub(super) fn refuse_encoded<R>(asked: &Asked, head: response::Parts) -> Response<ResponseBody<R>> {
    let text = "The server compressed its answer although it was asked not to, so the answer \
                cannot be checked. If this was a call, it was made and may have had its effect; \
                do not repeat it blindly.";
    let text = text.to_owned();
    asked.replace(&Refusal::BadAnswer { text }, head)
}

/// Judges an answer that was held whole, and says whether it is passed on.
pub(super) fn judge_held<R>(
    exchange: &Exchange,
    (mut head, heading): (response::Parts, Heading),
    collected: Result<Collected, CollectError>,
) -> (Response<ResponseBody<R>>, Ending) {
    match check_held(exchange, (&mut head, heading), collected) {
        Ok(collected) if collected.bytes.is_empty() => {
            let response = Response::from_parts(head, ResponseBody::default());
            (response, Ending::Answered)
        }
        Ok(collected) => (pass(head, collected), Ending::Answered),
        Err(refusal) => (exchange.asked.replace(&refusal, head), Ending::Withheld),
    }
}

/// What may be passed on of an answer, with its head made fit for it.
fn check_held(
    exchange: &Exchange,
    (head, heading): (&mut response::Parts, Heading),
    collected: Result<Collected, CollectError>,
) -> Result<Collected, Refusal> {
    let asked = &exchange.asked;
    let collected = collected.map_err(unheld)?;
    // A true length is set later; trailers are not passed on.
    if heading.is_framed {
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.remove(TRAILER);
    }
    if collected.bytes.is_empty() {
        return Ok(collected);
    }
    let is_plainly_json = heading.is_plainly_json;
    let is_json = is_plainly_json || media_type(&head.headers).starts_with("application/json");
    let is_list = asked.for_list && head.status == StatusCode::OK;
    if !is_json && is_list {
        return Err(Refusal::BadAnswer {
            text: "The server answered with something else than JSON or an event stream, \
                   so its list cannot be checked."
                .to_owned(),
        });
    }
    if !is_plainly_json {
        declare_utf_8(&mut head.headers, if is_json { JSON } else { TEXT });
    }
    // Without a brace there is no object, and so no list, in UTF-8 at least;
    // and as UTF-8 it is passed on.
    if !is_json && !collected.bytes.contains(&b'{') {
        return Ok(collected);
    }
    match filter(exchange, &collected.bytes) {
        Ok(None) => Ok(collected),
        Ok(Some(text)) => {
            forget_body(&mut head.headers);
            head.headers.entry(CONTENT_TYPE).or_insert(JSON);
            Ok(collected.replace(text))
        }
        Err(text) => Err(Refusal::BadAnswer { text }),
    }
}

/// The text that is passed on in the place of an answer; `None` if that is the
/// answer itself, and an error if there is none.
fn filter(exchange: &Exchange, text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let filtered = exchange.filter(text).map_err(Unreadable::explain)?;
    if filtered.is_foreign {
        return match exchange.asked.is_awaited() {
            true => Err("The server did not answer, but said what is not for you.".to_owned()),
            false => Ok(Some(Vec::new())),
        };
    }
    exchange.remember_tasks(&filtered.answers);
    tell::learn(exchange, text);
    let shown = filtered.text.as_deref().unwrap_or(text);
    Ok(exchange.follow(shown).or(filtered.text))
}

fn pass<R>(mut head: response::Parts, collected: Collected) -> Response<ResponseBody<R>> {
    request::set_length(&mut head.headers, collected.bytes.len());
    Response::from_parts(head, ResponseBody::whole(collected.into_bytes()))
}

/// Replaces a content type that would make a client read the body in another
/// way than it was judged: with another charset, or as one of several types.
fn declare_utf_8(headers: &mut HeaderMap, plain: HeaderValue) {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let honest = match (types.next().map(HeaderValue::to_str), types.next()) {
        (None, _) => true,
        (Some(Ok(content_type)), None) => content_type.split(';').skip(1).all(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            !parameter.starts_with("charset")
                || matches!(
                    parameter.as_str(),
                    "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8" | "charset=us-ascii"
                )
        }),
        _ => false,
    };
    if !honest {
        headers.insert(CONTENT_TYPE, plain);
    }
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

/// What a head can say that only fits one body.
pub(super) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("content-md5"),
];

/// Removes what a head says of the body that it had, but for its media type.
fn forget_body(headers: &mut HeaderMap) {
    let framing = [
        CONTENT_LENGTH,
        CONTENT_ENCODING,
        ETAG,
        TRAILER,
        TRANSFER_ENCODING,
    ];
    for header in framing.iter().chain(&DIGESTS) {
        headers.remove(header);
    }
}

/// Makes the head of an event stream fit what is passed on of it: events in
/// UTF-8, whatever the server declared.
pub(super) fn prepare_events(headers: &mut HeaderMap) {
    forget_body(headers);
    headers.insert(CONTENT_TYPE, EVENTS);
}

/// The media type without parameters, in lower case; empty if there is none or
/// more than one.
fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => value,
        _ => return Cow::Borrowed(""),
    };
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    match essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(essence.trim().to_ascii_lowercase()),
        false => Cow::Borrowed(essence.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::encoding::is_encoded;

    #[test]
    fn what_is_seen_in_passing_is_what_each_search_finds() {
        let lines: [(HeaderName, &[u8]); 10] = [
            (CONTENT_TYPE, b"application/json"),
            (CONTENT_TYPE, b"application/json"),
            (CONTENT_TYPE, b"text/event-stream"),
            (CONTENT_ENCODING, b"Identity"),
            (CONTENT_ENCODING, b"gzip"),
            (CONTENT_ENCODING, b"identity, gzip"),
            (TRANSFER_ENCODING, b"chunked"),
            (TRAILER, b"x"),
            (
                HeaderName::from_static("x-content-type"),
                b"application/json",
            ),
            (CONTENT_LENGTH, b"1"),
        ];
        for some in 0..1_u32 << lines.len() {
            let chosen = lines
                .iter()
                .enumerate()
                .filter(|(at, _)| (some >> at) & 1 == 1);
            let mut headers = HeaderMap::new();
            for (_, (name, value)) in chosen {
                headers.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            let types: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
            let searched = Heading {
                is_plainly_json: types == [JSON],
                is_encoded: is_encoded(&headers),
                is_framed: [TRANSFER_ENCODING, TRAILER]
                    .iter()
                    .any(|name| headers.contains_key(name)),
            };
            assert_eq!(Heading::of(&headers), searched, "{headers:?}");
        }
    }
}
